//! Faults on purpose, for tests: named points of an event's way where the program dies, and promises
//! that it breaks, so that a checker can be seen to notice. Only builds with debug assertions have
//! them; in others every function here is empty.

use std::str::FromStr;
use std::time::Duration;

/// Places on the way of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The event was taken, and nothing was done for it.
    Taken,
    /// Its plan is made, and nothing of it was applied.
    Thought,
    /// One of its effects is applied, the next one is not.
    BetweenEffects,
    /// All of its effects are applied.
    Applied,
    /// Its marker is written; the event is not answered for.
    Marked,
    /// It failed for good; its dead letter is not stored.
    LetterPending,
    /// Its dead letter is stored; the event is not answered for.
    LetterStored,
    /// With `park-key`: a replayed event has ended and holds its key no more, what waits behind it was not let
    /// go.
    Closed,
    /// Answers were handed to the connection.
    Answered,
    /// With `atomic`: the decision is written, and nothing of it is carried out.
    Decided,
    /// One decision of an earlier run was carried out again, others may not be.
    Recovering,
    /// With `atomic`: it is written down what will be changed before the decision, and nothing is.
    Begun,
    /// All such changes are made, and nothing is decided.
    Prepared,
    /// One of them was taken back, others may not be.
    Undoing,
    /// The consumer was set back to its ack floor, and nothing was taken since.
    SetBack,
    /// Events were written to their partitions, and the source does not know.
    SharedOut,
}

/// Promises that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// One event at a time for each ordering key.
    Order,
    /// An event is answered for when it has ended, not before.
    AnswerLast,
    /// A dead letter is stored before its event is answered for.
    LetterFirst,
    /// With `dedupe`, an event that has ended is not begun again.
    Dedupe,
    /// With `park-key`, later events of a key wait behind one that failed.
    Hold,
    /// With `atomic`, a decision is made only where none was made before.
    MarkerCas,
    /// With `atomic`, what was changed before a decision that was not made is changed back.
    Undo,
    /// In a database, a transaction takes note of its name in itself.
    Barrier,
    /// What is not known to be committed in a database is asked about, never taken for a failure.
    Settle,
}

/// What is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    die: Option<Death>,
    broken: Vec<Promise>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Death {
    at: Point,
    /// At which time that the point is reached, from 1.
    hit: u64,
    /// How long the event stands still before.
    after: Duration,
}

/// Why faults are not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot arm the fault `{fault}`: {why}")]
pub struct FaultError {
    fault: String,
    why: &'static str,
}

const POINTS: [(&str, Point); 16] = [
    ("taken", Point::Taken),
    ("thought", Point::Thought),
    ("between-effects", Point::BetweenEffects),
    ("applied", Point::Applied),
    ("marked", Point::Marked),
    ("letter-pending", Point::LetterPending),
    ("letter-stored", Point::LetterStored),
    ("closed", Point::Closed),
    ("answered", Point::Answered),
    ("set-back", Point::SetBack),
    ("shared-out", Point::SharedOut),
    ("decided", Point::Decided),
    ("recovering", Point::Recovering),
    ("begun", Point::Begun),
    ("prepared", Point::Prepared),
    ("undoing", Point::Undoing),
];

const PROMISES: [(&str, Promise); 9] = [
    ("order", Promise::Order),
    ("answer-last", Promise::AnswerLast),
    ("letter-first", Promise::LetterFirst),
    ("dedupe", Promise::Dedupe),
    ("hold", Promise::Hold),
    ("marker-cas", Promise::MarkerCas),
    ("undo", Promise::Undo),
    ("barrier", Promise::Barrier),
    ("settle", Promise::Settle),
];

impl Point {
    /// Its name, as faults are written.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = POINTS.iter().find(|(_, point)| *point == self);
        found.map_or("", |(name, _)| name)
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    /// `die=POINT:HIT[:MILLISECONDS]` and `break=PROMISE`, parted by blanks.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        for word in text.split_whitespace() {
            let fault = |why| FaultError {
                fault: word.to_owned(),
                why,
            };
            match word.split_once('=') {
                Some(("die", death)) => faults.die = Some(death.parse().map_err(fault)?),
                Some(("break", promise)) => {
                    let promise = named(&PROMISES, promise).ok_or("there is no such promise");
                    faults.broken.push(promise.map_err(fault)?);
                }
                _ => return Err(fault("it is neither `die=` nor `break=`")),
            }
        }
        Ok(faults)
    }
}

impl FromStr for Death {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.split(':');
        let at =
            named(&POINTS, parts.next().unwrap_or_default()).ok_or("there is no such point")?;
        let hit = parts.next().and_then(|hit| hit.parse().ok());
        let after = parts.next().map_or(Some(0), |after| after.parse().ok());
        match (hit, after) {
            (Some(hit), Some(after)) => Ok(Self {
                at,
                hit,
                after: Duration::from_millis(after),
            }),
            _ => Err("it is not `die=POINT:HIT` or `die=POINT:HIT:MILLISECONDS`"),
        }
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

#[cfg(debug_assertions)]
mod armed {
    use super::{Death, Faults, Point, Promise};
    use crate::shutdown::Tasks;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        faults: Faults,
        die: fn() -> !,
        n_hits: AtomicU64,
        tasks: Tasks,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Whether this build has faults.
    pub const AVAILABLE: bool = true;

    /// From now on `faults` happen, once for the process; `die` ends it.
    pub fn arm(faults: Faults, die: fn() -> !) {
        let armed = Armed {
            faults,
            die,
            n_hits: AtomicU64::new(0),
            tasks: Tasks::new(),
        };
        // The first one counts.
        let _others = ARMED.set(armed);
    }

    /// The event is at `point`: the end, if that is what was asked for.
    pub(crate) async fn reach(point: Point) {
        let Some(armed) = ARMED.get() else { return };
        let Some(Death { at, hit, after }) = armed.faults.die else {
            return;
        };
        if at != point || armed.n_hits.fetch_add(1, Ordering::Relaxed) + 1 != hit {
            return;
        }
        tokio::time::sleep(after).await;
        tracing::error!(point = point.name(), hit, "fault: the program dies here");
        (armed.die)();
    }

    /// Whether `promise` is to be broken.
    pub(crate) fn breaks(promise: Promise) -> bool {
        ARMED
            .get()
            .is_some_and(|armed| armed.faults.broken.contains(&promise))
    }

    /// Does what a broken promise leaves for later.
    pub(crate) fn later(work: impl Future<Output = ()> + Send + 'static) {
        if let Some(armed) = ARMED.get() {
            armed.tasks.spawn(work);
        }
    }
}

#[cfg(not(debug_assertions))]
mod armed {
    use super::{Faults, Point, Promise};

    /// Whether this build has faults.
    pub const AVAILABLE: bool = false;

    /// Does nothing in this build.
    pub fn arm(_: Faults, _: fn() -> !) {}

    #[inline(always)]
    pub(crate) async fn reach(_: Point) {}

    #[inline(always)]
    pub(crate) const fn breaks(_: Promise) -> bool {
        false
    }

    pub(crate) fn later(_: impl Future<Output = ()> + Send + 'static) {}
}

pub use armed::{AVAILABLE, arm};
pub(crate) use armed::{breaks, later, reach};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let faults: Faults = "die=applied:3:250 break=order break=dedupe"
            .parse()
            .unwrap();
        let expected = Faults {
            die: Some(Death {
                at: Point::Applied,
                hit: 3,
                after: Duration::from_millis(250),
            }),
            broken: vec![Promise::Order, Promise::Dedupe],
        };
        assert_eq!(faults, expected);
        assert_eq!("".parse(), Ok(Faults::default()));
        for (name, point) in POINTS {
            assert_eq!(point.name(), name);
        }
    }

    #[test]
    fn what_is_no_fault_is_refused_by_name() {
        for (text, why) in [
            ("die=nowhere:1", "there is no such point"),
            (
                "die=applied",
                "it is not `die=POINT:HIT` or `die=POINT:HIT:MILLISECONDS`",
            ),
            ("break=all", "there is no such promise"),
            ("explode", "it is neither `die=` nor `break=`"),
        ] {
            let error = Faults::from_str(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("cannot arm the fault `{text}`: {why}")
            );
        }
    }
}
