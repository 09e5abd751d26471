//! Which pipeline uses which plugin, and with what; what there is to know of each target.

use super::state::States;
use crate::config::Config;
use crate::contract::Contract;
use crate::feed::{Feed, Feeds};
use crate::plugin::{Use, Writable};
use crate::target::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Each plugin of each pipeline once.
pub(super) fn uses(config: &Config, states: &States) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
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
        versions: target.contract.iter().map(|it| it.version()).collect(),
    });
    writable.collect()
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
