//! The installed plugins: which component works for which pipeline, and how one is replaced.

use super::Config;
use super::capability::Grants;
use super::component::{Component, digest_of};
use super::engine::Engine;
use super::error::PluginError;
use super::host::{Retrieve, Secrets, Services, State};
use super::version::Version;
use crate::outbound::{Client, Transport};
use crate::telemetry::Metrics;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What plugins may reach, where it was granted.
#[derive(Clone)]
pub struct Surroundings {
    /// The configured secrets.
    pub secrets: Arc<Secrets>,
    /// Reads entities of targets.
    pub retrieve: Option<Arc<dyn Retrieve>>,
    /// Sends HTTP requests.
    pub transport: Transport,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// A pipeline that uses a plugin.
#[derive(Clone)]
pub struct Use {
    /// The plugin.
    pub plugin: String,
    /// The pipeline.
    pub pipeline: String,
    /// Targets that the pipeline's plugins may write.
    pub writable: Vec<Writable>,
    /// Keeps its state.
    pub state: Option<State>,
}

/// A target that plugins may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writable {
    /// Its name.
    pub target: String,
    /// The major versions of its contract that it serves; none: it has no contract.
    pub versions: Vec<u32>,
}

/// Looks at a new version of a plugin before any event sees it.
pub trait Trial: Send + Sync {
    /// Whether `version` may work as `plugin` in `pipeline`.
    ///
    /// # Errors
    /// Why it may not.
    fn attempt<'a>(
        &'a self,
        plugin: &'a str,
        pipeline: &'a str,
        version: &'a Arc<Version>,
    ) -> BoxFuture<'a, Result<(), PluginError>>;
}

/// Every plugin that a pipeline uses.
pub struct Plugins {
    engine: Engine,
    trial: Option<Arc<dyn Trial>>,
    installed: BTreeMap<String, Installed>,
}

struct Installed {
    config: Config,
    slots: BTreeMap<String, Arc<Slot>>,
}

/// The place of a plugin in a pipeline: holds the version at work.
pub struct Slot {
    services: Arc<Services>,
    writable: Vec<Writable>,
    settings: String,
    active: RwLock<Arc<Version>>,
}

impl Plugins {
    /// Loads every plugin that is used, and readies an instance for each use.
    ///
    /// # Errors
    /// Every plugin's problem, not only the first.
    pub async fn load(
        engine: &Engine,
        configs: &[Config],
        uses: &[Use],
        surroundings: &Surroundings,
    ) -> Result<Self, Vec<PluginError>> {
        let (mut installed, mut problems) = (BTreeMap::new(), Vec::new());
        for config in configs {
            let uses: Vec<_> = uses
                .iter()
                .filter(|used| used.plugin == config.name)
                .collect();
            if uses.is_empty() {
                continue;
            }
            match Installed::load(engine, config, &uses, surroundings).await {
                Ok(plugin) => drop(installed.insert(config.name.clone(), plugin)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(Self {
                engine: engine.clone(),
                trial: None,
                installed,
            });
        }
        Err(problems)
    }

    /// The same, where what takes over has to pass `trial` first.
    #[must_use]
    pub fn on_trial(self, trial: Arc<dyn Trial>) -> Self {
        Self {
            trial: Some(trial),
            ..self
        }
    }

    /// Every plugin at work: its name, its pipeline, its version.
    pub fn at_work(&self) -> impl Iterator<Item = (&str, &str, Arc<Version>)> {
        self.installed.iter().flat_map(|(name, plugin)| {
            let slots = plugin.slots.iter();
            slots.map(move |(pipeline, slot)| (name.as_str(), pipeline.as_str(), slot.active()))
        })
    }

    /// The place of `plugin` in `pipeline`.
    #[must_use]
    pub fn slot(&self, plugin: &str, pipeline: &str) -> Option<Arc<Slot>> {
        self.installed.get(plugin)?.slots.get(pipeline).cloned()
    }

    /// Each plugin's name and file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.installed
            .iter()
            .map(|(name, plugin)| (name.as_str(), plugin.config.path.as_path()))
    }

    /// Replaces a plugin by what its file holds now: compiled, checked and instantiated aside for
    /// every pipeline, then visible to the next event of each. A fault changes nothing.
    ///
    /// Returns the new digest, or `None` when the file holds what is at work already.
    ///
    /// # Errors
    /// Why the file cannot take over.
    pub async fn swap(&self, name: &str) -> Result<Option<String>, PluginError> {
        let Some(plugin) = self.installed.get(name) else {
            return Ok(None);
        };
        let path = &plugin.config.path;
        let bytes = tokio::fs::read(path)
            .await
            .map_err(|error| PluginError::Unreadable {
                path: path.clone(),
                cause: error.to_string(),
            })?;
        let digest = digest_of(&bytes);
        if plugin
            .slots
            .values()
            .all(|slot| slot.active().component().digest() == digest)
        {
            return Ok(None);
        }
        let component = Component::from_bytes(&self.engine, path, bytes).await?;
        check(&plugin.config, &component)?;
        let mut prepared = Vec::with_capacity(plugin.slots.len());
        for slot in plugin.slots.values() {
            let version = slot.prepare(&self.engine, &component).await?;
            if let Some(trial) = &self.trial {
                trial
                    .attempt(name, &slot.services.pipeline, &version)
                    .await?;
            }
            prepared.push((slot, version));
        }
        for (slot, version) in prepared {
            *slot.active.write() = version;
        }
        Ok(Some(digest))
    }
}

impl Installed {
    async fn load(
        engine: &Engine,
        config: &Config,
        uses: &[&Use],
        surroundings: &Surroundings,
    ) -> Result<Self, PluginError> {
        let component = Component::load(engine, &config.path).await?;
        check(config, &component)?;
        let mut slots = BTreeMap::new();
        for used in uses {
            let slot = Slot::open(engine, config, &component, used, surroundings).await?;
            slots.insert(used.pipeline.clone(), Arc::new(slot));
        }
        Ok(Self {
            config: config.clone(),
            slots,
        })
    }
}

impl Slot {
    pub(super) async fn open(
        engine: &Engine,
        config: &Config,
        component: &Component,
        used: &Use,
        surroundings: &Surroundings,
    ) -> Result<Self, PluginError> {
        let (hosts, limits) = (&config.grants.http, config.limits.outbound());
        let client = Client::new(hosts, limits, surroundings.transport.clone());
        let client = client.map_err(|fault| PluginError::Settings {
            plugin: config.name.clone(),
            fault,
        })?;
        let services = Arc::new(Services {
            plugin: config.name.clone(),
            pipeline: used.pipeline.clone(),
            grants: config.grants.clone(),
            limits: config.limits.clone(),
            secrets: surroundings.secrets.clone(),
            retrieve: surroundings.retrieve.clone(),
            http: Arc::new(client),
            state: used.state.clone(),
            metrics: surroundings.metrics.clone(),
            manifest: Arc::default(),
        });
        let settings = serde_json::Value::Object(config.settings.clone()).to_string();
        check_targets(&config.name, used, component)?;
        let version =
            Version::prepare(engine, component, services.clone(), settings.clone()).await?;
        Ok(Self {
            services,
            writable: used.writable.clone(),
            settings,
            active: RwLock::new(Arc::new(version)),
        })
    }

    /// The version at work: an event that begins now meets it.
    #[must_use]
    pub fn active(&self) -> Arc<Version> {
        self.active.read().clone()
    }

    async fn prepare(
        &self,
        engine: &Engine,
        component: &Component,
    ) -> Result<Arc<Version>, PluginError> {
        let used = Use {
            plugin: self.services.plugin.clone(),
            pipeline: self.services.pipeline.clone(),
            writable: self.writable.clone(),
            state: self.services.state.clone(),
        };
        check_targets(&self.services.plugin, &used, component)?;
        let (services, settings) = (self.services.clone(), self.settings.clone());
        Version::prepare(engine, component, services, settings)
            .await
            .map(Arc::new)
    }
}

/// Checks a component against what its configuration grants and sets, before it sees anything.
///
/// # Errors
/// What it wants beyond its grants, or what its schema says against its settings.
pub(super) fn check(config: &Config, component: &Component) -> Result<(), PluginError> {
    let mut missing = config
        .grants
        .missing_for(&config.name, component.manifest());
    let has_said = component.manifest().wants("http") || component.manifest().hosts().count() > 0;
    if component.sends_requests() && config.grants.http.is_empty() && !has_said {
        missing.push(Grants::no_host(&config.name));
    }
    if !missing.is_empty() {
        return Err(PluginError::Ungranted {
            plugin: config.name.clone(),
            missing,
        });
    }
    check_settings(config, component)
}

pub(super) fn check_settings(config: &Config, component: &Component) -> Result<(), PluginError> {
    let Some(schema) = &component.manifest().config_schema else {
        return Ok(());
    };
    let refused = |fault: String| PluginError::Settings {
        plugin: config.name.clone(),
        fault,
    };
    let schema: serde_json::Value = serde_json::from_str(schema)
        .map_err(|error| refused(format!("its own schema is not JSON: {error}")))?;
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| refused(format!("its own schema is no JSON Schema: {error}")))?;
    let settings = serde_json::Value::Object(config.settings.clone());
    let faults: Vec<_> = validator
        .iter_errors(&settings)
        .map(|error| format!("`{}`: {error}", error.instance_path()))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(refused(faults.join("; ")))
    }
}

fn check_targets(plugin: &str, used: &Use, component: &Component) -> Result<(), PluginError> {
    let foreign = component.manifest().target_names().find(|name| {
        *name != super::capability::AS_GRANTED && !used.writable.iter().any(|w| w.target == *name)
    });
    match foreign {
        None => check_versions(plugin, used, component),
        Some(target) => Err(PluginError::Settings {
            plugin: plugin.to_owned(),
            fault: format!(
                "it writes target `{target}`, which pipeline `{0}` may not: configure \
                 [targets.{target}] and name it in `to` or `targets` of [pipelines.{0}]",
                used.pipeline
            ),
        }),
    }
}

/// Where a plugin says which major versions of a target's contract it writes, the target has to serve
/// one of them.
fn check_versions(plugin: &str, used: &Use, component: &Component) -> Result<(), PluginError> {
    let manifest = component.manifest();
    let refused = |fault: String| PluginError::Version {
        plugin: plugin.to_owned(),
        fault,
    };
    if let Some(wrong) = manifest.wrong_version() {
        return Err(refused(format!(
            "it names the target `{wrong}`: after `@` stands the major version of the contract, a \
             whole number from 1, and `*` has none"
        )));
    }
    for Writable { target, versions } in &used.writable {
        let written = manifest.versions_of(target);
        let is_met = written.iter().any(|version| versions.contains(version));
        if versions.is_empty() || written.is_empty() || is_met {
            continue;
        }
        return Err(refused(format!(
            "it writes version {} of the contract of target `{target}`, which serves version {}: \
             build it for that one and name it in its manifest, as in `{target}@{}`, or let the \
             target serve the version that it writes, under `versions`",
            listed(&written),
            listed(versions),
            listed(versions)
        )));
    }
    Ok(())
}

fn listed(versions: &[u32]) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    versions.join(" and ")
}
