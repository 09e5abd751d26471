//! Where plugin state lies: what is decided wholly or not at all takes it along on the stream of
//! decisions; else it has a bucket of its own.

use super::AppError;
use crate::config::Config;
use crate::pipeline::{self, Guarantee};
use crate::plugin::{Cabinet, State};
use crate::txn;
use async_nats::jetstream::{self, kv};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The bucket that plugin state lies in.
const BUCKET: &str = "SYNCLINE_STATE";

/// Where plugin state lies, for each guarantee that needs it.
pub(super) struct States {
    at_least_once: Option<State>,
    atomic: Option<State>,
}

impl States {
    /// Opens what the pipelines need, making what is missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) async fn open(
        context: &jetstream::Context,
        config: &Config,
    ) -> Result<Self, AppError> {
        let mut states = Self {
            at_least_once: None,
            atomic: None,
        };
        for pipeline in config.pipelines.iter().filter(|p| keeps_state(p, config)) {
            match pipeline.guarantee {
                Guarantee::AtLeastOnce if states.at_least_once.is_none() => {
                    states.at_least_once = Some(open_bucket(context, config).await?);
                }
                Guarantee::Atomic if states.atomic.is_none() => {
                    let state = txn::plugin_state(context, &config.nats.provision()).await?;
                    states.atomic = Some(state);
                }
                Guarantee::AtLeastOnce | Guarantee::Atomic => {}
            }
            if pipeline.guarantee == Guarantee::Atomic {
                say_what_is_left(context, &pipeline.name).await;
            }
        }
        Ok(states)
    }

    /// All state in one place, whatever the guarantee.
    pub(super) fn in_memory() -> Self {
        let state = State::memory([]);
        Self {
            at_least_once: Some(state.clone()),
            atomic: Some(state),
        }
    }

    /// Where that of a pipeline with this guarantee lies.
    pub(super) fn of(&self, guarantee: Guarantee) -> Option<&State> {
        match guarantee {
            Guarantee::AtLeastOnce => self.at_least_once.as_ref(),
            Guarantee::Atomic => self.atomic.as_ref(),
        }
    }
}

/// Whether a plugin of the pipeline may keep state.
pub(super) fn keeps_state(pipeline: &pipeline::Config, config: &Config) -> bool {
    let mut plugins = config.plugins.iter();
    plugins.any(|plugin| plugin.grants.state && pipeline.stages.contains(&plugin.name))
}

async fn open_bucket(context: &jetstream::Context, config: &Config) -> Result<State, AppError> {
    let settings = kv::Config {
        bucket: BUCKET.to_owned(),
        description: "State of Syncline plugins".to_owned(),
        // Lets single entries expire.
        limit_markers: Some(Duration::from_secs(60)),
        num_replicas: config.nats.replicas,
        ..Default::default()
    };
    let store = match context.get_key_value(BUCKET).await {
        Ok(store) => Ok(store),
        Err(_) => context.create_key_value(settings).await,
    };
    let store = store.map_err(|error| AppError::State {
        bucket: BUCKET,
        cause: error.to_string(),
    })?;
    let provision = config.nats.provision();
    let replicas = store.stream.cached_info().config.num_replicas;
    provision.compare(&store.stream_name, replicas);
    Ok(State::Stream(Arc::new(Cabinet {
        context: context.clone(),
        written: provision.written(store.prefix.clone()),
        prefix: store.prefix,
        stream: store.stream,
        rolls_up: false,
    })))
}

/// What a pipeline kept while it was not atomic does not move by itself.
async fn say_what_is_left(context: &jetstream::Context, pipeline: &str) {
    let Ok(stream) = context.get_stream_no_info(format!("KV_{BUCKET}")).await else {
        return;
    };
    let keys = format!("$KV.{BUCKET}.{pipeline}.>");
    if stream
        .get_first_raw_message_by_subject(keys, 1)
        .await
        .is_ok()
    {
        warn!(%pipeline, "the state that its plugins kept in the bucket {BUCKET}, before the pipeline was \
            atomic, is not used: with `guarantee = \"atomic\"` state lies on the stream TX");
    }
}
