//! Which pipeline uses which plugin, and with what; what there is to know of each target.

use super::adapters;
use super::state::States;
use crate::config::Config;
use crate::contract::Contract;
use crate::feed::{Feed, Feeds};
use crate::outbound::{Resolver, Transport};
use crate::plugin::{Retrieve, Secrets, Surroundings, Use, Writable};
use crate::target::{self, Kind};
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Each plugin of each pipeline once, and each that adapts between versions of a contract.
pub(super) fn uses(config: &Config, states: &States) -> Vec<Use> {
    let mut uses: Vec<Use> = adapters::uses(config);
    for pipeline in &config.pipelines {
        for plugin in &pipeline.stages {
            let known = uses
                .iter()
                .any(|u| u.plugin == *plugin && u.pipeline == pipeline.name);
            if !known {
                uses.push(Use {
                    plugin: plugin.clone(),
                    pipeline: pipeline.name.clone(),
                    writable: writable(config, |name| pipeline.writable.contains(name)),
                    state: states.of(pipeline.guarantee).cloned(),
                });
            }
        }
    }
    uses
}

/// The targets whose names are meant, as plugins know them.
pub(super) fn writable(config: &Config, means: impl Fn(&String) -> bool) -> Vec<Writable> {
    let meant = config.targets.iter().filter(|target| means(&target.name));
    let writable = meant.map(|target| Writable {
        target: target.name.clone(),
        versions: versions(target),
    });
    writable.collect()
}

/// The versions of its contract that a target serves, its own first.
fn versions(target: &target::Config) -> Vec<u32> {
    let beside = target
        .versions
        .iter()
        .map(|beside| beside.contract.version());
    let own = target.contract.iter().map(|own| own.version());
    own.chain(beside).collect()
}

/// What kind of target each is.
pub(super) fn kinds(config: &Config) -> BTreeMap<String, Kind> {
    let kinds = config.targets.iter();
    let kinds = kinds.map(|target| (target.name.clone(), target.kind.clone()));
    kinds.collect()
}

/// The contracts of targets, by target.
pub(super) fn contracts(config: &Config) -> BTreeMap<String, Arc<Contract>> {
    let with = config.targets.iter().filter_map(|target| {
        let contract = target.contract.clone()?;
        Some((target.name.clone(), contract))
    });
    with.collect()
}

/// Where the changes of targets are published.
pub(super) fn feeds(config: &Config) -> Feeds {
    Feeds::new(config.targets.iter().filter_map(|target| {
        let feed = Feed {
            target: target.feed.as_deref()?.into(),
            contract: target
                .contract
                .as_ref()
                .map(|it| format!("{}@{}", it.name(), it.version())),
        };
        Some((target.name.clone(), feed))
    }))
}

/// What plugins may reach, where it was granted.
pub(super) fn surroundings(
    config: &Config,
    retrieve: Option<Arc<dyn Retrieve>>,
    metrics: &Arc<Metrics>,
) -> Surroundings {
    Surroundings {
        secrets: Arc::new(secrets(config)),
        retrieve,
        transport: Transport::Network(Resolver::system()),
        metrics: metrics.clone(),
    }
}

/// What plugins may ask for by name.
fn secrets(config: &Config) -> Secrets {
    let secrets = config.secrets.iter();
    Secrets::new(
        secrets
            .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
            .collect(),
    )
}
