//! Where versions of contracts meet the plugins that adapt between them.

use crate::config::Config;
use crate::contract::{Adapt, Adapted, AdaptedVersions, Beside, Contract, Told, Unadapted};
use crate::event::{
    Acceptance, Envelope, Event, EventId, KeyAlphabet, Next, Origin, Verdict, escape_key,
};
use crate::plugin::{
    Engine, PluginError, Plugins, Session, Slot, Surroundings, Trial, Use, Version,
};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What adapters know as their pipeline: no pipeline has such a name.
pub(super) const PIPELINE: &str = "_adapter";

/// An adapter's use of each plugin that is one.
pub(super) fn uses(config: &Config) -> Vec<Use> {
    let mut names: Vec<_> = besides(config)
        .map(|(_, _, beside)| &beside.adapter)
        .collect();
    names.sort();
    names.dedup();
    let uses = names.into_iter().map(|plugin| Use {
        plugin: plugin.clone(),
        pipeline: PIPELINE.to_owned(),
        writable: Vec::new(),
        state: None,
    });
    uses.collect()
}

/// The versions beside the targets' own: by target, with the own one.
fn besides(config: &Config) -> impl Iterator<Item = (&str, &Arc<Contract>, &Beside)> {
    config.targets.iter().flat_map(|target| {
        let own = target.contract.iter();
        own.flat_map(move |own| {
            let versions = target.versions.iter();
            versions.map(move |beside| (target.name.as_str(), own, beside))
        })
    })
}

/// Loads every plugin that is used, and tries those that adapt: now, and whenever one is swapped.
///
/// # Errors
/// Every plugin's problem, not only the first.
pub(super) async fn load(
    engine: &Engine,
    (config, uses): (&Config, &[Use]),
    surroundings: &Surroundings,
) -> Result<(Plugins, AdaptedVersions), Vec<PluginError>> {
    let plugins = Plugins::load(engine, &config.plugins, uses, surroundings).await?;
    let adapted = open(config, &plugins).await?;
    Ok((plugins.on_trial(Arc::new(Cases::of(config))), adapted))
}

/// The versions beside the targets' own, each tried by its cases.
///
/// # Errors
/// Every adapter's faults.
pub(super) async fn open(
    config: &Config,
    plugins: &Plugins,
) -> Result<AdaptedVersions, Vec<PluginError>> {
    let (mut versions, mut problems) = (Vec::new(), Vec::new());
    for (target, own, beside) in besides(config) {
        let Some(slot) = plugins.slot(&beside.adapter, PIPELINE) else {
            continue;
        };
        let at = At::Slot(slot);
        let adapted = Adapted::new(own.clone(), beside, Arc::new(Adapter(at)));
        match tried(target, &adapted, beside).await {
            Ok(()) => versions.push((target.to_owned(), adapted)),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(AdaptedVersions::new(versions)),
        false => Err(problems),
    }
}

async fn tried(target: &str, adapted: &Adapted, beside: &Beside) -> Result<(), PluginError> {
    let faults = adapted.faults(&beside.cases).await;
    match faults.is_empty() {
        true => Ok(()),
        false => Err(PluginError::Version {
            plugin: beside.adapter.clone(),
            fault: format!(
                "between {} and the version that target `{target}` holds: {}",
                adapted.contract,
                faults.join("; ")
            ),
        }),
    }
}

/// What a new file of an adapter has to come through before it is used.
struct Cases(Vec<(String, Arc<Contract>, Beside)>);

impl Cases {
    fn of(config: &Config) -> Self {
        let besides = besides(config);
        Self(
            besides
                .map(|(target, own, beside)| (target.to_owned(), own.clone(), beside.clone()))
                .collect(),
        )
    }
}

impl Trial for Cases {
    fn attempt<'a>(
        &'a self,
        plugin: &'a str,
        pipeline: &'a str,
        version: &'a Arc<Version>,
    ) -> BoxFuture<'a, Result<(), PluginError>> {
        async move {
            let is_meant = |beside: &Beside| pipeline == PIPELINE && beside.adapter == plugin;
            for (target, own, beside) in &self.0 {
                if is_meant(beside) {
                    let adapter = Adapter(At::Version(version.clone()));
                    let adapted = Adapted::new(own.clone(), beside, Arc::new(adapter));
                    tried(target, &adapted, beside).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// A plugin that adapts.
struct Adapter(At);

/// Which version of it.
enum At {
    /// The one at work.
    Slot(Arc<Slot>),
    /// One that is on trial.
    Version(Arc<Version>),
}

impl Adapt for Adapter {
    fn adapt<'a>(&'a self, told: Told<'a>) -> BoxFuture<'a, Result<Bytes, Unadapted>> {
        async move {
            let version = match &self.0 {
                At::Slot(slot) => slot.active(),
                At::Version(version) => version.clone(),
            };
            let envelope = envelope(&told);
            // What it does not want to see is the same in both versions.
            if !version.component().manifest().accepts(&envelope.event.kind) {
                return Ok(told.data.clone());
            }
            let verdict = version.call(&envelope, 1, &mut Session::new()).await;
            let plugin = version.plugin();
            match verdict {
                Ok(Verdict::Accept(acceptance)) => taken(plugin, acceptance, told.data),
                Ok(Verdict::Reject(reason)) => Err(Unadapted::Refused(format!(
                    "`{plugin}` rejects it: {reason}"
                ))),
                Ok(Verdict::Drop(reason)) => Err(Unadapted::Refused(format!(
                    "`{plugin}` drops it ({reason}), which an adapter cannot: reject it"
                ))),
                Ok(Verdict::Retry { reason, .. }) => Err(Unadapted::NotNow(format!(
                    "`{plugin}` cannot tell now: {reason}"
                ))),
                Err(error) => Err(Unadapted::NotNow(format!("`{plugin}`: {error}"))),
            }
        }
        .boxed()
    }
}

fn taken(plugin: &str, acceptance: Acceptance, data: &Bytes) -> Result<Bytes, Unadapted> {
    let n_effects = acceptance.effects.len();
    match acceptance.next {
        _ if n_effects > 0 => Err(Unadapted::Refused(format!(
            "`{plugin}` asks for {n_effects} effects, which an adapter cannot: let it forward one event"
        ))),
        Next::Pass => Ok(data.clone()),
        Next::Forward(mut events) if events.len() == 1 => {
            let adapted = events.pop().and_then(|event| event.data);
            Ok(adapted.unwrap_or_else(|| data.clone()))
        }
        Next::Forward(_) | Next::Stop => Err(Unadapted::Refused(format!(
            "`{plugin}` answers with another number of events than one: let it pass or forward one"
        ))),
    }
}

/// What is told, as the event that the plugin sees.
fn envelope(told: &Told<'_>) -> Envelope {
    let way = told.direction.as_str();
    let event = Event {
        id: format!("{}-{}/{}/{}", told.from, told.to, told.entity, told.key),
        source: format!("/syncline/contracts/{}", told.contract),
        kind: format!("{}.{}.{way}", told.contract, told.entity),
        subject: Some(told.key.to_owned()),
        data_content_type: Some("application/json".to_owned()),
        attributes: vec![
            ("synclinefrom".to_owned(), told.from.to_string()),
            (
                "synclineoperation".to_owned(),
                told.verb.as_str().to_owned(),
            ),
            ("synclineto".to_owned(), told.to.to_string()),
        ],
        ..Event::default()
    };
    let token = |text: &str| escape_key(text, KeyAlphabet::Token).into_owned();
    Envelope {
        origin: Arc::new(Origin {
            id: EventId::of(&event.source, &event.id),
            address: format!("{}.{}.{way}", told.contract, token(told.entity)),
            stream: "".into(),
            stream_created: 0,
            sequence: 0,
            key: told.key.into(),
            maybe_seen: false,
            generation: 0,
        }),
        event: Arc::new(event),
        data: told.data.clone(),
    }
}

/// Which versions of which contracts plugins use, by target and version: plugin and pipeline.
pub(super) fn used_by_plugins(plugins: &Plugins) -> BTreeMap<(String, u32), Vec<String>> {
    let mut used = BTreeMap::<_, Vec<String>>::new();
    for (plugin, pipeline, version) in plugins.at_work() {
        for (target, n) in version.component().manifest().versions() {
            let user = format!("plugin {plugin} in {pipeline}");
            used.entry((target, n)).or_default().push(user);
        }
    }
    used
}
