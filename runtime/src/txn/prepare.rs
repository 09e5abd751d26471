//! Plans of which something is done before the decision: databases, and modules that reserve, prepare what
//! they are to commit, and what can be taken back is changed, each on the condition that it is still as it is written down to
//! have been. All of that is taken back unless the decision is made.
//!
//! The log record comes before the first of these, the decision after the last. Whoever finds a log
//! record without a decision makes the decision impossible first, and then takes back what was done.

use super::atomic::Held;
use super::intent::Intent;
use super::ledger::{Ledger, Waiting};
use super::record::{Branch, Decided, Part, Record, State, TakenBack};
use super::{Applied, Coordinator, Setback, Tenure};
use crate::event::Envelope;
use crate::fault::{self, Point, Promise};
use crate::target::{Answer, Changed, Undone};
use tracing::error;

/// What stands in the way of a plan that was begun.
struct Obstacle {
    /// How many of its parts may be done.
    n_made: usize,
    /// What becomes of the plan once they are taken back.
    applied: Applied,
}

impl Coordinator {
    /// Does what `intent` does before its decision, decides, and carries out the rest.
    pub(super) async fn apply_prepared<'a>(
        &'a self,
        ledger: &Ledger,
        (intent, log, envelope): (&Intent, &Record, &Envelope),
        mut held: Held<'a>,
        tenure: &Tenure,
    ) -> Applied {
        let parts = intent.parts();
        held.slots = self.slots(&parts).await;
        match ledger.begin(log, tenure).await {
            Ok(true) => {}
            Ok(false) => return Applied::Replaced,
            Err(setback) => return Applied::Refused(setback),
        }
        fault::reach(Point::Begun).await;
        let prepared = self.prepare_all(ledger, (intent, log), &parts, tenure);
        let Obstacle { n_made, applied } = match Box::pin(prepared).await {
            Err(obstacle) => obstacle,
            Ok(()) => {
                fault::reach(Point::Prepared).await;
                let both = (intent, envelope);
                let decided = self.decide_and_carry_out(ledger, both, &mut held, tenure);
                Obstacle {
                    n_made: parts.len(),
                    applied: decided.await,
                }
            }
        };
        match applied {
            Applied::Done if ledger.close(log, State::Done, tenure).await => Applied::Done,
            Applied::Done | Applied::Replaced => Applied::Replaced,
            // A target did not take its part, another copy was first, or the decision cannot be written.
            applied => {
                let made = parts.get(..n_made).unwrap_or_default();
                self.abort_because(ledger, (log, made), applied, tenure)
                    .await
            }
        }
    }

    async fn prepare_all(
        &self,
        ledger: &Ledger,
        (intent, log): (&Intent, &Record),
        parts: &[Part<'_>],
        tenure: &Tenure,
    ) -> Result<(), Obstacle> {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                fault::reach(Point::BetweenEffects).await;
            }
            if !tenure.held().await {
                return Err(Obstacle {
                    n_made: index,
                    applied: Applied::Replaced,
                });
            }
            let (name, changed) = match part {
                Part::Branch(branch) => {
                    let prepared = self.prepare(ledger, (log, *branch), intent.work_of(branch.n));
                    (branch.target, prepared.await)
                }
                Part::Change(decided) => (&decided.planned.target, self.change(log, decided).await),
            };
            let (answer, maybe_made) = match changed {
                Changed::Yes => continue,
                Changed::No(answer) => (answer, false),
                // Unknown is not no.
                Changed::Maybe(answer) => (answer, !fault::breaks(Promise::Settle)),
            };
            return Err(Obstacle {
                n_made: index + usize::from(maybe_made),
                applied: of_answer(answer, name),
            });
        }
        Ok(())
    }

    async fn change(&self, record: &Record, decided: &Decided) -> Changed {
        let target = self.targets.get(&decided.planned.target);
        let cause = record.cause(decided, false);
        match (target, &decided.image, cause) {
            (Some(target), Some(image), Some(cause)) => {
                target.change(&decided.planned, image, &cause).await
            }
            _ => Changed::No(Answer::Refused("there is no such target".to_owned())),
        }
    }

    async fn abort_because(
        &self,
        ledger: &Ledger,
        made: (&Record, &[Part<'_>]),
        applied: Applied,
        tenure: &Tenure,
    ) -> Applied {
        match self.abort(ledger, made, tenure).await {
            Some(State::Heuristic) => Applied::Refused(Setback::at(
                "TX",
                "what was changed for the event could not be taken back whole, since somebody else \
                 changed it as well: see the log",
            )),
            Some(_) => applied,
            None => Applied::Replaced,
        }
    }

    /// Takes back the parts of `record` that may be done, the last one first, and says so in the log;
    /// none when the tenure ends before.
    pub(super) async fn abort(
        &self,
        ledger: &Ledger,
        (record, made): (&Record, &[Part<'_>]),
        tenure: &Tenure,
    ) -> Option<State> {
        let made = match fault::breaks(Promise::Undo) {
            true => &[],
            false => made,
        };
        let mut order: Vec<_> = made.iter().rev().collect();
        if fault::breaks(Promise::UndoOrder) {
            order.reverse();
        }
        let (mut state, mut parts) = (State::Aborted, Vec::new());
        for part in order {
            let undone = self.take_back(ledger, (record, part), tenure).await?;
            parts.push(TakenBack::of(part, &undone));
            if let Undone::Foreign(why) = undone {
                error!(pipeline = %self.pipeline, gid = record.gid().unwrap_or_default(),
                    target = %part.target(), key = %part.key(), %why,
                    "a change cannot be taken back: somebody else changed the entity as well");
                state = State::Heuristic;
            }
            fault::reach(Point::Undoing).await;
        }
        let ended = record.taken_back(parts);
        ledger.close(&ended, state, tenure).await.then_some(state)
    }

    async fn take_back(
        &self,
        ledger: &Ledger,
        (record, part): (&Record, &Part<'_>),
        tenure: &Tenure,
    ) -> Option<Undone> {
        let name = part.target();
        let attempted = format!("cannot take back a change at target `{name}`");
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return None;
            }
            let undone = match part {
                Part::Branch(branch) => self.roll_back(ledger, (record, *branch)).await,
                Part::Change(decided) => self.undo(record, decided).await,
            };
            match undone {
                Undone::Unknown(why) if !waiting.wait(&attempted, &why, tenure).await => {
                    return None;
                }
                Undone::Unknown(_) => {}
                // Whoever has taken over meanwhile has taken it back, and perhaps made it anew.
                known => return tenure.held().await.then_some(known),
            }
        }
    }

    async fn undo(&self, record: &Record, decided: &Decided) -> Undone {
        let target = self.targets.get(&decided.planned.target);
        match (target, &decided.image, record.cause(decided, true)) {
            (Some(target), Some(image), Some(cause)) => {
                target.undo(&decided.planned, image, &cause).await
            }
            _ => Undone::Foreign("there is no such target any more".to_owned()),
        }
    }
}

impl Part<'_> {
    fn target(&self) -> &str {
        match self {
            Self::Branch(Branch { target, .. }) => target,
            Self::Change(decided) => &decided.planned.target,
        }
    }

    /// Of what is not one entity, none.
    fn key(&self) -> &str {
        match self {
            Self::Branch(_) => "",
            Self::Change(decided) => &decided.planned.effect.key,
        }
    }
}

pub(super) fn of_answer(answer: Answer, target: &str) -> Applied {
    let setback = |why: &str| Setback::at(target, why);
    match answer {
        Answer::Applied => Applied::Done,
        Answer::Conflict(why) => Applied::Conflict(setback(&why)),
        Answer::Refused(why) => Applied::Refused(setback(&why)),
        Answer::Unknown(why) => Applied::Unknown(setback(&why)),
        Answer::Away(why) => Applied::Away(setback(&why)),
    }
}
