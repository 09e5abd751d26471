//! Turns a plugin into the exports that the host calls.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::bindings::exports::syncline::plugin::handler::Guest;
use crate::bindings::syncline::plugin::types;
use crate::{Error, Event, Plugin, Verdict};

/// The exports of the plugin `P`.
#[doc(hidden)]
pub struct Component<P>(PhantomData<P>);

/// Fails to compile for what is not a plugin.
#[doc(hidden)]
pub fn assert_plugin<P: Plugin + 'static>() {}

type Process = Box<dyn FnMut(types::Incoming) -> types::Verdict>;

thread_local! {
    /// The one instance that this component is; guests have one thread.
    static INSTANCE: RefCell<Option<Process>> = const { RefCell::new(None) };
}

impl<P: Plugin + 'static> Guest for Component<P> {
    fn describe() -> types::Manifest {
        P::manifest()
    }

    fn init(context: types::Context) -> Result<(), String> {
        let mut plugin = start::<P>(&context.config).map_err(|error| error.to_string())?;
        let process: Process = Box::new(move |incoming| {
            let event = Event::from_wit(incoming);
            answer(&mut plugin, &event).into_wit(&event)
        });
        INSTANCE.with(|instance| *instance.borrow_mut() = Some(process));
        Ok(())
    }

    fn process(incoming: types::Incoming) -> types::Verdict {
        let unready = |why: &str| types::Verdict::Reject(format!("plugin: {why}"));
        INSTANCE.with(|instance| match instance.try_borrow_mut() {
            Ok(mut instance) => match instance.as_mut() {
                Some(process) => process(incoming),
                None => unready("an event came before init"),
            },
            Err(_) => unready("an event came while another was thought about"),
        })
    }
}

/// An instance with this configuration, a JSON object.
pub(crate) fn start<P: Plugin>(config: &str) -> Result<P, Error> {
    let config = if config.trim().is_empty() {
        "{}"
    } else {
        config
    };
    let config = serde_json::from_str(config).map_err(|e| Error::from(e).context("config"))?;
    P::new(config)
}

pub(crate) fn answer<P: Plugin>(plugin: &mut P, event: &Event) -> Verdict {
    plugin.process(event).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    plugin! {
        /// Passes what is loud
        /// enough.
        Loud { version: "2.0.0", targets: ["*"], config: Config, process: is_loud }
    }

    #[derive(serde::Deserialize)]
    struct Config {
        volume: u32,
    }

    fn is_loud(event: &Event, config: &Config) -> Result<bool> {
        Ok(event.json::<u32>()? >= config.volume)
    }

    fn incoming(data: &str) -> types::Incoming {
        let event = crate::testing::event("a.b", ());
        let delivery = event.delivery.clone();
        let event = event.with_id("1").into_wit(&event).event;
        types::Incoming {
            event,
            data: data.into(),
            delivery,
        }
    }

    fn init(config: &str) -> Result<(), String> {
        let (plugin, pipeline) = (String::new(), String::new());
        let config = config.to_owned();
        Component::<Loud>::init(types::Context {
            plugin,
            pipeline,
            config,
            attributes: vec![],
        })
    }

    #[test]
    fn a_function_becomes_a_component() {
        let manifest = Component::<Loud>::describe();
        assert_eq!(
            (&*manifest.name, &*manifest.version),
            ("syncline-sdk", "2.0.0")
        );
        assert_eq!(manifest.description, "Passes what is loud enough.");
        assert_eq!(manifest.targets, ["*"]);

        let process = |data| Component::<Loud>::process(incoming(data));
        assert!(matches!(process("9"), types::Verdict::Reject(why) if why.contains("init")));
        assert_eq!(
            init("{}"),
            Err("config: missing field `volume` at line 1 column 2".into())
        );
        init(r#"{ "volume": 5 }"#).unwrap();
        let pass = types::Acceptance {
            effects: vec![],
            next: types::Next::Pass,
        };
        assert_eq!(process("9"), types::Verdict::Accept(pass));
        assert_eq!(process("1"), types::Verdict::Drop("filtered".into()));
        assert!(matches!(process("loud"), types::Verdict::Reject(_)));
    }
}
