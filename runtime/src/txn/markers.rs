//! Marks of events that ended, on the stream `TX`: what lets a second copy be known as one.

use super::record::{Ended, Record, State};
use super::stream::{STREAM, TxStream};
use crate::event::Origin;
use crate::provision::Provision;
use async_nats::jetstream;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long the server may take to say whether there is a marker.
const PATIENCE: Duration = Duration::from_secs(5);

/// A marker as it lies on the stream.
#[derive(Debug, Clone, Copy, Serialize)]
struct Marker {
    state: State,
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

impl MarkerError {
    pub(super) fn new(attempted: String, cause: &dyn fmt::Display) -> Self {
        Self {
            attempted,
            cause: cause.to_string(),
        }
    }
}

/// The markers of one pipeline. Subjects are `tx.done.PIPELINE.K`.
pub struct Markers {
    stream: TxStream,
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
        let stream = TxStream::open(context, provision).await;
        Ok(Self {
            stream: stream.map_err(|cause| failed(&attempted, &cause))?,
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
        let message = match tokio::time::timeout(PATIENCE, self.stream.last(&subject)).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Ok(false),
            Ok(Err(cause)) => return Err(failed(&attempted(), &cause)),
            Err(_) => return Err(failed(&attempted(), &"no answer in time")),
        };
        // It may be a decision from a time when the pipeline was atomic.
        let record = Record::decode(&message.payload);
        let head = record.map_err(|error| failed(&attempted(), &error))?.head;
        let is_open = matches!(head.state, State::Aborted | State::Delegated);
        let ended = head.ended(!is_open, origin.generation);
        Ok(!matches!(ended, Ended::No(_)))
    }

    /// Keeps in mind how the event ended.
    ///
    /// # Errors
    /// When it is not known to be kept.
    pub(super) async fn mark(&self, origin: &Origin, state: State) -> Result<(), MarkerError> {
        let subject = self.subject(origin);
        let attempted = format!("cannot write the marker {subject}");
        let marker = Marker {
            state,
            generation: origin.generation,
        };
        let body = serde_json::to_vec(&marker).map_err(|error| failed(&attempted, &error))?;
        let written = self.stream.write(subject, body.into(), self.horizon);
        let written = written.await.map(drop);
        written.map_err(|cause| failed(&attempted, &cause))
    }

    fn subject(&self, origin: &Origin) -> String {
        format!("tx.done.{}.{}", self.pipeline, origin.id)
    }
}

fn failed(attempted: &str, error: &dyn fmt::Display) -> MarkerError {
    MarkerError::new(attempted.to_owned(), error)
}
