//! What an event waits for before it begins and before it acts: turns, and targets that are left alone.

use super::Pipeline;
use super::outcome::{Fault, Step};
use super::work::Work;
use crate::event::{Disposition, Plan};
use crate::plugin::Held;
use crate::txn::Pass;
use futures::FutureExt as _;
use std::future::Future;

impl Pipeline {
    /// Waits until the pipeline's rate allows another event; false when the shutdown came before.
    pub(super) async fn may_begin(&self, work: &Work) -> bool {
        match &self.limiter {
            Some(limiter) => self.unless_shut_down(work, limiter.turn()).await.is_some(),
            None => true,
        }
    }

    /// What `wait` comes to; none when the shutdown came before, or the lease was lost: the event is
    /// given back.
    pub(super) async fn unless_shut_down<T>(
        &self,
        work: &Work,
        wait: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            // What need not wait goes on.
            biased;
            waited = wait => Some(waited),
            () = work.tenure.shutdown().begun() => {
                self.metrics.given_back.increment();
                None
            }
        }
    }

    /// Waits until the plan's targets may be written; what comes in place of it when one is left
    /// alone, or at the shutdown. Where it has to wait, the instances that it holds are thrown away: others
    /// would wait for them, and theirs is an attempt.
    pub(super) async fn admit(
        &self,
        work: &Work,
        plan: &Plan,
        held: &mut Held,
    ) -> Result<(), Step> {
        self.check_left_alone(work, plan)?;
        let mut turn = std::pin::pin!(self.coordinator.turn(plan));
        if turn.as_mut().now_or_never().is_none() {
            drop(std::mem::take(held));
            let turn = self.unless_shut_down(work, turn).await;
            turn.ok_or(Step::End(Disposition::GiveBack))?;
        }
        // It may have fallen silent meanwhile.
        self.check_left_alone(work, plan)
    }

    /// Whoever tries one of them does not wait for the others: two that hold each other's turn would
    /// wait for ever.
    fn check_left_alone(&self, work: &Work, plan: &Plan) -> Result<(), Step> {
        let tries = work.pass.as_ref().is_some_and(Pass::is_turn);
        match self.coordinator.left_alone(plan) {
            Some(target) if !tries => Err(Step::Hold(target)),
            _ => Ok(()),
        }
    }

    /// Whether the attempt failed at a target that is left alone now.
    pub(super) fn is_left_alone(&self, failure: &Fault) -> bool {
        let place = failure.place.as_deref();
        place.is_some_and(|place| self.coordinator.is_left_alone(place))
    }

    /// An attempt that failed so is nobody's fault but the target's: it is not counted.
    pub(super) fn hold(&self, work: &mut Work, failure: &Fault) -> Step {
        work.note_accepted(failure);
        tracing::debug!(pipeline = %self.name, event = %work.envelope.origin.id,
            error = %self.secrets.redact(&failure.error), "waiting for the target to answer");
        self.metrics.retries.increment();
        Step::Hold(failure.place.as_deref().unwrap_or_default().into())
    }
}
