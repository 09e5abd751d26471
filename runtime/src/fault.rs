//! Faults on purpose, for tests: named points of an event's way where the program dies or the event
//! stands still, and promises that it breaks, so that a checker can be seen to notice. Only builds with debug assertions have
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
    /// With `atomic`: the right to decide was looked at, and the decision is about to be sent.
    Deciding,
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
    /// With `atomic`, whoever takes over makes a decision impossible before it changes anything back.
    Fence,
    /// With `atomic`, what was changed before a decision that was not made is changed back.
    Undo,
    /// The same, the last change first.
    UndoOrder,
    /// In a database, a transaction takes note of its name in itself.
    Barrier,
    /// What is not known to be committed in a database is asked about, never taken for a failure.
    Settle,
    /// A change never leads to another one of the same pipeline.
    Loop,
}

/// What is to go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    die: Option<Trigger>,
    stall: Option<Trigger>,
    broken: Vec<Promise>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trigger {
    at: Point,
    /// At which time that the point is reached, from 1.
    hit: u64,
    /// How long the event stands still there.
    after: Duration,
}

/// Why faults are not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot arm the fault `{fault}`: {why}")]
pub struct FaultError {
    fault: String,
    why: &'static str,
}

const POINTS: [(&str, Point); 17] = [
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
    ("deciding", Point::Deciding),
    ("decided", Point::Decided),
    ("recovering", Point::Recovering),
    ("begun", Point::Begun),
    ("prepared", Point::Prepared),
    ("undoing", Point::Undoing),
];

const PROMISES: [(&str, Promise); 12] = [
    ("order", Promise::Order),
    ("answer-last", Promise::AnswerLast),
    ("letter-first", Promise::LetterFirst),
    ("dedupe", Promise::Dedupe),
    ("hold", Promise::Hold),
    ("marker-cas", Promise::MarkerCas),
    ("fence", Promise::Fence),
    ("undo", Promise::Undo),
    ("undo-order", Promise::UndoOrder),
    ("barrier", Promise::Barrier),
    ("settle", Promise::Settle),
    ("loop", Promise::Loop),
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

    /// `die=POINT:HIT[:MILLISECONDS]`, `stall=POINT:HIT:MILLISECONDS` and `break=PROMISE`, parted by blanks.
    /// With `stall`, events stand still there from that time on until so much time has passed.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        for word in text.split_whitespace() {
            let fault = |why| FaultError {
                fault: word.to_owned(),
                why,
            };
            match word.split_once('=') {
                Some(("die", trigger)) => faults.die = Some(trigger.parse().map_err(fault)?),
                Some(("stall", trigger)) => faults.stall = Some(trigger.parse().map_err(fault)?),
                Some(("break", promise)) => {
                    let promise = named(&PROMISES, promise).ok_or("there is no such promise");
                    faults.broken.push(promise.map_err(fault)?);
                }
                _ => return Err(fault("it is none of `die=`, `stall=` and `break=`")),
            }
        }
        Ok(faults)
    }
}

impl FromStr for Trigger {
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
            _ => Err("it is not `POINT:HIT` or `POINT:HIT:MILLISECONDS`"),
        }
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

#[cfg(debug_assertions)]
mod armed {
    use super::{Faults, Point, Promise, Trigger};
    use crate::shutdown::Tasks;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::time::Instant;

    struct Armed {
        faults: Faults,
        die: fn() -> !,
        n_deaths: AtomicU64,
        n_stalls: AtomicU64,
        stalled_until: OnceLock<Instant>,
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
            n_deaths: AtomicU64::new(0),
            n_stalls: AtomicU64::new(0),
            stalled_until: OnceLock::new(),
            tasks: Tasks::new(),
        };
        // The first one counts.
        let _others = ARMED.set(armed);
    }

    /// The event is at `point`: it stands still or the program ends, if that is what was asked for.
    pub(crate) async fn reach(point: Point) {
        let Some(armed) = ARMED.get() else { return };
        armed.stall(point).await;
        let Some(Trigger { at, hit, after }) = armed.faults.die else {
            return;
        };
        if at != point || armed.n_deaths.fetch_add(1, Ordering::Relaxed) + 1 != hit {
            return;
        }
        tokio::time::sleep(after).await;
        tracing::error!(point = point.name(), hit, "fault: the program dies here");
        (armed.die)();
    }

    impl Armed {
        /// The first event stands still for that long, and those that come meanwhile until it goes on.
        async fn stall(&self, point: Point) {
            let Some(Trigger { at, hit, after }) = self.faults.stall else {
                return;
            };
            if at != point || self.n_stalls.fetch_add(1, Ordering::Relaxed) + 1 < hit {
                return;
            }
            let until = *self.stalled_until.get_or_init(|| {
                tracing::error!(point = point.name(), hit, "fault: events stand still here");
                Instant::now() + after
            });
            tokio::time::sleep_until(until).await;
        }
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
        let faults: Faults = "die=applied:3:250 stall=deciding:1:9 break=order break=dedupe"
            .parse()
            .unwrap();
        let expected = Faults {
            die: Some(Trigger {
                at: Point::Applied,
                hit: 3,
                after: Duration::from_millis(250),
            }),
            stall: Some(Trigger {
                at: Point::Deciding,
                hit: 1,
                after: Duration::from_millis(9),
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
                "it is not `POINT:HIT` or `POINT:HIT:MILLISECONDS`",
            ),
            ("break=all", "there is no such promise"),
            ("explode", "it is none of `die=`, `stall=` and `break=`"),
        ] {
            let error = Faults::from_str(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("cannot arm the fault `{text}`: {why}")
            );
        }
    }
}
