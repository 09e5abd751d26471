//! The way in: events come from NATS, one at a time per ordering key, and are answered for.

mod answers;
mod budget;
mod config;
mod consumer;
mod core;
mod decode;
mod fit;
mod gaps;
mod jetstream;
mod known;
mod lanes;
mod pause;
mod pending;
mod pull;
mod requests;

use crate::event::{Delivery, OrderingKey, Recalled, SubjectPattern};
use crate::provision::Create;
use crate::shutdown::{Shutdown, Tasks};
use crate::telemetry::PipelineMetrics;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

use budget::Budget;

pub use config::{Config, Source};
pub use known::{Known, known};
pub use lanes::Lanes;
pub use pause::Pause;

/// Replayed events that may be in flight at once.
const REPLAYS: usize = 256;

/// What is done with each delivery. It settles the delivery's receipt.
pub type Handler = lanes::Handler<Delivery>;

/// The message that a request for a replay means, or why it never can be told.
pub type RecallAnswer = Result<Recalled, String>;

/// Finds what a request for a replay means.
pub trait Recall: Send + Sync {
    /// What `request` means. An outer error passes: it is asked again.
    fn recall<'a>(&'a self, request: &'a [u8]) -> BoxFuture<'a, Result<RecallAnswer, String>>;
}

/// Where the requests for replays come from, and who knows what they mean.
pub struct Replays {
    /// The stream.
    pub stream: &'static str,
    /// The consumer's durable name.
    pub durable: String,
    /// The subjects of this pipeline's requests.
    pub subjects: SubjectPattern,
    /// Who knows what they mean.
    pub recall: Arc<dyn Recall>,
}

/// What an intake works with.
pub struct Parts {
    /// Counts its events.
    pub metrics: Arc<PipelineMetrics>,
    /// Ends it.
    pub shutdown: Shutdown,
    /// Handles each delivery.
    pub handler: Handler,
    /// Brings dead letters back.
    pub replays: Replays,
    /// Holds it.
    pub pause: Pause,
}

/// How far an intake is, while it runs.
#[derive(Debug, Clone)]
pub struct Gauge {
    budget: Arc<Budget>,
    pause: Pause,
}

impl Gauge {
    /// Messages that were taken and are not settled.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.budget.n_messages()
    }

    /// The wish to pause it, and how far that is followed.
    #[must_use]
    pub fn pause(&self) -> &Pause {
        &self.pause
    }
}

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
    consumer::check(context, config).await
}

/// One pipeline's intake, found to be startable.
pub struct Intake {
    config: Config,
    source: Opened,
    replays: Box<jetstream::JetStream>,
    replays_config: Config,
    lanes: DeliveryLanes,
    tasks: Tasks,
    metrics: Arc<PipelineMetrics>,
    shutdown: Shutdown,
    budget: Arc<Budget>,
    pause: Pause,
}

enum Opened {
    JetStream(Box<jetstream::JetStream>),
    Core(Box<core::Core>),
}

impl Intake {
    /// Finds the source, making what is missing where the configuration says so.
    ///
    /// # Errors
    /// [`IntakeError`] naming what is missing and what to do.
    pub async fn open(
        context: &async_nats::jetstream::Context,
        config: &Config,
        parts: Parts,
    ) -> Result<Self, IntakeError> {
        let Parts {
            metrics,
            shutdown,
            handler,
            replays,
            pause,
        } = parts;
        let source = match &config.source {
            Source::JetStream { .. } => Opened::JetStream(Box::new(
                jetstream::JetStream::open(context.clone(), config, None).await?,
            )),
            Source::Core { .. } => {
                let core = core::Core::open(context.client(), config, &pause).await?;
                Opened::Core(Box::new(core))
            }
        };
        let replays_config = of_replays(config, &replays);
        let recall = Some(replays.recall);
        let replays = jetstream::JetStream::open(context.clone(), &replays_config, recall).await?;
        let tasks = Tasks::new();
        let lanes = Lanes::new(tasks.clone(), shutdown.clone(), handler);
        Ok(Self {
            config: config.clone(),
            source,
            replays: Box::new(replays),
            replays_config,
            lanes,
            tasks,
            metrics,
            shutdown,
            budget: Arc::new(Budget::new(config.max_bytes)),
            pause,
        })
    }

    /// How far it is.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge {
            budget: self.budget.clone(),
            pause: self.pause.clone(),
        }
    }

    /// Takes events in until the shutdown begins, then waits for those at work, at most `grace`.
    /// Returns whether all of them ended.
    pub async fn run(self, grace: Duration) -> bool {
        let at = |config| jetstream::Surroundings {
            budget: &self.budget,
            pause: &self.pause,
            config,
            lanes: &self.lanes,
            metrics: &self.metrics,
            shutdown: &self.shutdown,
        };
        let events = async {
            match self.source {
                Opened::JetStream(source) => {
                    Box::pin(source.run(at(&self.config), &self.tasks, grace)).await
                }
                Opened::Core(source) => {
                    Box::pin(source.run(at(&self.config), &self.tasks, grace)).await
                }
            }
        };
        let replays = self
            .replays
            .run(at(&self.replays_config), &self.tasks, grace);
        let replays = Box::pin(replays);
        let (events, replays) = futures::join!(events, replays);
        events && replays
    }
}

/// The settings of a pipeline's second source: its own dead letters, into the same lanes.
fn of_replays(config: &Config, replays: &Replays) -> Config {
    Config {
        source: Source::JetStream {
            stream: replays.stream.to_owned(),
            subjects: vec![replays.subjects.clone()],
            create: Create::Check,
            durable: replays.durable.clone(),
        },
        max_events: config.max_events.min(REPLAYS),
        ..config.clone()
    }
}
