//! `guarantee = "atomic"`: what an event changes is decided in one write, and carried out after that,
//! whoever is killed meanwhile. Before the decision nothing has changed; after it, nothing is thought
//! again.

use super::at_least_once::of_state_error;
use super::intent::Intent;
use super::ledger::{Decision, Found, Ledger};
use super::markers::MarkerError;
use super::record::{Ended, State};
use super::state_locks::StateGuard;
use super::{Applied, Coordinator, Setback, Tenure};
use crate::event::{Envelope, Plan};
use crate::fault::{self, Point};
use tokio::sync::SemaphorePermit;

/// What an event keeps from others for a while. No longer than it has to: carrying out may wait for a
/// target that is away, and somebody else's turn to try it may wait for this.
pub(super) struct Held<'a> {
    /// State keys, until they are written with the decision: who waits for them need not fail there.
    state: Option<StateGuard<'a>>,
    /// Places for prepared transactions, until all are committed.
    pub(super) slots: Vec<SemaphorePermit<'a>>,
}

impl Coordinator {
    /// Applies `plan` wholly or not at all, once.
    pub(super) async fn apply_atomic(
        &self,
        ledger: &Ledger,
        (plan, envelope): (&Plan, &Envelope),
        tenure: &Tenure,
    ) -> Applied {
        if plan.is_empty() {
            return self.apply_nothing(ledger, (plan, envelope), tenure).await;
        }
        let (Some((partition, _)), Some(epoch)) = (tenure.progress(), tenure.epoch()) else {
            return Applied::Refused(Setback::at("TX", "there is no lease to decide under"));
        };
        let mut held = match self.hold_state(plan).await {
            Ok(state) => Held {
                state,
                slots: Vec::new(),
            },
            Err(applied) => return applied,
        };
        let both = (plan, envelope);
        let intent = match self.intent(ledger, both, (partition, epoch)).await {
            Ok(intent) => intent,
            Err(applied) => return applied,
        };
        if intent.decision.branches().next().is_some() {
            self.forget_after(ledger, &intent.decision).await;
        }
        match &intent.log {
            Some(log) => {
                // Others would see what is changed for nothing.
                if let Some(applied) = self.look_before(ledger, envelope, tenure).await {
                    return applied;
                }
                let all = (&intent, log, envelope);
                Box::pin(self.apply_prepared(ledger, all, held, tenure)).await
            }
            None => {
                let both = (&intent, envelope);
                self.decide_and_carry_out(ledger, both, &mut held, tenure)
                    .await
            }
        }
    }

    /// Of a plan that changes nothing nothing is kept: its event may be thought again. But what it read may have
    /// told it of itself; and what it read at several keys is to have been so at one moment, which it was where
    /// all of it still is.
    async fn apply_nothing(
        &self,
        ledger: &Ledger,
        (plan, envelope): (&Plan, &Envelope),
        tenure: &Tenure,
    ) -> Applied {
        if !plan.reads.is_empty() && envelope.origin.maybe_seen {
            let ended = self.look_before(ledger, envelope, tenure).await;
            if let Some(applied) = ended {
                return applied;
            }
        }
        match &self.state {
            Some(state) if plan.reads.len() > 1 => match state.check(&plan.reads).await {
                Ok(()) => Applied::Done,
                Err(error) => of_state_error(error, Vec::new()),
            },
            _ => Applied::Done,
        }
    }

    /// Waits for the state keys of `plan`, and sees that they are as they were read.
    async fn hold_state(&self, plan: &Plan) -> Result<Option<StateGuard<'_>>, Applied> {
        let is_used = !(plan.reads.is_empty() && plan.writes.is_empty());
        let Some(state) = self.state.as_ref().filter(|_| is_used) else {
            return Ok(None);
        };
        let guard = self.state_locks.acquire(plan).await;
        let checked = state.check(&plan.reads).await;
        checked.map_err(|error| of_state_error(error, Vec::new()))?;
        Ok(Some(guard))
    }

    /// What becomes of a plan whose event has ended before, or of which that cannot be known.
    async fn look_before(
        &self,
        ledger: &Ledger,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Option<Applied> {
        match self.was_decided(ledger, envelope, tenure).await {
            Ok(false) => None,
            Ok(true) => Some(Applied::Ended),
            Err(error) => Some(Applied::Unknown(Setback::at("TX", &error.to_string()))),
        }
    }

    /// Makes the decision, and does what is left to be done because of it.
    pub(super) async fn decide_and_carry_out(
        &self,
        ledger: &Ledger,
        (intent, envelope): (&Intent, &Envelope),
        held: &mut Held<'_>,
        tenure: &Tenure,
    ) -> Applied {
        let Some((_, progress)) = tenure.progress() else {
            return Applied::Replaced;
        };
        let record = &intent.decision;
        let body = match ledger.encoded(record) {
            Ok(body) => body,
            Err(setback) => return Applied::Refused(setback),
        };
        let open = progress.floor.open();
        let origin = &envelope.origin;
        let decided = ledger.decide((record, body), &intent.joined, origin, tenure);
        match decided.await {
            Decision::Made(sequence) => {
                progress.floor.note(sequence);
                held.state = None;
                if record.head.state == State::Delegated {
                    fault::reach(Point::Begun).await;
                    let made = Box::pin(self.commit_delegated(ledger, intent, tenure)).await;
                    if let Err(applied) = made {
                        // Of what is not known the next one has to know.
                        if applied != Applied::Replaced {
                            progress.floor.close(&open);
                        }
                        return applied;
                    }
                }
                fault::reach(Point::Decided).await;
                if !self.commit_all(record, tenure).await {
                    return Applied::Replaced;
                }
                held.slots.clear();
                if !self.carry_out_rest(record, false, tenure).await {
                    return Applied::Replaced;
                }
                progress.floor.close(&open);
                ledger.save(tenure, false).await;
                Applied::Done
            }
            Decision::Overtaken => {
                progress.floor.close(&open);
                Applied::Overtaken("another event changed plugin state meanwhile".to_owned())
            }
            Decision::Refused(why) => {
                progress.floor.close(&open);
                Applied::Refused(Setback::at("TX", &why))
            }
            Decision::Before(found) => {
                progress.doubt.renew();
                if let Some(found) = found
                    && !self.follow(&found, tenure).await
                {
                    return Applied::Replaced;
                }
                progress.floor.close(&open);
                Applied::Ended
            }
            Decision::Replaced => Applied::Replaced,
        }
    }

    /// Whether something was decided about the event before, which is carried out then.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub(super) async fn was_decided(
        &self,
        ledger: &Ledger,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Result<bool, MarkerError> {
        let origin = &envelope.origin;
        // Of a new event nothing is known, and the decision itself finds out whether that is so.
        let is_new = !origin.maybe_seen && origin.generation == 0;
        if is_new || fault::breaks(fault::Promise::MarkerCas) {
            return Ok(false);
        }
        let failed = |cause: &String| {
            let attempted = format!("cannot read what was decided about {}", origin.id);
            MarkerError::new(attempted, cause)
        };
        let found = ledger.find(origin.id.as_str()).await;
        let found = found.map_err(|cause| failed(&cause))?;
        let Some(found) = found else {
            return Ok(false);
        };
        let ended = ledger.ended(&found, origin.generation).await;
        let ended = ended.map_err(|cause| failed(&cause))?;
        if let Ended::No(_) = ended {
            return Ok(false);
        }
        if let Some((_, progress)) = tenure.progress() {
            progress.doubt.renew();
        }
        Ok(ended == Ended::Before || self.follow(&found, tenure).await)
    }

    /// Carries out a decision that was found, unless that has been done; false when the tenure ends
    /// before.
    async fn follow(&self, found: &Found, tenure: &Tenure) -> bool {
        let Some((partition, progress)) = tenure.progress() else {
            return true;
        };
        let Some((decided_in, epoch)) = found.decided_by() else {
            return true;
        };
        // What lay there at the takeover was carried out then, unless it had come when a tenure before ours was
        // past it; what we decided, we carry out; what was decided in another partition, whoever holds that.
        let is_in_hand = decided_in != partition
            || Some(epoch) == tenure.epoch()
            || (found.sequence <= progress.recovered() && !tenure.came_late(epoch, found.sequence));
        if is_in_hand {
            return true;
        }
        self.carry_out(&found.record, true, tenure).await
    }
}
