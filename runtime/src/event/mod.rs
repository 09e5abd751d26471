//! The vocabulary: what flows through Syncline. Values only, no input or output, no tasks, no clock.

mod cloud_event;
mod delivery;
mod effect;
mod headers;
mod hold;
mod key;
mod merge;
mod plan;
mod subject;
mod trail;
mod verdict;

use bytes::Bytes;
use std::sync::Arc;

pub use cloud_event::data_to_json;
pub(crate) use cloud_event::is_attribute_name;
pub use cloud_event::{Event, InvalidEvent, RawOrigin};
pub use delivery::{Delivery, Disposition, Outcome, Past, Recalled, Receipt, Report, Settle};
pub use effect::{Effect, Operation, Precondition};
pub(crate) use headers::header_fault;
pub use headers::{Headers, reserved};
pub use hold::{Hold, Rank};
pub use key::{EventId, KeySpec, OrderingKey};
pub(crate) use key::{encode as encode_hash, scalar_at};
pub(crate) use merge::merge;
pub use plan::{
    Accepted, DeadLetter, DeadReason, Failure, Plan, PlannedEffect, StateRead, StateWrite,
};
pub use subject::{KeyAlphabet, SubjectPattern, TypePattern, escape_key, unescape_key};
pub use trail::Trail;
pub use verdict::{Acceptance, Forwarded, Next, Verdict};

/// The value that flows: an event, its data, and where this copy of it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The CloudEvents attributes and the message headers.
    pub event: Arc<Event>,
    /// The event's data as received; empty when it has none.
    pub data: Bytes,
    /// Where this copy came from. Children of a split keep their parent's.
    pub origin: Arc<Origin>,
}

impl Envelope {
    /// The same, where an earlier attempt may have come to its end.
    #[must_use]
    pub fn as_maybe_seen(&self) -> Self {
        let mut origin = Origin::clone(&self.origin);
        origin.maybe_seen = true;
        Self {
            origin: Arc::new(origin),
            ..self.clone()
        }
    }
}

/// Where a copy of an event came from, and what identifies it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The event's identity, `k`.
    pub id: EventId,
    /// The NATS subject.
    pub address: String,
    /// The source stream; empty for core NATS.
    pub stream: Arc<str>,
    /// When that stream was made, in nanoseconds since 1970: one that is made anew under its name
    /// counts from 1 again. 0 for core NATS.
    pub stream_created: u64,
    /// Position in the source stream; 0 from core NATS.
    pub sequence: u64,
    /// What the event is ordered by.
    pub key: OrderingKey,
    /// True when an earlier run may already have applied some of the event's effects.
    pub maybe_seen: bool,
    /// How often it was replayed as a dead letter.
    pub generation: u32,
}

/// A message as a source hands it over, before it is decoded. Kept whole for dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The NATS subject.
    pub subject: String,
    /// Every header as received, `Nats-*` included.
    pub headers: Headers,
    /// The body as received.
    pub payload: Bytes,
    /// The source stream; empty for core NATS.
    pub stream: Arc<str>,
    /// See [`Origin::stream_created`].
    pub stream_created: u64,
    /// Position in the source stream; 0 from core NATS.
    pub sequence: u64,
}
