//! Two targets of a configuration, and a plugin between them, without a pipeline.

use super::retrieve::FromTargets;
use super::uses::{contracts, surroundings, writable};
use super::{AppError, Options, connection};
use crate::config::Config;
use crate::dead_letter::DeadLetters;
use crate::drift::{Comparison, DriftError, Mapping, Progress, Repair, Report, Side, Telling};
use crate::plugin::{self, Engine, EngineConfig, Plugins, State, Use, Version};
use crate::provision::Create;
use crate::shutdown::Shutdown;
use crate::target::{self, Target, Targets};
use crate::telemetry::Metrics;
use crate::txn::{Coordinator, Tenure, Way};
use async_nats::jetstream;
use std::path::PathBuf;
use std::sync::Arc;

/// What changes of a comparison have in the place of a pipeline's name.
const NAME: &str = "diff";

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Drift {
    /// How the entities of one target are told.
    pub telling: Telling,
    /// The kind of entity that is told; none: whatever there is.
    pub entity: Option<String>,
    /// The other target.
    pub onto: String,
    /// The kinds that are looked at there; none: those that are written.
    pub into: Vec<String>,
    /// The plugin; none: both should hold the same.
    pub via: Option<String>,
    /// Where what is read is spooled.
    pub folder: PathBuf,
    /// How many differences are kept with their names.
    pub limit: usize,
    /// Whether what differs is repaired.
    pub repair: bool,
    /// Whether that deletes what nothing says that it should be there.
    pub delete: bool,
}

/// Why there was no comparison.
#[derive(Debug, thiserror::Error)]
pub enum DriftFailure {
    /// What it takes cannot be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// It did not come to its end.
    #[error(transparent)]
    Drift(#[from] DriftError),
}

/// Compares two targets.
///
/// # Errors
/// [`DriftFailure`] when it cannot be said how they stand.
pub async fn drift(
    config: &Config,
    options: &Options,
    wanted: &Drift,
    progress: Progress<'_>,
) -> Result<Report, DriftFailure> {
    let (client, denials) = connection::open(&config.nats).await?;
    let context = connection::jetstream(&config.nats, client);
    let compared = compare(config, options, (wanted, &context), progress);
    let compared = denials.during(Box::pin(compared)).await;
    compared.unwrap_or_else(|denied| Err(denied.into_error(&config.nats).into()))
}

async fn compare(
    config: &Config,
    options: &Options,
    (wanted, context): (&Drift, &jetstream::Context),
    progress: Progress<'_>,
) -> Result<Report, DriftFailure> {
    let plugin = wanted
        .via
        .as_deref()
        .map(|name| named(name, &config.plugins, "plugin", |plugin| &plugin.name))
        .transpose()?;
    let targets = open(config, (wanted, plugin), context).await?;
    let via = match plugin {
        Some(plugin) => Some(version_of(config, options, (plugin, &targets)).await?),
        None => None,
    };
    let comparison = Comparison {
        from: side(&targets, &wanted.telling.target)?,
        entity: wanted.entity.clone(),
        onto: side(&targets, &wanted.onto)?,
        into: wanted.into.clone(),
        contract: contracts(config).remove(&wanted.onto),
        mapping: Mapping {
            via,
            telling: wanted.telling.clone(),
            onto: wanted.onto.clone(),
            kinds: side(&targets, &wanted.onto)?.target.holds_kinds(),
        },
        folder: wanted.folder.clone(),
        limit: wanted.limit,
        repair: match wanted.repair {
            true => Some(repair(config, wanted, (context, &targets)).await?),
            false => None,
        },
    };
    Ok(Box::pin(comparison.run(progress)).await?)
}

/// The targets that are compared, and those that the plugin reads. Nothing is made for a look.
async fn open(
    config: &Config,
    (wanted, plugin): (&Drift, Option<&plugin::Config>),
    context: &jetstream::Context,
) -> Result<Arc<Targets>, DriftFailure> {
    let name_of = |target: &'static str| {
        move |one: &str| named(one, &config.targets, target, |target| &target.name)
    };
    let (from, onto) = (&wanted.telling.target, &wanted.onto);
    name_of("target")(from)?;
    name_of("target")(onto)?;
    let read = |name: &String| {
        let is_read = |one: &String| one == name || one == "*";
        plugin.is_some_and(|plugin| plugin.grants.lookup.iter().any(is_read))
    };
    let needed = config.targets.iter();
    let needed = needed.filter(|it| it.name == *from || it.name == *onto || read(&it.name));
    let looked_at = needed.cloned().map(|mut target| {
        if !wanted.repair && target.create == Create::Missing {
            target.create = Create::Check;
        }
        target
    });
    let looked_at: Vec<target::Config> = looked_at.collect();
    let opened = Targets::open(context, &looked_at, &Metrics::new()).await;
    Ok(Arc::new(opened.map_err(AppError::Targets)?))
}

fn side<'a>(targets: &'a Targets, name: &'a str) -> Result<Side<'a>, DriftError> {
    let target: Option<&Target> = targets.get(name);
    let target = target.ok_or_else(|| DriftError::Invalid(format!("there is no target `{name}`")));
    Ok(Side {
        name,
        target: target?,
    })
}

/// The one of this name.
fn named<'a, T>(
    name: &str,
    all: &'a [T],
    what: &str,
    name_of: impl Fn(&T) -> &String,
) -> Result<&'a T, DriftError> {
    let found = all.iter().find(|one| name_of(one) == name);
    found.ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|one| name_of(one).as_str()).collect();
        DriftError::Invalid(format!(
            "the configuration has no {what} `{name}`, only `{}`",
            known.join("`, `")
        ))
    })
}

/// The plugin as a pipeline would have it, with state that is empty and is forgotten.
async fn version_of(
    config: &Config,
    options: &Options,
    (plugin, targets): (&plugin::Config, &Arc<Targets>),
) -> Result<Arc<Version>, DriftFailure> {
    let of_plugin = |error| AppError::Plugins(vec![error]);
    let engine = Engine::new(&EngineConfig {
        cache_dir: options.cache_dir.clone(),
    });
    let retrieve = FromTargets::new(targets.clone(), contracts(config));
    let metrics = Arc::new(Metrics::new());
    let surroundings = surroundings(config, Some(Arc::new(retrieve)), &metrics);
    let used = Use {
        plugin: plugin.name.clone(),
        pipeline: NAME.to_owned(),
        writable: writable(config, |_| true),
        state: Some(State::memory([])),
    };
    let (one, uses) = (std::slice::from_ref(plugin), std::slice::from_ref(&used));
    let engine = engine.map_err(of_plugin)?;
    let plugins = Plugins::load(&engine, one, uses, &surroundings).await;
    let plugins = plugins.map_err(AppError::Plugins)?;
    let slot = plugins.slot(&plugin.name, NAME);
    let slot =
        slot.ok_or_else(|| DriftError::Invalid(format!("plugin `{}` was not loaded", plugin.name)));
    Ok(slot?.active())
}

async fn repair(
    config: &Config,
    wanted: &Drift,
    (context, targets): (&jetstream::Context, &Arc<Targets>),
) -> Result<Repair, DriftFailure> {
    let dead_letters = DeadLetters::open(context, &config.nats.provision()).await;
    let dead_letters = dead_letters.map_err(AppError::DeadLetters)?;
    let way = Way::AtLeastOnce(None);
    Ok(Repair {
        coordinator: Coordinator::new(NAME, targets.clone(), None, dead_letters, way),
        tenure: Tenure::unleased(Shutdown::new()),
        delete: wanted.delete,
    })
}
