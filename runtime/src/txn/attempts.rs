//! Attempts that failed, on the stream `TX`: what lets a takeover go on counting where a run ended.

use super::markers::MarkerError;
use super::stream::{STREAM, TxStream, in_time};
use crate::event::{Accepted, Failure, Origin};
use crate::provision::Provision;
use async_nats::jetstream;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long attempts are known after the next one is due.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What an event went through before its next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Attempts that failed and are counted.
    pub attempts: u32,
    /// The failures.
    pub history: Vec<Failure>,
    /// Effects that targets had accepted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accepted: Vec<Accepted>,
}

/// What lies on the stream.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Which copy of the event it is about.
    stream_created: u64,
    sequence: u64,
    generation: u32,
    #[serde(flatten)]
    tried: Tried,
}

/// The attempts at the events of one pipeline. Subjects are `tx.try.PIPELINE.K`.
pub struct Attempts {
    stream: TxStream,
    pipeline: Arc<str>,
}

impl Attempts {
    /// Opens the stream, making it when it is missing.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
    pub async fn open(
        context: &jetstream::Context,
        pipeline: &str,
        provision: &Provision,
    ) -> Result<Self, MarkerError> {
        let attempted = format!("cannot open the stream {STREAM} for the attempts of `{pipeline}`");
        let stream = TxStream::open(context, provision).await;
        Ok(Self {
            stream: stream.map_err(|cause| MarkerError::new(attempted, &cause))?,
            pipeline: pipeline.into(),
        })
    }

    /// What earlier runs have tried at this copy of the event, as far as it is kept.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn earlier(&self, origin: &Origin) -> Result<Option<Tried>, MarkerError> {
        let subject = self.subject(origin);
        let failed = |cause: &dyn fmt::Display| {
            MarkerError::new(format!("cannot read the attempts {subject}"), cause)
        };
        let last = in_time(self.stream.last(&subject)).await;
        let Some(message) = last.map_err(|cause| failed(&cause))? else {
            return Ok(None);
        };
        let record: Record =
            serde_json::from_slice(&message.payload).map_err(|error| failed(&error))?;
        Ok(record.is_of(origin).then_some(record.tried))
    }

    /// Keeps what was tried until long after the next attempt, which is due after `pause`. What was kept
    /// before is replaced.
    ///
    /// # Errors
    /// When it is not known to be kept.
    pub async fn keep(
        &self,
        origin: &Origin,
        tried: Tried,
        pause: Duration,
    ) -> Result<(), MarkerError> {
        let subject = self.subject(origin);
        let failed = |cause: &dyn fmt::Display| {
            MarkerError::new(format!("cannot write the attempts {subject}"), cause)
        };
        let record = Record {
            stream_created: origin.stream_created,
            sequence: origin.sequence,
            generation: origin.generation,
            tried,
        };
        let body = serde_json::to_vec(&record).map_err(|error| failed(&error))?;
        let written = self
            .stream
            .write_last(subject.clone(), body.into(), KEPT + pause);
        let written = in_time(written).await.map(drop);
        written.map_err(|cause| failed(&cause))
    }

    fn subject(&self, origin: &Origin) -> String {
        format!("tx.try.{}.{}", self.pipeline, origin.id)
    }
}

impl Record {
    /// Whether it is about this copy: one that was published again has attempts of its own.
    fn is_of(&self, origin: &Origin) -> bool {
        (self.stream_created, self.sequence, self.generation)
            == (origin.stream_created, origin.sequence, origin.generation)
    }
}
