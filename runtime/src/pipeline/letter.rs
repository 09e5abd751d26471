//! Events that end as letters: what failed for good, and what waits behind it.

use super::Pipeline;
use super::outcome::{End, Fault, Step};
use super::work::Work;
use crate::event::{DeadLetter, DeadReason, Disposition, Plan};
use crate::fault::{self, Point};
use crate::txn::Applied;

impl Pipeline {
    /// What failed for good becomes a dead letter.
    pub(super) async fn bury(&self, work: &mut Work, failure: Fault) -> Step {
        // It tries the target no more, and storing the letter may take long.
        work.pass = None;
        if !self.recall_attempts(work).await {
            return Step::End(Disposition::GiveBack);
        }
        work.note_failure(&failure, &self.secrets);
        let letter = work.dead_letter(&self.name, &failure, &self.secrets);
        tracing::warn!(pipeline = %self.name, event = %letter.id, reason = failure.reason.as_str(),
            error = %letter.error, holds_key = letter.holds_key,
            "event given up: stored as a dead letter");
        work.note_death(letter.reason, &letter.error);
        Step::End(self.store(work, letter, End::Dead).await)
    }

    /// What may not begin, since an earlier event of its key failed, becomes a letter as well.
    pub(super) async fn park(&self, work: &mut Work) -> Disposition {
        if !self.recall_attempts(work).await {
            return Disposition::GiveBack;
        }
        let why = "an earlier event of its key failed, or waits as well".to_owned();
        let waits = Fault::new(DeadReason::Parked, why);
        let letter = work.dead_letter(&self.name, &waits, &self.secrets);
        tracing::debug!(pipeline = %self.name, event = %letter.id, key = %letter.key,
            "event parked behind an earlier one of its key");
        self.store(work, letter, End::Parked).await
    }

    /// Stores the letter; the event is settled only after that, however long it takes.
    async fn store(&self, work: &mut Work, letter: DeadLetter, end: End) -> Disposition {
        let plan = Plan::bury(letter);
        self.reserve(work);
        let mut n_failed = 1;
        loop {
            fault::reach(Point::LetterPending).await;
            let applied = self
                .coordinator
                .apply(&plan, &work.envelope, &work.tenure)
                .await;
            match applied {
                Applied::Done => break,
                Applied::Replaced => return self.leave(),
                Applied::Ended => {
                    self.withdraw(work);
                    return self.skip(work).await;
                }
                _ => {}
            }
            tracing::error!(pipeline = %self.name, event = %work.envelope.origin.id, ?applied,
                "cannot store the dead letter, trying again");
            if !self.pause_for_ever(&mut n_failed, work).await {
                return Disposition::GiveBack;
            }
        }
        fault::reach(Point::LetterStored).await;
        if !self.mark(&plan, work).await {
            return Disposition::GiveBack;
        }
        match self.hold_key(work).await {
            None => self.leave(),
            // Stored before, and replayed or purged since.
            Some(false) => self.skip(work).await,
            Some(true) => {
                self.count(end, 0);
                Disposition::Ack
            }
        }
    }
}
