//! Plans that change something before the decision: each such change is written down with what was
//! there before, made on the condition that it still is, and taken back unless the decision is made.
//!
//! The log record comes before the first change, the decision after the last. Whoever finds a log
//! record without a decision makes the decision impossible first, and then takes the changes back.

use super::ledger::{Ledger, Waiting};
use super::record::{Decided, Record, State};
use super::{Applied, Coordinator, Setback, Tenure};
use crate::event::Envelope;
use crate::fault::{self, Point, Promise};
use crate::target::{Answer, Changed, Undone};
use tracing::error;

/// What stands in the way of a plan whose changes were begun.
struct Obstacle {
    /// How many of the changes may have been made.
    n_made: usize,
    /// What becomes of the plan once they are taken back.
    applied: Applied,
}

impl Coordinator {
    /// Makes the changes of `record` that can be taken back, decides, and carries out the rest.
    pub(super) async fn apply_undoable(
        &self,
        ledger: &Ledger,
        (record, envelope): (&Record, &Envelope),
        tenure: &Tenure,
    ) -> Applied {
        match ledger.begin(record, tenure).await {
            Ok(true) => {}
            Ok(false) => return Applied::Replaced,
            Err(setback) => return Applied::Refused(setback),
        }
        fault::reach(Point::Begun).await;
        if let Err(obstacle) = self.change_all(record, tenure).await {
            return self.abort_because(ledger, record, obstacle, tenure).await;
        }
        fault::reach(Point::Prepared).await;
        let decision = record.decision();
        let applied = self
            .decide_and_carry_out(ledger, (&decision, envelope), tenure)
            .await;
        match applied {
            Applied::Done if ledger.close(record, State::Done, tenure).await => Applied::Done,
            Applied::Done | Applied::Replaced => Applied::Replaced,
            // Another copy was first, or the decision cannot be written at all.
            other => {
                let obstacle = Obstacle {
                    n_made: record.n_undoable(),
                    applied: other,
                };
                self.abort_because(ledger, record, obstacle, tenure).await
            }
        }
    }

    async fn change_all(&self, record: &Record, tenure: &Tenure) -> Result<(), Obstacle> {
        for (index, decided) in record.undoable().enumerate() {
            if index > 0 {
                fault::reach(Point::BetweenEffects).await;
            }
            if !tenure.held().await {
                return Err(Obstacle {
                    n_made: index,
                    applied: Applied::Replaced,
                });
            }
            let (answer, maybe_made) = match self.change(record, decided).await {
                Changed::Yes => continue,
                Changed::No(answer) => (answer, false),
                // Unknown is not no.
                Changed::Maybe(answer) => (answer, true),
            };
            return Err(Obstacle {
                n_made: index + usize::from(maybe_made),
                applied: of_answer(answer, &decided.planned.target),
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
        record: &Record,
        obstacle: Obstacle,
        tenure: &Tenure,
    ) -> Applied {
        if obstacle.applied == Applied::Replaced {
            return Applied::Replaced;
        }
        match self.abort(ledger, (record, obstacle.n_made), tenure).await {
            Some(State::Heuristic) => Applied::Refused(Setback::at(
                "TX",
                "what was changed for the event could not be taken back whole, since somebody else \
                 changed it as well: see the log",
            )),
            Some(_) => obstacle.applied,
            None => Applied::Replaced,
        }
    }

    /// Takes back the first `n_made` changes of `record`, the last one first, and says so in the log;
    /// none when the tenure ends before.
    pub(super) async fn abort(
        &self,
        ledger: &Ledger,
        (record, n_made): (&Record, usize),
        tenure: &Tenure,
    ) -> Option<State> {
        let mut made: Vec<&Decided> = record.undoable().take(n_made).collect();
        made.reverse();
        if fault::breaks(Promise::Undo) {
            made.clear();
        }
        let mut state = State::Aborted;
        for decided in made {
            match self.take_back(record, decided, tenure).await? {
                Undone::Foreign(why) => {
                    error!(pipeline = %self.pipeline, gid = record.gid().unwrap_or_default(),
                        target = %decided.planned.target, key = %decided.planned.effect.key, %why,
                        "a change cannot be taken back: somebody else changed the entity as well");
                    state = State::Heuristic;
                }
                Undone::Restored | Undone::Unknown(_) => {}
            }
            fault::reach(Point::Undoing).await;
        }
        ledger.close(record, state, tenure).await.then_some(state)
    }

    async fn take_back(
        &self,
        record: &Record,
        decided: &Decided,
        tenure: &Tenure,
    ) -> Option<Undone> {
        let name = &decided.planned.target;
        let attempted = format!("cannot take back a change at target `{name}`");
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return None;
            }
            let (Some(target), Some(image)) = (self.targets.get(name), &decided.image) else {
                return Some(Undone::Foreign(
                    "there is no such target any more".to_owned(),
                ));
            };
            let cause = record.cause(decided, true)?;
            match target.undo(&decided.planned, image, &cause).await {
                Undone::Unknown(why) if !waiting.wait(&attempted, &why, tenure).await => {
                    return None;
                }
                Undone::Unknown(_) => {}
                known => return Some(known),
            }
        }
    }
}

fn of_answer(answer: Answer, target: &str) -> Applied {
    let setback = |why: &str| Setback::at(target, why);
    match answer {
        Answer::Applied => Applied::Done,
        Answer::Conflict(why) => Applied::Conflict(setback(&why)),
        Answer::Refused(why) => Applied::Refused(setback(&why)),
        Answer::Unknown(why) => Applied::Unknown(setback(&why)),
        Answer::Away(why) => Applied::Away(setback(&why)),
    }
}
