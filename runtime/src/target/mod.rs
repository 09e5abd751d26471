//! One target module at a time: what it can do, and what it answers. A closed set of kinds.

mod answer;
mod batches;
mod branch;
mod breaker;
mod config;
mod holder;
pub mod http;
mod kv;
mod list;
mod names;
pub mod postgres;
mod preview;
mod promise;
mod subject;
mod taken;
mod template;
mod undo;

use crate::event::{EventId, Operation, OrderingKey, PlannedEffect};
use crate::provision::Create;
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
use postgres::Databases;

pub use crate::tls::Tls;
pub use answer::Answer;
pub use branch::Work;
pub use breaker::{BreakerPolicy, Pass};
pub use config::{Config, Kind};
pub use list::{LARGEST_PAGE, Listed, Page, Position, Wanted};
pub use names::{Branch, NameError};
pub use preview::{Draft, Preview};
pub use promise::{JOINED, Promise};
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
    Postgres(Box<postgres::Postgres>),
    Http(Box<http::Http>),
}

impl Target {
    /// Finds, or makes where the configuration says so, what the target is made of.
    ///
    /// # Errors
    /// What is missing, and the setting that would make it.
    async fn open(
        context: &jetstream::Context,
        config: &Config,
        databases: &Databases,
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
            Kind::Postgres(settings) => match databases.get(settings) {
                Ok(database) => Box::pin(postgres::Postgres::open(database, settings, config))
                    .await
                    .map(|target| Opened::Postgres(Box::new(target))),
                Err(fault) => Err(fault),
            },
            Kind::Http(settings) => {
                let looks = config.create != Create::Adopt;
                let opened = http::Http::open(settings, config.timeout, looks);
                Box::pin(opened)
                    .await
                    .map(|target| Opened::Http(Box::new(target)))
            }
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
        if let Opened::Http(target) = &self.kind {
            target.turn().await;
        }
    }

    /// Applies one effect. An answer that does not come in time is [`Answer::Unknown`].
    pub async fn apply(&self, effect: &PlannedEffect, cause: &Cause) -> Answer {
        let (answer, is_silence) = match self.apply_in_batch(effect, cause).await {
            Some(answer) => heard(answer),
            None => Box::pin(self.apply_alone(effect, cause)).await,
        };
        self.learn(&answer, is_silence);
        answer
    }

    fn learn(&self, answer: &Answer, is_silence: bool) {
        if let Some(breaker) = &self.breaker {
            self.teach(breaker, answer, is_silence);
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

    async fn apply_alone(&self, effect: &PlannedEffect, cause: &Cause) -> (Answer, bool) {
        let applied = pin!(async {
            match &self.kind {
                Opened::Subject(target) => heard(target.apply(effect, cause).await),
                Opened::Kv(target) => heard(target.apply(&effect.effect, cause).await),
                Opened::Postgres(target) => Box::pin(target.apply(&effect.effect, cause)).await,
                Opened::Http(target) => Box::pin(target.apply(effect, cause)).await,
            }
        });
        let answer = tokio::time::timeout(self.timeout, applied).await;
        answer.unwrap_or_else(|_| (self.silence(), true))
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

    /// What is not known while NATS itself is away says nothing about a target that is reached by it.
    fn teach(&self, breaker: &Breaker, answer: &Answer, is_silence: bool) {
        let is_by_nats = matches!(self.kind, Opened::Subject(_) | Opened::Kv(_));
        let is_reached = || !is_by_nats || self.client.connection_state() == State::Connected;
        match answer {
            Answer::Unknown(error) if is_silence && is_reached() => breaker.failed(error),
            Answer::Unknown(_) if !is_silence => breaker.answered(),
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

    /// Waits until the target is not left alone any more, or it is time to try it: for what has to be done in the
    /// end, whosever turn it is.
    pub async fn rest(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.rest().await;
        }
    }

    /// The database that it is a table of. Targets of one database can be written in one transaction.
    #[must_use]
    pub fn database(&self) -> Option<&Arc<postgres::Database>> {
        match &self.kind {
            Opened::Postgres(target) => Some(target.database()),
            Opened::Subject(_) | Opened::Kv(_) | Opened::Http(_) => None,
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
                Opened::Postgres(target) => Box::pin(target.read(entity, key)).await,
                Opened::Http(target) => Box::pin(target.read(entity, key)).await,
            }
        };
        self.in_time(found).await
    }

    /// Lists entities, a page at a time: every one that is there from the first page to the last, and of those that
    /// come, change or go meanwhile perhaps some, perhaps twice. Pages are no snapshot.
    ///
    /// # Errors
    /// [`ReadError::Invalid`] when the target can list nothing, or not from that position;
    /// [`ReadError::Unavailable`] when it does not answer in time.
    pub async fn list(&self, wanted: &Wanted<'_>) -> Result<Page, ReadError> {
        let name = &self.name;
        let page = async {
            match &self.kind {
                Opened::Kv(target) => Box::pin(target.list(wanted)).await,
                Opened::Postgres(target) => Box::pin(target.list(wanted)).await,
                Opened::Subject(_) => Err(ReadError::Invalid(format!(
                    "target `{name}` is of kind subject and holds no entities: list the target that they end up in"
                ))),
                Opened::Http(_) => Err(ReadError::Invalid(format!(
                    "target `{name}` is of kind http, and nothing says where its module lists entities: \
                     list a kv or postgres target that holds the same"
                ))),
            }
        };
        self.in_time(page).await
    }

    /// What the target answers, unless that takes too long.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let name = &self.name;
        tokio::time::timeout(self.timeout, answer)
            .await
            .unwrap_or_else(|_| {
                let fault = format!("target `{name}` did not answer within {:?}", self.timeout);
                Err(ReadError::Unavailable(fault))
            })
    }
}

/// The answer of a target that is reached by NATS, and whether nothing was heard.
fn heard(answer: Answer) -> (Answer, bool) {
    let is_silence = answer.is_silence();
    (answer, is_silence)
}

/// Why `operation` cannot be applied to a target of this kind, if it cannot.
#[must_use]
pub fn unsupported(kind: &Kind, operation: Operation) -> Option<&'static str> {
    match (kind, operation) {
        (Kind::Kv { .. }, Operation::Append) => {
            Some("a kv target has no `append`: every entry has a key; use `upsert`")
        }
        (Kind::Postgres(settings), operation)
            if settings.key.is_empty() && operation != Operation::Append =>
        {
            Some("a postgres target without `key` has only `append`: nothing tells its rows apart")
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
        let databases = Databases::of(configs.iter().filter_map(|config| match &config.kind {
            Kind::Postgres(settings) => Some((&**settings, config.timeout)),
            _ => None,
        }));
        for config in configs {
            match Target::open(context, config, &databases, metrics).await {
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

    /// A target in each database, with its name.
    pub fn in_databases(&self) -> Vec<(&str, &Target)> {
        let mut found: Vec<(&str, &Target)> = Vec::new();
        for (name, target) in &self.by_name {
            let is_known = found.iter().any(|(_, other)| target.shares_branch(other));
            if target.database().is_some() && !is_known {
                found.push((name, target));
            }
        }
        found
    }

    /// The target of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Target> {
        self.by_name.get(name)
    }
}
