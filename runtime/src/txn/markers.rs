//! Marks of events that ended, on the stream `TX`: what lets a second copy be known as one.

use crate::event::Origin;
use crate::provision::Provision;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_TTL;
use async_nats::jetstream;
use async_nats::jetstream::stream::{
    self, DirectGetErrorKind, DiscardPolicy, LastRawMessageErrorKind,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The stream of transactions.
const STREAM: &str = "TX";
/// What its subjects begin with.
const SUBJECTS: &str = "tx.>";
/// How long the server may take to say whether there is a marker.
const PATIENCE: Duration = Duration::from_secs(5);

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Ended {
    /// Its effects were applied.
    Done,
    /// It was dropped, and plugin state was written.
    Filtered,
    /// It became a dead letter.
    Dead,
}

/// A marker as it lies on the stream.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Marker {
    state: Ended,
    /// How often the event had been replayed.
    generation: u32,
}

/// Why the markers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct MarkerError {
    attempted: String,
    cause: String,
}

/// The markers of one pipeline. Subjects are `tx.done.PIPELINE.K`.
pub struct Markers {
    context: jetstream::Context,
    stream: stream::Stream,
    pipeline: Arc<str>,
    horizon: Duration,
}

impl Markers {
    /// Opens the stream, making it when it is missing. Markers are kept for `horizon`.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
    pub async fn open(
        context: &jetstream::Context,
        pipeline: &str,
        horizon: Duration,
        provision: &Provision,
    ) -> Result<Self, MarkerError> {
        let attempted = format!("cannot open the stream {STREAM} for `dedupe` of `{pipeline}`");
        let config = stream::Config {
            name: STREAM.to_owned(),
            description: Some("Transactions of Syncline".to_owned()),
            subjects: vec![SUBJECTS.to_owned()],
            // A marker that does not fit must be refused, never push out another.
            discard: DiscardPolicy::New,
            allow_direct: true,
            allow_message_ttl: true,
            allow_atomic_publish: true,
            deny_delete: true,
            num_replicas: provision.replicas,
            ..Default::default()
        };
        let stream = context
            .get_or_create_stream(config)
            .await
            .map_err(|error| failed(&attempted, &error))?;
        let found = &stream.cached_info().config;
        provision.compare(STREAM, found.num_replicas);
        if !found.allow_message_ttl || found.subjects != [SUBJECTS] {
            let cause = format!("it does not hold `{SUBJECTS}` with `allow_msg_ttl`");
            return Err(failed(&attempted, &cause));
        }
        Ok(Self {
            context: context.clone(),
            stream,
            pipeline: pipeline.into(),
            horizon,
        })
    }

    /// Whether the event has ended before, in this generation or a later one.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn has_ended(&self, origin: &Origin) -> Result<bool, MarkerError> {
        let subject = self.subject(origin);
        let attempted = || format!("cannot read the marker {subject}");
        let payload = match tokio::time::timeout(PATIENCE, self.last(&subject)).await {
            Ok(Ok(Some(payload))) => payload,
            Ok(Ok(None)) => return Ok(false),
            Ok(Err(cause)) => return Err(failed(&attempted(), &cause)),
            Err(_) => return Err(failed(&attempted(), &"no answer in time")),
        };
        let marker: Marker =
            serde_json::from_slice(&payload).map_err(|error| failed(&attempted(), &error))?;
        Ok(marker.generation >= origin.generation)
    }

    /// The last message of a subject as the stream's leader has it. A follower, which may answer a
    /// direct get, may not have it yet; where there is none, that is the cheaper way.
    async fn last(&self, subject: &str) -> Result<Option<Bytes>, String> {
        let config = &self.stream.cached_info().config;
        if config.num_replicas <= 1 && config.allow_direct {
            return match self.stream.direct_get_last_for_subject(subject).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            };
        }
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keeps in mind how the event ended.
    ///
    /// # Errors
    /// When it is not known to be kept.
    pub(super) async fn mark(&self, origin: &Origin, state: Ended) -> Result<(), MarkerError> {
        let subject = self.subject(origin);
        let attempted = format!("cannot write the marker {subject}");
        let marker = Marker {
            state,
            generation: origin.generation,
        };
        let body = serde_json::to_vec(&marker).map_err(|error| failed(&attempted, &error))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_TTL, format!("{}s", self.horizon.as_secs()));
        let published = self
            .context
            .publish_with_headers(subject, headers, body.into())
            .await;
        let ack = published.map_err(|error| failed(&attempted, &error))?;
        ack.await.map_err(|error| failed(&attempted, &error))?;
        Ok(())
    }

    fn subject(&self, origin: &Origin) -> String {
        format!("tx.done.{}.{}", self.pipeline, origin.id)
    }
}

fn failed(attempted: &str, error: &dyn fmt::Display) -> MarkerError {
    MarkerError {
        attempted: attempted.to_owned(),
        cause: error.to_string(),
    }
}
