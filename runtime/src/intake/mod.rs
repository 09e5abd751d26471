//! The way in: events come from NATS, one at a time per ordering key, and are answered for.

mod answers;
mod config;
mod consumer;
mod core;
mod decode;
mod jetstream;
mod lanes;

use crate::event::{Delivery, OrderingKey};
use crate::shutdown::{Shutdown, Tasks};
use crate::telemetry::PipelineMetrics;
use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, Source};
pub use lanes::Lanes;

/// What is done with each delivery. It settles the delivery's receipt.
pub type Handler = lanes::Handler<Delivery>;

/// The lanes of one pipeline's deliveries.
type DeliveryLanes = Lanes<OrderingKey, Delivery>;

/// Why an intake cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The stream is not there, or does not hold the subjects.
    #[error("pipeline `{pipeline}`: {fault}")]
    Source {
        /// The pipeline.
        pipeline: String,
        /// What is missing and what to do.
        fault: String,
    },
    /// NATS does not answer.
    #[error("pipeline `{pipeline}`: {attempted}: {cause}")]
    Unreachable {
        /// The pipeline.
        pipeline: String,
        /// What was attempted.
        attempted: String,
        /// Why it failed.
        cause: String,
    },
}

/// Whether the source that `config` names is there. Makes nothing that `create` does not ask for.
///
/// # Errors
/// [`IntakeError`] naming what is missing and what to do.
pub async fn check(
    context: &async_nats::jetstream::Context,
    config: &Config,
) -> Result<(), IntakeError> {
    consumer::open_stream(context, config).await.map(drop)
}

/// One pipeline's intake, found to be startable.
pub struct Intake {
    config: Config,
    source: Opened,
    lanes: DeliveryLanes,
    tasks: Tasks,
    metrics: Arc<PipelineMetrics>,
    shutdown: Shutdown,
}

enum Opened {
    JetStream(Box<jetstream::JetStream>),
    Core(core::Core),
}

impl Intake {
    /// Finds the source, making what is missing where the configuration says so.
    ///
    /// # Errors
    /// [`IntakeError`] naming what is missing and what to do.
    pub async fn open(
        context: &async_nats::jetstream::Context,
        config: &Config,
        metrics: Arc<PipelineMetrics>,
        shutdown: Shutdown,
        handler: Handler,
    ) -> Result<Self, IntakeError> {
        let source = match &config.source {
            Source::JetStream { .. } => Opened::JetStream(Box::new(
                jetstream::JetStream::open(context.clone(), config).await?,
            )),
            Source::Core { subject, queue } => {
                Opened::Core(core::Core::open(context.client(), config, subject, queue).await?)
            }
        };
        let tasks = Tasks::new();
        let lanes = Lanes::new(tasks.clone(), shutdown.clone(), handler);
        Ok(Self {
            config: config.clone(),
            source,
            lanes,
            tasks,
            metrics,
            shutdown,
        })
    }

    /// Takes events in until the shutdown begins, then waits for those at work, at most `grace`.
    /// Returns whether all of them ended.
    pub async fn run(self, grace: Duration) -> bool {
        match self.source {
            Opened::JetStream(source) => {
                let surroundings = jetstream::Surroundings {
                    config: &self.config,
                    lanes: &self.lanes,
                    metrics: &self.metrics,
                    shutdown: &self.shutdown,
                };
                source.run(surroundings, &self.tasks, grace).await
            }
            Opened::Core(source) => {
                source
                    .run(&self.config, &self.lanes, &self.metrics, &self.shutdown)
                    .await;
                self.tasks.finish(grace).await
            }
        }
    }
}
