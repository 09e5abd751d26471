//! What should happen to the world because of one event.

use super::effect::{Effect, Operation};
use super::hold::Rank;
use super::key::{EventId, OrderingKey};
use super::{Headers, Original};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// All that one event changes: effects in order, plugin state, or a dead letter instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes to targets, in order.
    pub effects: Vec<PlannedEffect>,
    /// State keys that the plugins read, with the revision they saw.
    pub reads: Vec<StateRead>,
    /// State keys that the plugins wrote.
    pub writes: Vec<StateWrite>,
    /// The event itself, given up. A plan that holds one holds nothing else.
    pub dead_letter: Option<Box<DeadLetter>>,
}

/// An effect with its target and identity settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEffect {
    /// The configured target.
    pub target: Arc<str>,
    /// The change.
    pub effect: Effect,
    /// The same again when the event is thought again: path of stage and child, and index.
    pub id: String,
}

/// A state key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRead {
    /// The key in the state bucket.
    pub key: String,
    /// The revision that was seen; 0: the key did not exist.
    pub revision: u64,
}

/// A state key that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The key in the state bucket.
    pub key: String,
    /// The revision that must still hold; none: whatever there is.
    pub revision: Option<u64>,
    /// The new value; none: deleted.
    pub value: Option<Bytes>,
    /// How long it is kept; none: until deleted.
    pub ttl: Option<Duration>,
}

/// An effect that a target accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The configured target.
    pub target: String,
    /// The kind of entity, where the effect named one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entity: Option<String>,
    /// What was done.
    pub operation: Operation,
    /// Which entity.
    pub key: String,
}

impl Accepted {
    /// Whether `planned` does the same to the same entity.
    #[must_use]
    pub fn is(&self, planned: &PlannedEffect) -> bool {
        *self == Self::of(planned)
    }

    /// What is kept of an effect that a target accepted.
    #[must_use]
    pub fn of(planned: &PlannedEffect) -> Self {
        let effect = &planned.effect;
        Self {
            target: planned.target.to_string(),
            entity: effect.entity.clone(),
            operation: effect.operation,
            key: effect.key.clone(),
        }
    }
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// The message is not an event.
    Invalid,
    /// A plugin said that it can never succeed.
    Reject,
    /// A plugin trapped twice.
    Trap,
    /// A plugin's answer cannot be carried out.
    BadAnswer,
    /// An effect does not keep to the contract of its target.
    Contract,
    /// A target refused an effect for good.
    Refused,
    /// A precondition or a state key kept changing.
    Conflict,
    /// Every attempt failed.
    Exhausted,
    /// Changes led to it through too many pipelines.
    Hops,
    /// It failed at nothing, and waits for an earlier event of its key that did.
    Parked,
}

impl DeadReason {
    /// The reason's name in dead letters, filters and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::BadAnswer => "bad-answer",
            Self::Contract => "contract",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Exhausted => "exhausted",
            Self::Hops => "hops",
            Self::Parked => "parked",
        }
    }
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When, RFC 3339.
    pub at: String,
    /// The plugin or target that failed, when one did.
    pub place: Option<String>,
    /// Digest of that plugin's component.
    pub digest: Option<String>,
    /// What was attempted and why it failed, outermost first.
    pub error: String,
}

/// An event that will not be tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The pipeline that gave it up.
    pub pipeline: String,
    /// The event's identity.
    pub id: EventId,
    /// How often it had been replayed.
    pub generation: u32,
    /// Its ordering key.
    pub key: String,
    /// Whether later events of the key wait for it.
    pub holds_key: bool,
    /// Its CloudEvents `id`, `source` and `type`, where it could be decoded.
    pub event: Option<[String; 3]>,
    /// Trace context of the event.
    pub traceparent: Option<String>,
    /// Why.
    pub reason: DeadReason,
    /// The last error.
    pub error: String,
    /// Every failed attempt.
    pub history: Vec<Failure>,
    /// Each stage's plugin with the digest of the component that ran.
    pub plugins: Vec<(String, String)>,
    /// Effects that targets had accepted, in any attempt.
    pub accepted: Vec<Accepted>,
    /// The message as it came.
    pub original: Original,
}

impl DeadLetter {
    /// Where its event stands in its key.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank {
            key: OrderingKey::from(self.key.as_str()),
            stream_created: self.original.stream_created,
            sequence: self.original.sequence,
        }
    }
}

impl Plan {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.writes.is_empty() && self.dead_letter.is_none()
    }

    /// The plan that stores a dead letter and changes nothing else.
    #[must_use]
    pub fn bury(letter: DeadLetter) -> Self {
        Self {
            dead_letter: Some(Box::new(letter)),
            ..Self::default()
        }
    }
}

impl Default for Original {
    fn default() -> Self {
        Self {
            subject: String::new(),
            headers: Headers::default(),
            payload: Bytes::new(),
            stream: "".into(),
            stream_created: 0,
            sequence: 0,
        }
    }
}
