//! The settings of one pipeline.

use super::retry::RetryPolicy;
use crate::event::{Operation, TypePattern};
use crate::intake;
use crate::rate::Rate;
use std::time::Duration;

/// One pipeline: source, stages, routes and promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Where its events come from.
    pub intake: intake::Config,
    /// Plugins, in order.
    pub stages: Vec<String>,
    /// Where events that still stand after the last stage go.
    pub to: Vec<RouteConfig>,
    /// Targets that its plugins may write; those of `to` are always among them.
    pub writable: Vec<String>,
    /// What it promises.
    pub guarantee: Guarantee,
    /// How long an event that ended is known, so that a second one of its identity is skipped; none:
    /// it is not kept.
    pub dedupe: Option<Duration>,
    /// How many events are begun in a time; none: as they come.
    pub rate: Option<Rate>,
    /// How often an event is tried.
    pub retry: RetryPolicy,
    /// What becomes of an event that failed for good.
    pub on_failure: OnFailure,
    /// Through how many pipelines changes may have gone that led to an event.
    pub hops: u32,
}

/// One entry of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The target.
    pub target: String,
    /// The kind of entity, for targets that hold several.
    pub entity: Option<String>,
    /// The operation, settled: `append` for subject targets, `upsert` otherwise unless given.
    pub operation: Operation,
    /// A JSON pointer into the data; none: the ordering key.
    pub key: Option<String>,
    /// Which event types; none: all.
    pub when: Option<TypePattern>,
}

/// What a pipeline promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// The effects of one event are applied wholly or not at all, once.
    Atomic,
    /// Effects are delivered one by one, the event is acked after the last one is accepted.
    AtLeastOnce,
}

/// What becomes of an event that failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is stored as a dead letter and acked.
    DeadLetter,
    /// The same, and later events of its key wait as letters until it has ended.
    ParkKey,
    /// It is given back, and the pipeline takes no more events.
    Stop,
}
