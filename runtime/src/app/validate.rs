//! Every problem that a start would meet, without starting.

use super::state::States;
use super::{AppError, Options, adapters, connection, uses};
use crate::api;
use crate::config::{Config, Problem};
use crate::intake::{self, Source};
use crate::pipeline::Guarantee;
use crate::plugin::{Engine, EngineConfig, PluginError, Plugins, Use};
use crate::provision::Create;
use crate::target::{Kind, Targets};
use crate::telemetry::Metrics;
use async_nats::jetstream;
use std::sync::Arc;

/// Loads every plugin that a pipeline uses against its grants, its schema and its pipelines' targets;
/// with `connected` also asks the server for streams and buckets. Makes nothing.
pub async fn validate(config: &Config, options: &Options, connected: bool) -> Vec<Problem> {
    let mut problems = check_plugins(config, options).await;
    let files = config.api.iter().flat_map(api::check);
    problems.extend(files.map(|error| problem(error.key, &error)));
    if connected {
        problems.extend(Box::pin(check_server(config)).await);
        let unprepared = super::several::ask(config).await;
        problems.extend(unprepared.iter().map(|(key, why)| problem(key, why)));
    }
    problems
}

async fn check_plugins(config: &Config, options: &Options) -> Vec<Problem> {
    let engine = match Engine::new(&EngineConfig {
        cache_dir: options.cache_dir.clone(),
    }) {
        Ok(engine) => engine,
        Err(error) => return vec![problem("plugins", &error)],
    };
    // Nothing is sent, but what encrypts is read.
    let surroundings = uses::surroundings(config, None, &Arc::new(Metrics::new()));
    let mut problems = Vec::new();
    for plugin in &config.plugins {
        let uses = uses_or_alone(config, &plugin.name);
        let plugins = std::slice::from_ref(plugin);
        let loaded = Plugins::load(&engine, plugins, &uses, &surroundings).await;
        let tried = match &loaded {
            Ok(plugins) => adapters::open(config, plugins).await.map(drop),
            Err(_) => Ok(()),
        };
        if let Err(errors) = loaded.map(drop).and(tried) {
            let key = |error: &PluginError| match error {
                PluginError::Ungranted { .. } => format!("plugins.{}.grants", plugin.name),
                PluginError::Settings { .. } => format!("plugins.{}.config", plugin.name),
                _ => format!("plugins.{}.path", plugin.name),
            };
            problems.extend(errors.iter().map(|error| problem(&key(error), error)));
        }
    }
    problems
}

/// How the pipelines use the plugin; one that none uses yet is checked as if one could write all.
fn uses_or_alone(config: &Config, plugin: &str) -> Vec<Use> {
    let states = States::in_memory();
    let uses: Vec<_> = uses::uses(config, &states)
        .into_iter()
        .filter(|used| used.plugin == plugin)
        .collect();
    if !uses.is_empty() {
        return uses;
    }
    vec![Use {
        plugin: plugin.to_owned(),
        pipeline: "none".to_owned(),
        writable: uses::writable(config, |_| true),
        state: states.of(Guarantee::Atomic).cloned(),
    }]
}

async fn check_server(config: &Config) -> Vec<Problem> {
    let (client, denials) = match connection::open(&config.nats).await {
        Ok(opened) => opened,
        Err(error) => {
            let key = match &error {
                AppError::Refused { key, .. } => key,
                _ => "nats.url",
            };
            return vec![problem(key, &error)];
        }
    };
    let context = connection::jetstream(&config.nats, client);
    match denials
        .during(Box::pin(check_streams(config, &context)))
        .await
    {
        Ok(problems) => problems,
        Err(denied) => vec![problem("nats", &denied.into_error(&config.nats))],
    }
}

async fn check_streams(config: &Config, context: &jetstream::Context) -> Vec<Problem> {
    let (mut problems, metrics) = (Vec::new(), Metrics::new());
    for target in &config.targets {
        // What a start would make is no problem; what it would look for is.
        let may_be_made = target.create != Create::Check
            || matches!(target.kind, Kind::Subject { stream: None, .. });
        if may_be_made {
            continue;
        }
        let one = std::slice::from_ref(target);
        if let Err(errors) = Targets::open(context, one, &metrics).await {
            let key = format!("targets.{}", target.name);
            problems.extend(errors.iter().map(|error| problem(&key, error)));
        }
    }
    for pipeline in &config.pipelines {
        let is_checked = matches!(
            pipeline.intake.source,
            Source::JetStream {
                create: Create::Check | Create::Adopt,
                ..
            }
        );
        if is_checked && let Err(error) = intake::check(context, &pipeline.intake).await {
            problems.push(problem(
                &format!("pipelines.{}.source", pipeline.name),
                &error,
            ));
        }
    }
    problems
}

fn problem(key: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem {
        key: key.to_owned(),
        line: None,
        column: None,
        message: error.to_string(),
    }
}
