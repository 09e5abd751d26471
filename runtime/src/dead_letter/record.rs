//! A dead letter as it is stored: the context as JSON, the original message whole.

use super::hold::{Line, id_of};
use crate::event::{Accepted, DeadLetter, DeadReason, Failure, Headers, Hold, OrderingKey, Rank};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A stored dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// `PIPELINE.K`: the pipeline and the event's identity; `PIPELINE.K.COPY` of one that holds its key.
    pub id: String,
    /// The pipeline that gave the event up.
    pub pipeline: String,
    /// How often the event had been replayed before.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub generation: u32,
    /// When it was stored, RFC 3339.
    pub at: String,
    /// Why.
    pub reason: DeadReason,
    /// The last error.
    pub error: String,
    /// The ordering key.
    pub key: String,
    /// Whether later events of the key wait for it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub holds_key: bool,
    /// CloudEvents `id`, where the message was an event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<String>,
    /// CloudEvents `source`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_source: Option<String>,
    /// CloudEvents `type`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_type: Option<String>,
    /// W3C trace context.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Every failed attempt.
    pub history: Vec<Failure>,
    /// Each stage's plugin with the digest of the component that ran.
    pub plugins: Vec<(String, String)>,
    /// Effects that targets had accepted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accepted: Vec<Accepted>,
    /// The source stream; empty for core NATS.
    pub stream: String,
    /// When that stream was made, in nanoseconds since 1970; 0 for core NATS.
    #[serde(default)]
    pub stream_created: u64,
    /// Position in it.
    pub sequence: u64,
    /// The original subject.
    pub subject: String,
    /// The original headers.
    pub headers: Headers,
    /// Length of the original payload.
    pub payload_bytes: usize,
    /// The original payload, base64; absent when it lies in the object store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload_base64: Option<String>,
    /// Name of the object that holds the original payload, when it is too large for the message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload_object: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn is_zero(generation: &u32) -> bool {
    *generation == 0
}

/// A line of `syncline dlq list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LetterSummary {
    /// See [`Letter::id`].
    pub id: String,
    /// See [`Letter::pipeline`].
    pub pipeline: String,
    /// See [`Letter::at`].
    pub at: String,
    /// See [`Letter::reason`].
    pub reason: DeadReason,
    /// See [`Letter::key`].
    pub key: String,
    /// See [`Letter::event_type`].
    pub event_type: Option<String>,
    /// See [`Letter::attempts`].
    pub attempts: u32,
    /// See [`Letter::error`].
    pub error: String,
    /// See [`Letter::generation`].
    pub generation: u32,
    /// Whether it was asked to be replayed, so that it waits for nobody any more.
    pub replayed: bool,
    /// See [`Letter::holds_key`].
    pub holds_key: bool,
    /// Its position on the stream of dead letters.
    #[serde(skip)]
    pub sequence: u64,
    /// See [`Letter::stream_created`] and [`Letter::sequence`].
    #[serde(skip)]
    pub source: (u64, u64),
    /// The position of the request for its replay.
    #[serde(skip)]
    pub request: Option<u64>,
    /// See [`Letter::payload_object`].
    #[serde(skip)]
    pub payload_object: Option<String>,
}

impl Letter {
    /// The record of a dead letter, with its payload inside.
    pub(super) fn of(letter: &DeadLetter, at: String) -> Self {
        let [event_id, event_source, event_type] = match &letter.event {
            Some(event) => event.clone().map(Some),
            None => [const { None }; 3],
        };
        let original = &letter.original;
        Self {
            id: match letter.holds_key {
                true => id_of(&letter.pipeline, &letter.id, &letter.rank()),
                false => format!("{}.{}", letter.pipeline, letter.id),
            },
            pipeline: letter.pipeline.clone(),
            generation: letter.generation,
            at,
            reason: letter.reason,
            error: letter.error.clone(),
            key: letter.key.clone(),
            holds_key: letter.holds_key,
            event_id,
            event_source,
            event_type,
            traceparent: letter.traceparent.clone(),
            attempts: letter.history.last().map_or(0, |failure| failure.attempt),
            history: letter.history.clone(),
            plugins: letter.plugins.clone(),
            accepted: letter.accepted.clone(),
            stream: original.stream.to_string(),
            stream_created: original.stream_created,
            sequence: original.sequence,
            subject: original.subject.clone(),
            headers: original.headers.clone(),
            payload_bytes: original.payload.len(),
            payload_base64: Some(STANDARD.encode(&original.payload)),
            payload_object: None,
        }
    }

    /// The letter in one line; `sequence` is its position on the stream.
    #[must_use]
    pub fn summary(&self, sequence: u64) -> LetterSummary {
        LetterSummary {
            id: self.id.clone(),
            pipeline: self.pipeline.clone(),
            at: self.at.clone(),
            reason: self.reason,
            key: self.key.clone(),
            event_type: self.event_type.clone(),
            attempts: self.attempts,
            error: self.error.clone(),
            generation: self.generation,
            replayed: false,
            holds_key: self.holds_key,
            sequence,
            source: (self.stream_created, self.sequence),
            request: None,
            payload_object: self.payload_object.clone(),
        }
    }

    /// What it holds, being at this position on the stream.
    pub(super) fn hold(&self, letter: u64) -> Option<Hold> {
        self.holds_key.then(|| Hold {
            rank: self.rank(),
            letter,
            generation: self.generation,
            waits: self.waits(),
        })
    }

    /// The header that says so without the body.
    pub(super) fn line(&self) -> Option<Line> {
        self.holds_key.then(|| Line {
            rank: self.rank(),
            generation: self.generation,
            waits: self.waits(),
            subject: self.subject.clone(),
        })
    }

    fn rank(&self) -> Rank {
        Rank {
            key: OrderingKey::from(self.key.as_str()),
            stream_created: self.stream_created,
            sequence: self.sequence,
        }
    }

    fn waits(&self) -> bool {
        self.reason == DeadReason::Parked
    }
}

impl LetterSummary {
    /// Whether its event failed at nothing, and merely waits for an earlier one of its key.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.holds_key && self.reason == DeadReason::Parked
    }

    /// What sorts letters so that those of a key come in the order of the source where they hold it, and
    /// else in the order in which they were stored.
    #[must_use]
    pub fn order(&self) -> (bool, (u64, u64), u64) {
        let source = if self.holds_key { self.source } else { (0, 0) };
        (self.holds_key, source, self.sequence)
    }

    /// Where its event stands in its key, if it holds that.
    pub(super) fn rank(&self) -> Option<Rank> {
        let (stream_created, sequence) = self.source;
        self.holds_key.then(|| Rank {
            key: OrderingKey::from(self.key.as_str()),
            stream_created,
            sequence,
        })
    }
}
