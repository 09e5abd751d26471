//! The way in: events come from NATS, one at a time per ordering key, and are answered for.

mod answers;
mod budget;
mod config;
mod consumer;
mod copy;
mod core;
mod decode;
mod distributor;
mod fit;
mod gaps;
mod jetstream;
mod known;
mod lanes;
mod origin;
mod partitions;
mod pause;
mod pending;
mod position;
mod pull;
mod requests;
mod sharing;

use crate::event::{Delivery, OrderingKey, Recalled, SubjectPattern};
use crate::provision::Create;
use crate::shutdown::{Shutdown, Tasks};
use crate::telemetry::PipelineMetrics;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

use budget::Budget;

pub use config::{Config, Source};
pub use known::{Known, known};
pub use lanes::Lanes;
pub use partitions::{Partition, PartitionBy, Partitions};
pub use pause::Pause;

/// Replayed events that may be in flight at once.
const REPLAYS: usize = 256;

/// What is done with each delivery. It settles the delivery's receipt.
pub type Handler = lanes::Handler<Delivery>;

/// The message that a request for a replay means, none when nothing is to be done, or why it never can be
/// told.
pub type RecallAnswer = Result<Option<Recalled>, String>;

/// Whether it is our turn to take events. It may close for a while, and for good.
pub trait Gate: Send + Sync {
    /// Whether it is open now.
    fn is_open(&self) -> bool;
    /// Whether it never will be again.
    fn is_closed_for_good(&self) -> bool;
    /// Waits until it is open; false when it will not be.
    fn opened(&self) -> BoxFuture<'_, bool>;
}

/// Finds what a request for a replay means.
pub trait Recall: Send + Sync {
    /// What the `request` on a subject means, and where that lies. An outer error passes: it is asked again.
    fn recall<'a>(
        &'a self,
        subject: &'a str,
        request: (&'a Bytes, u64),
    ) -> BoxFuture<'a, Result<RecallAnswer, String>>;
}

/// Where the requests for replays come from.
#[derive(Clone)]
pub struct Replays {
    /// The stream.
    pub stream: &'static str,
    /// The consumer's durable name.
    pub durable: String,
    /// The subjects of this pipeline's requests.
    pub subjects: SubjectPattern,
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
    /// Knows what their requests mean.
    pub recall: Arc<dyn Recall>,
    /// Says whether events may be taken.
    pub gate: Arc<dyn Gate>,
    /// How far it is, and the wish to hold it.
    pub gauge: Gauge,
}

/// How far an intake is, while it runs.
#[derive(Debug, Clone)]
pub struct Gauge {
    budget: Arc<Budget>,
    pause: Pause,
}

impl Gauge {
    /// Nothing taken yet, of at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64, pause: Pause) -> Self {
        Self {
            budget: Arc::new(Budget::new(max_bytes)),
            pause,
        }
    }

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

/// Finds or makes what [`Intake::open`] will need of streams, and leaves the positions of consumers alone: another
/// runtime may be at work.
///
/// # Errors
/// [`IntakeError`] naming what is missing and what to do.
pub async fn prepare(
    context: &async_nats::jetstream::Context,
    config: &Config,
    replays: &Replays,
) -> Result<(), IntakeError> {
    sharing::share_out(context, config).await?;
    if config.shares_out() {
        let stream = consumer::find_stream(context, config).await?;
        consumer::find_consumer(&stream.stream, config).await?;
    }
    for number in 0..config.n_partitions() {
        let config = config.of_share(number);
        let of_streams = [config.clone(), of_replays(&config, replays)];
        for config in of_streams.iter().filter(|c| c.source.is_stream()) {
            let stream = consumer::find_stream(context, config).await?;
            consumer::find_consumer(&stream.stream, config).await?;
        }
    }
    Ok(())
}

/// One pipeline's intake, found to be startable.
pub struct Intake {
    config: Config,
    source: Opened,
    /// None: they are taken by whoever works on the partitions.
    replays: Option<(Box<jetstream::JetStream>, Config)>,
    lanes: DeliveryLanes,
    tasks: Tasks,
    metrics: Arc<PipelineMetrics>,
    shutdown: Shutdown,
    gate: Arc<dyn Gate>,
    gauge: Gauge,
}

enum Opened {
    JetStream(Box<jetstream::JetStream>),
    Core(Box<core::Core>),
    /// Events go to their partitions from here, and nowhere else.
    Distributor(Box<distributor::Distributor>),
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
            recall,
            gate,
            gauge,
        } = parts;
        let source = match &config.source {
            _ if config.shares_out() => {
                let handler = handler.clone();
                let opened =
                    distributor::Distributor::open(context.clone(), config, handler).await?;
                Opened::Distributor(Box::new(opened))
            }
            Source::JetStream { .. } => Opened::JetStream(Box::new(
                jetstream::JetStream::open(context.clone(), config, None).await?,
            )),
            Source::Core { .. } => {
                let core = core::Core::open(context.client(), config, &gauge.pause).await?;
                Opened::Core(Box::new(core))
            }
        };
        let replays = match config.shares_out() {
            true => None,
            false => {
                let config = of_replays(config, &replays);
                let opened =
                    jetstream::JetStream::open(context.clone(), &config, Some(recall)).await?;
                Some((Box::new(opened), config))
            }
        };
        let tasks = Tasks::new();
        let lanes = Lanes::new(tasks.clone(), shutdown.clone(), handler);
        Ok(Self {
            config: config.clone(),
            source,
            replays,
            lanes,
            tasks,
            metrics,
            shutdown,
            gate,
            gauge,
        })
    }

    /// Takes events in until the shutdown begins, then waits for those at work, at most `grace`.
    /// Returns whether all of them ended.
    pub async fn run(self, grace: Duration) -> bool {
        let at = |config| jetstream::Surroundings {
            budget: &self.gauge.budget,
            pause: &self.gauge.pause,
            config,
            lanes: &self.lanes,
            metrics: &self.metrics,
            shutdown: &self.shutdown,
            gate: &self.gate,
        };
        // Events and replays. A paused pipeline's events are shared out all the same: they wait further on.
        let is_pausable = self.replays.is_some();
        let _at_work = is_pausable.then(|| [self.gauge.pause.work(), self.gauge.pause.work()]);
        let events = async {
            match self.source {
                Opened::JetStream(source) => {
                    Box::pin(source.run(at(&self.config), &self.tasks, grace)).await
                }
                Opened::Core(source) => {
                    Box::pin(source.run(at(&self.config), &self.tasks, grace)).await
                }
                Opened::Distributor(distributor) => {
                    Box::pin(distributor.run(&at(&self.config))).await;
                    true
                }
            }
        };
        let (replays, replays_config) = self.replays.unzip();
        let replays = async {
            match replays.zip(replays_config.as_ref()) {
                Some((replays, config)) => {
                    Box::pin(replays.run(at(config), &self.tasks, grace)).await
                }
                None => true,
            }
        };
        let (events, replays) = futures::join!(events, replays);
        events && replays
    }
}

/// The settings of a pipeline's second source: its own dead letters, into the same lanes.
fn of_replays(config: &Config, replays: &Replays) -> Config {
    let mut partition = config.partition.clone();
    let mut durable = replays.durable.clone();
    if let Some(partition) = &mut partition {
        partition.origin = None;
        partition.whole = Some(durable.clone());
        durable = format!("{durable}@{}", partition.number);
    }
    Config {
        partition,
        source: Source::JetStream {
            stream: replays.stream.to_owned(),
            subjects: vec![replays.subjects.clone()],
            create: Create::Check,
            durable,
        },
        max_events: config.max_events.min(REPLAYS),
        ..config.clone()
    }
}
