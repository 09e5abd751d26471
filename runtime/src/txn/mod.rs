//! The only way to the world: a plan goes in, and what became of it comes out.

mod admission;
mod at_least_once;
mod atomic;
mod attempts;
mod branches;
mod carry_out;
mod doubt;
mod floor;
mod groups;
mod intent;
mod lease;
mod ledger;
mod log;
mod markers;
mod parking;
mod patrol;
mod plugin_state;
mod prepare;
mod progress;
mod reading;
mod record;
mod recovery;
mod state_locks;
mod stream;
mod sweep;
mod transactions;

use crate::dead_letter::DeadLetters;
use crate::event::{Accepted, DeadLetter, Envelope, EventId, Plan};
use crate::fault::{self, Point, Promise};
use crate::plugin::State as PluginState;
use crate::target::Targets;
use std::sync::Arc;

pub use crate::dead_letter::Takes;
pub use admission::Pass;
pub use attempts::{Attempts, Tried};
pub use lease::{Holder, Lease, LeaseError, Members, Presence, Tenure, holders};
pub use ledger::Ledger;
pub use markers::{MarkerError, Markers};
pub use plugin_state::{plugin_state, provide};
pub use record::{Resolution, State, TakenBack};
pub use transactions::{
    Change, Resolved, Transaction, TransactionError, TransactionSummary, Transactions,
};

/// Applies the plans of one pipeline.
pub struct Coordinator {
    pipeline: Arc<str>,
    targets: Arc<Targets>,
    state: Option<PluginState>,
    state_locks: state_locks::StateLocks,
    dead_letters: DeadLetters,
    way: Way,
}

/// How plans are applied.
pub enum Way {
    /// Effect by effect, and an event that ended is known where it leaves a marker.
    AtLeastOnce(Option<Markers>),
    /// Wholly or not at all, once.
    Atomic(Ledger),
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// All of it holds.
    Done,
    /// A precondition does not hold: think again, a few times.
    Conflict(Setback),
    /// Another event changed plugin state since this one read it: think again.
    Overtaken(String),
    /// A target will never take its effect.
    Refused(Setback),
    /// It is not known to hold, or cannot now: apply it again.
    Unknown(Setback),
    /// A target is there and nobody speaks for it now: apply it again, however often it takes.
    Away(Setback),
    /// Another copy of the event had ended before: nothing is to be done.
    Ended,
    /// The lease is lost: whoever has it now applies the plan.
    Replaced,
}

/// How far a plan came, and what stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// Which target.
    pub place: String,
    /// What it said.
    pub error: String,
    /// Effects that had been accepted before.
    pub accepted: Vec<Accepted>,
}

impl Setback {
    fn at(place: &str, error: &str) -> Self {
        Self {
            place: place.to_owned(),
            error: error.to_owned(),
            accepted: Vec::new(),
        }
    }
}

impl Coordinator {
    /// A coordinator for the plans of `pipeline`.
    #[must_use]
    pub fn new(
        pipeline: &str,
        targets: Arc<Targets>,
        state: Option<PluginState>,
        dead_letters: DeadLetters,
        way: Way,
    ) -> Self {
        Self {
            pipeline: pipeline.into(),
            targets,
            state,
            state_locks: state_locks::StateLocks::default(),
            dead_letters,
            way,
        }
    }

    /// Whether to look, before anything is done, whether the event of `envelope` has ended before. Where
    /// that is unlikely the decision finds out.
    #[must_use]
    pub fn suspects(&self, envelope: &Envelope, tenure: &Tenure) -> bool {
        match (&self.way, tenure.progress()) {
            (Way::Atomic(_), Some((_, progress))) => {
                let origin = &envelope.origin;
                origin.generation > 0 || (origin.maybe_seen && progress.doubt.is_due())
            }
            _ => true,
        }
    }

    /// Whether the event of `envelope` has ended before, as far as that is kept.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn has_ended(
        &self,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Result<bool, MarkerError> {
        match &self.way {
            Way::AtLeastOnce(None) => Ok(false),
            Way::AtLeastOnce(Some(_)) if fault::breaks(Promise::Dedupe) => Ok(false),
            Way::AtLeastOnce(Some(markers)) => Box::pin(markers.has_ended(&envelope.origin)).await,
            Way::Atomic(ledger) => Box::pin(self.was_decided(ledger, envelope, tenure)).await,
        }
    }

    /// The ordering key of the event that a decision was made about, as it is written down there.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn key_of(&self, event: &EventId) -> Result<Option<String>, MarkerError> {
        let Some(ledger) = self.ledger() else {
            return Ok(None);
        };
        let found = ledger.find(event.as_str()).await.map_err(|cause| {
            MarkerError::new(
                format!("cannot read what was decided about {event}"),
                &cause,
            )
        })?;
        Ok(found.and_then(|found| found.record.key().map(str::to_owned)))
    }

    fn ledger(&self) -> Option<&Ledger> {
        match &self.way {
            Way::Atomic(ledger) => Some(ledger),
            Way::AtLeastOnce(_) => None,
        }
    }

    /// Whether NATS is there: what fails while it is away is nobody's fault.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.dead_letters.is_connected()
    }

    /// Changes the world as `plan` says, because of `envelope`, as long as `tenure` allows it.
    pub async fn apply(&self, plan: &Plan, envelope: &Envelope, tenure: &Tenure) -> Applied {
        match (&self.way, &plan.dead_letter) {
            (Way::Atomic(ledger), _) => {
                Box::pin(self.apply_atomic(ledger, (plan, envelope), tenure)).await
            }
            (Way::AtLeastOnce(_), Some(letter)) => Box::pin(self.store(letter, tenure)).await,
            (Way::AtLeastOnce(_), None) => self.apply_at_least_once(plan, envelope, tenure).await,
        }
    }

    /// Keeps in mind that the event of `envelope` ended with `plan`, which was applied, where that is
    /// not in the plan's own decision. What changed nothing is not kept: it may be thought again.
    ///
    /// # Errors
    /// When it is not known to be kept. The plan holds all the same: only this is to be tried again.
    pub async fn mark(&self, plan: &Plan, envelope: &Envelope) -> Result<(), MarkerError> {
        let markers = match &self.way {
            Way::AtLeastOnce(Some(markers)) if !plan.is_empty() => markers,
            Way::AtLeastOnce(_) | Way::Atomic(_) => return Ok(()),
        };
        Box::pin(markers.mark(&envelope.origin, State::of(plan))).await
    }

    async fn store(&self, letter: &DeadLetter, tenure: &Tenure) -> Applied {
        if fault::breaks(Promise::LetterFirst) {
            let (dead_letters, letter) = (self.dead_letters.clone(), letter.clone());
            fault::later(async move {
                fault::reach(Point::LetterPending).await;
                drop(dead_letters.store(&letter).await);
            });
            return Applied::Done;
        }
        if !tenure.held().await {
            return Applied::Replaced;
        }
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
