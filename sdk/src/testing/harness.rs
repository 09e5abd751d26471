//! One plugin under test.

use std::marker::PhantomData;

use serde::Serialize;

use super::fake::FakeHost;
use super::{capabilities, grants};
use crate::{Event, Plugin, Verdict, component};

/// A plugin with its configuration and a fake host, ready for events.
pub struct Harness<P: Plugin> {
    config: String,
    host: FakeHost,
    instance: Option<P>,
    plugin: PhantomData<P>,
}

impl<P: Plugin> Harness<P> {
    /// Prepares the plugin; it starts with the first event, or with [`start`](Self::start).
    pub fn new(config: impl Serialize) -> Self {
        Self {
            config: serde_json::to_string(&config).expect("the configuration of a test is JSON"),
            host: FakeHost::new(P::manifest()),
            instance: None,
            plugin: PhantomData,
        }
    }

    /// The host around the plugin: what it holds, what it was told, how it fails.
    pub fn host(&mut self) -> &mut FakeHost {
        &mut self.host
    }

    /// Starts a fresh instance, as the host does after a trap. The error is what an operator would
    /// read.
    pub fn start(&mut self) -> Result<(), String> {
        self.instance = None;
        let started = capabilities::during(&mut self.host, || component::start(&self.config));
        self.instance = Some(started.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Gives the plugin an event. Panics where the configuration is refused and where the plugin
    /// uses what its manifest does not ask for.
    pub fn send(&mut self, event: &Event) -> Verdict {
        if self.instance.is_none() {
            self.start()
                .unwrap_or_else(|error| panic!("the plugin does not start: {error}"));
        }
        if !grants::accepts(self.host.manifest(), &event.type_) {
            return Verdict::pass();
        }
        let plugin = self.instance.as_mut().expect("it was started");
        let before = self.host.entries.clone();
        let verdict = capabilities::during(&mut self.host, || component::answer(plugin, event));
        grants::check(self.host.manifest(), &verdict);
        let kept = matches!(verdict, Verdict::Accept { .. } | Verdict::Drop(_));
        if !kept && before != self.host.entries {
            self.host.entries = before;
            self.instance = None; // its memory may rest on what was taken back
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prelude::*;
    use crate::testing::event;

    /// Does what the event's data says.
    struct Puppet {
        n_seen: u32,
    }

    impl Plugin for Puppet {
        type Config = NoConfig;

        fn manifest() -> Manifest {
            manifest!()
                .accepts(["do.*"])
                .capabilities(["state"])
                .secrets(["token"])
        }

        fn new(_: NoConfig) -> Result<Self> {
            Ok(Self { n_seen: 0 })
        }

        fn process(&mut self, event: &Event) -> Result<Verdict> {
            self.n_seen += 1;
            let n_stored = state::add("n", 1)?;
            let seen = format!("{} {n_stored}", self.n_seen);
            match event.json::<String>()?.as_str() {
                "drop" => Ok(Verdict::drop(seen)),
                "retry" => Ok(Verdict::retry(seen)),
                "look up" => Ok(lookup::get("crm", "7")?.is_some().into()),
                secret => Ok(Verdict::drop(secrets::get(secret)?)),
            }
        }
    }

    #[test]
    fn what_is_not_kept_takes_state_and_memory_with_it() {
        let mut harness = Harness::<Puppet>::new(json!({}));
        let mut send = |what: &str| harness.send(&event("do.it", what));
        assert_eq!(send("drop"), Verdict::drop("1 1"));
        assert_eq!(send("retry"), Verdict::retry("2 2"));
        assert_eq!(send("drop"), Verdict::drop("1 2"));
        assert_eq!(harness.host().state("n"), Some(b"2".as_slice()));
    }

    #[test]
    fn events_of_other_types_pass_by() {
        let mut harness = Harness::<Puppet>::new(json!({}));
        assert_eq!(harness.send(&event("say.it", "drop")), Verdict::pass());
        assert_eq!(harness.host().state("n"), None);
    }

    #[test]
    fn a_secret_is_there_when_it_was_given() {
        let mut harness = Harness::<Puppet>::new(json!({}));
        let verdict = harness.send(&event("do.it", "token"));
        assert_eq!(verdict, Verdict::reject("secrets: there is no token"));
        harness.host().secret("token", "t-1");
        assert_eq!(harness.send(&event("do.it", "token")), Verdict::drop("t-1"));
    }

    #[test]
    #[should_panic(expected = "the secret password, not in the manifest's `secrets`")]
    fn a_secret_that_was_not_asked_for_fails_the_test() {
        Harness::<Puppet>::new(json!({})).send(&event("do.it", "password"));
    }

    #[test]
    #[should_panic(expected = "looks crm up, which is not in the manifest's `lookups`")]
    fn a_lookup_that_was_not_asked_for_fails_the_test() {
        Harness::<Puppet>::new(json!({})).send(&event("do.it", "look up"));
    }

    #[test]
    fn a_refused_configuration_says_which_key() {
        let error = Harness::<Puppet>::new(json!({ "depth": 1 }))
            .start()
            .unwrap_err();
        assert!(
            error.starts_with("config: unknown field `depth`"),
            "{error}"
        );
    }
}
