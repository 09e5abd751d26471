//! What an attempt came to, and the one table from there to the next step. Pure.

use crate::event::{self, Accepted, DeadReason, Disposition, InvalidEvent, Plan};
use crate::plugin::{CallError, Held, Version};
use crate::txn::{Applied, Setback};
use std::sync::Arc;
use std::time::Duration;

/// What the stages and routes came to.
pub(super) enum Outcome {
    /// These effects.
    Apply { plan: Plan, held: Held },
    /// Dropped on purpose; plugin state may have been written.
    Filtered { plan: Plan, held: Held },
    /// A passing fault.
    Retry(Fault),
    /// It can never succeed.
    Dead(Fault),
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: DeadReason,
    pub(super) error: String,
    /// The plugin or target.
    pub(super) place: Option<String>,
    /// Digest of the plugin's component.
    pub(super) digest: Option<String>,
    /// When to try again; none: as the pipeline's policy says.
    pub(super) after: Option<Duration>,
    /// Effects that had been accepted.
    pub(super) accepted: Vec<Accepted>,
    /// Nobody's fault: what it needs is away for a while, and no attempt is counted.
    pub(super) away: bool,
}

/// What comes next for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It is settled so.
    End(Disposition),
    /// It is thought again at once.
    Again,
    /// It is thought again after a pause, its key waiting with it.
    Wait(Duration),
    /// It is thought again once this target is not left alone any more, or may be tried.
    Hold(Arc<str>),
}

/// How an event ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Filtered,
    Dead,
    Parked,
}

impl End {
    /// The same in the words of an answer to whoever asked.
    pub(super) fn outcome(self) -> event::Outcome {
        match self {
            Self::Done => event::Outcome::Done,
            Self::Filtered => event::Outcome::Filtered,
            Self::Dead => event::Outcome::Dead,
            Self::Parked => event::Outcome::Parked,
        }
    }
}

/// What follows from what became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// The event is done with.
    End,
    /// Another copy of it was done with before.
    Duplicate,
    /// Think again at once; counted where nobody else made progress meanwhile.
    Think { counted: bool },
    /// Try again later.
    Retry(Fault),
    /// Give up.
    Dead(Fault),
    /// Leave it to another runtime.
    Leave,
}

impl Outcome {
    pub(super) fn invalid(fault: &InvalidEvent) -> Self {
        Self::Dead(Fault::new(DeadReason::Invalid, fault.to_string()))
    }
}

impl Fault {
    pub(super) fn new(reason: DeadReason, error: String) -> Self {
        Self {
            reason,
            error,
            place: None,
            digest: None,
            after: None,
            accepted: Vec::new(),
            away: false,
        }
    }

    /// Who it happened in.
    pub(super) fn within(mut self, version: &Version) -> Self {
        self.place = Some(version.plugin().to_owned());
        self.digest = Some(version.component().digest().to_owned());
        self
    }

    /// The same fault when no attempt is left.
    pub(super) fn exhausted(mut self) -> Self {
        self.reason = DeadReason::Exhausted;
        self
    }
}

/// The one table: what a plan came to, and what follows.
pub(super) fn after_apply(applied: Applied, may_think_again: bool) -> After {
    match applied {
        Applied::Done => After::End,
        Applied::Ended => After::Duplicate,
        Applied::Replaced => After::Leave,
        Applied::Conflict(_) if may_think_again => After::Think { counted: true },
        // Whoever overtook it is done, so this ends.
        Applied::Overtaken(_) => After::Think { counted: false },
        Applied::Conflict(setback) => After::Dead(Fault {
            accepted: setback.accepted,
            ..Fault::new(
                DeadReason::Conflict,
                format!("target `{}`: {}", setback.place, setback.error),
            )
        }),
        Applied::Refused(setback) => After::Dead(Fault {
            place: Some(setback.place.clone()),
            accepted: setback.accepted,
            ..Fault::new(
                DeadReason::Refused,
                format!("target `{}` refused: {}", setback.place, setback.error),
            )
        }),
        Applied::Unknown(setback) => After::Retry(not_taken(setback)),
        Applied::Away(setback) => After::Retry(Fault {
            away: true,
            ..not_taken(setback)
        }),
    }
}

fn not_taken(setback: Setback) -> Fault {
    let Setback {
        place,
        error,
        accepted,
    } = setback;
    let error = format!("`{place}` did not take it: {error}");
    Fault {
        place: Some(place),
        accepted,
        ..Fault::new(DeadReason::Exhausted, error)
    }
}

/// What a call that gave no verdict means: a timeout and the host's own fault pass, a trap that
/// came twice and a broken answer do not.
pub(super) fn of_call_error(error: &CallError, version: &Version) -> Outcome {
    let fault = |reason| Fault::new(reason, error.to_string()).within(version);
    match error {
        CallError::Trap { .. } => Outcome::Dead(fault(DeadReason::Trap)),
        CallError::Answer(_) => Outcome::Dead(fault(DeadReason::BadAnswer)),
        CallError::Timeout { .. } | CallError::Host(_) => {
            Outcome::Retry(fault(DeadReason::Exhausted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_tried_again_and_refused_is_not() {
        let setback = || Setback {
            place: "crm".into(),
            error: "no".into(),
            accepted: vec![Accepted {
                target: "a".into(),
                entity: None,
                operation: crate::event::Operation::Upsert,
                key: "k".into(),
            }],
        };
        assert_eq!(after_apply(Applied::Done, false), After::End);
        assert_eq!(after_apply(Applied::Ended, true), After::Duplicate);
        assert_eq!(after_apply(Applied::Replaced, true), After::Leave);
        let again = after_apply(Applied::Conflict(setback()), true);
        assert_eq!(again, After::Think { counted: true });
        let again = after_apply(Applied::Overtaken("x".into()), false);
        assert_eq!(again, After::Think { counted: false });
        let After::Dead(fault) = after_apply(Applied::Conflict(setback()), false) else {
            panic!("a conflict that does not end is given up");
        };
        assert_eq!(fault.reason, DeadReason::Conflict);
        let After::Dead(fault) = after_apply(Applied::Refused(setback()), true) else {
            panic!("a refusal is given up");
        };
        assert_eq!(
            (fault.reason, fault.accepted.len()),
            (DeadReason::Refused, 1)
        );
        assert!(matches!(
            after_apply(Applied::Unknown(setback()), true),
            After::Retry(fault) if !fault.away
        ));
        assert!(matches!(
            after_apply(Applied::Away(setback()), true),
            After::Retry(fault) if fault.away
        ));
    }
}
