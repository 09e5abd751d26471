//! One target module at a time: what it can do, and what it answers. A closed set of kinds.

mod answer;
mod batches;
mod breaker;
mod config;
mod holder;
mod kv;
mod merge;
mod promise;
mod subject;
mod taken;
mod template;
mod undo;

use crate::event::{EventId, Operation, OrderingKey, PlannedEffect};
use crate::rate::Limiter;
use crate::telemetry::Metrics;
use async_nats::connection::State;
use async_nats::jetstream;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{info, warn};

use batches::Sent;
use breaker::Breaker;

pub use answer::Answer;
pub use breaker::{BreakerPolicy, Pass};
pub use config::{Config, Kind};
pub use promise::Promise;
pub use template::SubjectTemplate;
pub use undo::{Changed, Image, NoImage, Undone};

/// What led to an effect: goes along with it as headers.
#[derive(Debug, Clone)]
pub struct Cause {
    /// Identity of the event.
    pub event_id: EventId,
    /// Source stream of the event; empty for core NATS.
    pub stream: Arc<str>,
    /// When that stream was made, in nanoseconds since 1970.
    pub stream_created: u64,
    /// Position in it.
    pub sequence: u64,
    /// How often the event was replayed as a dead letter.
    pub generation: u32,
    /// What the event is ordered by.
    pub key: OrderingKey,
    /// True when an earlier run may already have applied this effect.
    pub maybe_seen: bool,
    /// W3C trace context of the event.
    pub traceparent: Option<String>,
    /// What JetStream deduplicates the effect by.
    pub message_id: Arc<str>,
}

/// An entity as a target holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Media type.
    pub content_type: String,
    /// Which version.
    pub etag: String,
    /// The entity.
    pub data: Bytes,
}

/// Why an entity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It never can be.
    #[error("{0}")]
    Invalid(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a target cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot open target `{target}`: {fault}")]
pub struct OpenError {
    /// The target.
    pub target: String,
    /// What is missing or wrong, and what to do.
    pub fault: String,
}

/// A target module.
#[derive(Debug)]
pub struct Target {
    name: Arc<str>,
    timeout: Duration,
    limiter: Option<Limiter>,
    breaker: Option<Breaker>,
    client: async_nats::Client,
    kind: Opened,
    /// The largest message that it takes.
    largest: usize,
    /// Whether it was away when it was last asked.
    away: AtomicBool,
}

#[derive(Debug)]
enum Opened {
    Subject(subject::Subject),
    Kv(kv::Kv),
}

impl Target {
    /// Finds, or makes where the configuration says so, what the target is made of.
    ///
    /// # Errors
    /// What is missing, and the setting that would make it.
    pub async fn open(
        context: &jetstream::Context,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        let opened = match &config.kind {
            Kind::Subject {
                subject,
                stream,
                core,
            } => subject::Subject::open(context, config, subject, stream.as_deref(), *core)
                .await
                .map(Opened::Subject),
            Kind::Kv { bucket } => kv::Kv::open(context, bucket, config).await.map(Opened::Kv),
        };
        let kind = opened.map_err(|fault| OpenError {
            target: config.name.clone(),
            fault,
        })?;
        let name: Arc<str> = config.name.as_str().into();
        let breaker = |policy| Breaker::new(name.clone(), policy, metrics.target(&name));
        let client = context.client();
        let server = client.server_info().max_payload;
        let stream = kind.holder().and_then(holder::Holder::largest);
        Ok(Self {
            breaker: config.breaker.map(breaker),
            largest: stream.map_or(server, |stream| stream.min(server)),
            client,
            name,
            timeout: config.timeout,
            limiter: config.rate.map(Limiter::new),
            kind,
            away: AtomicBool::new(false),
        })
    }

    /// Waits until the target may be written once more.
    pub async fn turn(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.turn().await;
        }
    }

    /// Applies one effect. An answer that does not come in time is [`Answer::Unknown`].
    pub async fn apply(&self, effect: &PlannedEffect, cause: &Cause) -> Answer {
        let answer = match self.apply_in_batch(effect, cause).await {
            Some(answer) => answer,
            None => Box::pin(self.apply_alone(effect, cause)).await,
        };
        self.learn(&answer);
        answer
    }

    fn learn(&self, answer: &Answer) {
        if let Some(breaker) = &self.breaker {
            self.teach(breaker, answer);
        }
        self.say_whether_away(answer);
    }

    /// The answer to an effect that is sent together with others; none: it is to be applied alone.
    async fn apply_in_batch(&self, effect: &PlannedEffect, cause: &Cause) -> Option<Answer> {
        let Opened::Subject(target) = &self.kind else {
            return None;
        };
        // A batch has its own end, which spares each of its effects a timer.
        match target.apply_in_batch(effect, cause).await {
            Sent::Stored(_) => Some(Answer::Applied),
            Sent::Silent => Some(self.silence()),
            Sent::Alone => None,
        }
    }

    async fn apply_alone(&self, effect: &PlannedEffect, cause: &Cause) -> Answer {
        let applied = pin!(async {
            match &self.kind {
                Opened::Subject(target) => target.apply(effect, cause).await,
                Opened::Kv(target) => target.apply(&effect.effect, cause).await,
            }
        });
        let answer = tokio::time::timeout(self.timeout, applied).await;
        answer.unwrap_or_else(|_| self.silence())
    }

    fn silence(&self) -> Answer {
        Answer::Unknown(self.no_answer())
    }

    fn no_answer(&self) -> String {
        format!("no answer within {:?}", self.timeout)
    }

    /// Once when it goes, and once when it is back.
    fn say_whether_away(&self, answer: &Answer) {
        match answer {
            Answer::Away(why) if !self.away.swap(true, Ordering::Relaxed) => {
                warn!(target = %self.name, %why, "waiting for the target");
            }
            Answer::Applied if self.away.load(Ordering::Relaxed) => {
                self.away.store(false, Ordering::Relaxed);
                info!(target = %self.name, "the target is back");
            }
            _ => {}
        }
    }

    /// What is not known while NATS itself is away says nothing about the target.
    fn teach(&self, breaker: &Breaker, answer: &Answer) {
        let is_connected = || self.client.connection_state() == State::Connected;
        match answer {
            Answer::Unknown(error) if answer.is_silence() && is_connected() => {
                breaker.failed(error);
            }
            Answer::Unknown(_) if !answer.is_silence() => breaker.answered(),
            Answer::Unknown(_) | Answer::Away(_) => breaker.put_off(),
            Answer::Applied | Answer::Refused(_) | Answer::Conflict(_) => breaker.answered(),
        }
    }

    /// Whether the target is left alone now.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_open)
    }

    /// Waits until the target is not left alone any more, or may be tried.
    pub async fn pass(&self) -> Pass {
        match &self.breaker {
            Some(breaker) => breaker.pass().await,
            None => Pass::default(),
        }
    }

    /// Reads one entity.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the target does not answer in time.
    pub async fn read(&self, entity: Option<&str>, key: &str) -> Result<Option<Found>, ReadError> {
        let found = async {
            match &self.kind {
                Opened::Subject(target) => target.read(entity, key).await,
                Opened::Kv(target) => target.read(entity, key).await,
            }
        };
        let name = &self.name;
        tokio::time::timeout(self.timeout, found)
            .await
            .unwrap_or_else(|_| {
                let fault = format!("target `{name}` did not answer within {:?}", self.timeout);
                Err(ReadError::Unavailable(fault))
            })
    }
}

/// Why `operation` cannot be applied to a target of this kind, if it cannot.
#[must_use]
pub fn unsupported(kind: &Kind, operation: Operation) -> Option<&'static str> {
    match (kind, operation) {
        (Kind::Kv { .. }, Operation::Append) => {
            Some("a kv target has no `append`: every entry has a key; use `upsert`")
        }
        _ => None,
    }
}

/// Every configured target, by name.
#[derive(Debug, Default)]
pub struct Targets {
    by_name: BTreeMap<String, Target>,
}

impl Targets {
    /// Opens every target.
    ///
    /// # Errors
    /// Every target that cannot be opened, not only the first.
    pub async fn open(
        context: &jetstream::Context,
        configs: &[Config],
        metrics: &Metrics,
    ) -> Result<Self, Vec<OpenError>> {
        let (mut by_name, mut problems) = (BTreeMap::new(), Vec::new());
        for config in configs {
            match Target::open(context, config, metrics).await {
                Ok(target) => drop(by_name.insert(config.name.clone(), target)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self { by_name })
        } else {
            Err(problems)
        }
    }

    /// The target of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Target> {
        self.by_name.get(name)
    }
}
