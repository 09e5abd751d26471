//! What a plugin says about one event.

use super::cloud_event::Event;
use super::effect::Effect;
use bytes::Bytes;
use std::time::Duration;

/// The answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled: these effects, and what goes on.
    Accept(Acceptance),
    /// Filtered on purpose, for this reason.
    Drop(String),
    /// A passing fault: try again later.
    Retry {
        /// Why.
        reason: String,
        /// When; none: the pipeline's own back-off.
        after: Option<Duration>,
    },
    /// Can never succeed, for this reason.
    Reject(String),
}

/// Effects, and what goes on to the next stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// What should change.
    pub effects: Vec<Effect>,
    /// What goes on.
    pub next: Next,
}

/// What goes on to the next stage, or after the last one to the pipeline's `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the effects are all there is.
    Stop,
    /// The event as it came.
    Pass,
    /// These events instead.
    Forward(Vec<Forwarded>),
}

/// A derived event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Its attributes.
    pub event: Event,
    /// Its data; none: the incoming data, not copied.
    pub data: Option<Bytes>,
}
