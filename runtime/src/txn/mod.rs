//! The only way to the world: a plan goes in, and what became of it comes out.

mod at_least_once;
mod markers;
mod state_locks;

use crate::dead_letter::DeadLetters;
use crate::event::{DeadLetter, Envelope, Operation, Plan};
use crate::plugin::State;
use crate::target::Targets;
use std::sync::Arc;

use markers::Ended;

pub use markers::{MarkerError, Markers};

/// Applies the plans of one pipeline.
pub struct Coordinator {
    pipeline: Arc<str>,
    targets: Arc<Targets>,
    state: Option<State>,
    state_locks: state_locks::StateLocks,
    dead_letters: DeadLetters,
    markers: Option<Markers>,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// All of it holds.
    Done,
    /// A precondition does not hold: think again, a few times.
    Conflict(String),
    /// Another event changed plugin state since this one read it: think again.
    Overtaken(String),
    /// A target will never take its effect.
    Refused(Setback),
    /// It is not known to hold, or cannot now: apply it again.
    Unknown(Setback),
}

/// How far a plan came, and what stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// Which target.
    pub place: String,
    /// What it said.
    pub error: String,
    /// Effects that had been accepted before: target, operation, key.
    pub accepted: Vec<(String, Operation, String)>,
}

impl Coordinator {
    /// A coordinator for the plans of `pipeline`. With `markers` it knows which events have ended.
    #[must_use]
    pub fn new(
        pipeline: &str,
        targets: Arc<Targets>,
        state: Option<State>,
        dead_letters: DeadLetters,
        markers: Option<Markers>,
    ) -> Self {
        Self {
            pipeline: pipeline.into(),
            targets,
            state,
            state_locks: state_locks::StateLocks::default(),
            dead_letters,
            markers,
        }
    }

    /// Whether the event of `envelope` has ended before, as far as that is kept.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn has_ended(&self, envelope: &Envelope) -> Result<bool, MarkerError> {
        match &self.markers {
            Some(markers) => Box::pin(markers.has_ended(&envelope.origin)).await,
            None => Ok(false),
        }
    }

    /// Whether NATS is there: what fails while it is away is nobody's fault.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.dead_letters.is_connected()
    }

    /// Changes the world as `plan` says, because of `envelope`.
    pub async fn apply(&self, plan: &Plan, envelope: &Envelope) -> Applied {
        let (applied, state) = match &plan.dead_letter {
            Some(letter) => (Box::pin(self.store(letter)).await, Ended::Dead),
            None => {
                let state = match plan.effects.is_empty() {
                    true => Ended::Filtered,
                    false => Ended::Done,
                };
                (self.apply_at_least_once(plan, envelope).await, state)
            }
        };
        // What changed nothing is thought again.
        match &self.markers {
            Some(markers) if applied == Applied::Done && !plan.is_empty() => {
                Box::pin(mark(markers, envelope, plan, state)).await
            }
            _ => applied,
        }
    }

    async fn store(&self, letter: &DeadLetter) -> Applied {
        match self.dead_letters.store(letter).await {
            Ok(()) => Applied::Done,
            Err(error) => Applied::Unknown(Setback {
                place: crate::dead_letter::STREAM.to_owned(),
                error: error.to_string(),
                accepted: Vec::new(),
            }),
        }
    }
}

/// The last step before the answer: what ended is known to have.
async fn mark(markers: &Markers, envelope: &Envelope, plan: &Plan, state: Ended) -> Applied {
    match markers.mark(&envelope.origin, state).await {
        Ok(()) => Applied::Done,
        Err(error) => Applied::Unknown(Setback {
            place: "TX".to_owned(),
            error: error.to_string(),
            accepted: plan.effects.iter().map(at_least_once::accepted).collect(),
        }),
    }
}
