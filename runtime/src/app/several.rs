//! Pipelines with `guarantee = "atomic"` that may change several databases in one transaction, or one
//! together with modules that prepare or with plugin state: each database has to be able to prepare its
//! part.

use super::state::keeps_state;
use crate::config::Config;
use crate::pipeline::{self, Guarantee};
use crate::target::http::Level;
use crate::target::{self, Kind, Targets, postgres};

/// A database that cannot take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "pipeline `{pipeline}` may change several databases, modules of level M3 or plugin state in one \
     transaction, and the database of target `{target}` prepares none: set `max_prepared_transactions` of its server (as many as there may be at \
     once, for instance 64) and restart it, or let the pipeline write to that one only (`targets`)"
)]
pub struct Unprepared {
    /// The pipeline.
    pub pipeline: String,
    /// A target in the database.
    pub target: String,
}

/// What each such pipeline needs to be prepared.
fn needed(config: &Config) -> impl Iterator<Item = (&pipeline::Config, &target::Config)> {
    let atomic = config.pipelines.iter();
    let atomic = atomic.filter(|pipeline| pipeline.guarantee == Guarantee::Atomic);
    atomic.flat_map(|pipeline| {
        let preparing = preparing(config, pipeline);
        let is_alone = preparing.windows(2).all(|pair| match pair {
            [one, other] => is_same(one, other),
            _ => true,
        });
        let decides = is_alone && !keeps_state(pipeline, config);
        let needed = if decides { Vec::new() } else { preparing };
        let needed = needed.into_iter();
        let tables = needed.filter(|target| matches!(target.kind, Kind::Postgres(_)));
        tables.map(move |target| (pipeline, target))
    })
}

/// The targets that the pipeline may write to and whose participants prepare.
fn preparing<'a>(config: &'a Config, pipeline: &pipeline::Config) -> Vec<&'a target::Config> {
    let is_routed = |name: &String| pipeline.to.iter().any(|route| route.target == *name);
    // Without a plugin nothing else is written.
    let may_write = |name: &String| match pipeline.stages.is_empty() {
        true => is_routed(name),
        false => pipeline.writable.contains(name),
    };
    let prepares = |kind: &Kind| match kind {
        Kind::Postgres(_) => true,
        Kind::Http(settings) => settings.level == Level::M3,
        Kind::Subject { .. } | Kind::Kv { .. } => false,
    };
    let targets = config.targets.iter();
    let targets = targets.filter(|target| prepares(&target.kind));
    targets.filter(|target| may_write(&target.name)).collect()
}

fn is_same(one: &target::Config, other: &target::Config) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Postgres(one), Kind::Postgres(other)) => one.shares_database(other),
        _ => false,
    }
}

/// Sees to it that every database can take part in what a pipeline may need.
///
/// # Errors
/// The first that cannot.
pub(super) fn check(config: &Config, targets: &Targets) -> Result<(), Unprepared> {
    let is_unprepared = |name: &str| {
        let database = targets.get(name).and_then(target::Target::database);
        database.is_some_and(|database| !database.is_preparable())
    };
    let mut needed = needed(config);
    let found = needed.find(|(_, target)| is_unprepared(&target.name));
    found.map_or(Ok(()), |(pipeline, target)| {
        Err(Unprepared {
            pipeline: pipeline.name.clone(),
            target: target.name.clone(),
        })
    })
}

/// The same, asking the databases; one that does not say is told with its target.
pub(super) async fn ask(config: &Config) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (pipeline, target) in needed(config) {
        let Kind::Postgres(settings) = &target.kind else {
            continue;
        };
        let key = format!("targets.{}", target.name);
        match postgres::prepares(settings, target.timeout).await {
            Ok(true) => {}
            Ok(false) => {
                let unprepared = Unprepared {
                    pipeline: pipeline.name.clone(),
                    target: target.name.clone(),
                };
                problems.push((key, unprepared.to_string()));
            }
            Err(why) => {
                let why = format!("asking whether it prepares transactions: {why}");
                problems.push((key, why));
            }
        }
    }
    problems
}
