//! At a takeover: what was decided and perhaps not carried out is carried out, before anything new is
//! taken.

use super::ledger::{Found, Ledger, Waiting};
use super::log::Fence;
use super::reading::{Entry, Reading};
use super::record::{Part, State};
use super::{Coordinator, Tenure};
use crate::fault::{self, Point};
use async_nats::jetstream::consumer::DeliverPolicy;
use tracing::info;

impl Coordinator {
    /// Carries out the decisions of the tenures before that may not have been, however long it takes;
    /// false when this tenure ends before.
    pub async fn recover(&self, tenure: &Tenure) -> bool {
        let Some(ledger) = self.ledger() else {
            return true;
        };
        let attempted = format!(
            "cannot recover the decisions of pipeline `{}`",
            self.pipeline
        );
        let mut waiting = Waiting::default();
        loop {
            match self.recover_once(ledger, tenure).await {
                Ok(is_done) => return is_done,
                Err(error) if !waiting.wait(&attempted, &error, tenure).await => return false,
                Err(_) => {}
            }
        }
    }

    async fn recover_once(&self, ledger: &Ledger, tenure: &Tenure) -> Result<bool, String> {
        let Some((partition, progress)) = tenure.progress() else {
            return Ok(true);
        };
        let (checkpoint_at, through) = match ledger.checkpoint(partition).await? {
            Some((sequence, checkpoint)) => (sequence, checkpoint.through),
            None => (0, 0),
        };
        let later = DeliverPolicy::ByStartSequence {
            start_sequence: through + 1,
        };
        let subjects = format!("tx.done.{}.>", ledger.pipeline);
        let mut decisions = Reading::begin(&ledger.stream, subjects, later).await?;
        let (mut reached, mut n_open) = (through, 0_u64);
        while let Some(Entry {
            sequence, record, ..
        }) = decisions.next().await?
        {
            reached = sequence;
            let transaction = record.head.transaction.as_ref();
            if transaction.is_some_and(|transaction| transaction.partition == partition) {
                n_open += 1;
                if ledger.is_decided(&record).await? && !self.carry_out(&record, true, tenure).await
                {
                    return Ok(false);
                }
                fault::reach(Point::Recovering).await;
            }
        }
        ledger.resume(progress, checkpoint_at, reached).await;
        progress.set_recovered(reached);
        ledger.save(tenure, true).await;
        if !self.end_unfinished(ledger, partition, tenure).await?
            || !self.sweep(ledger, partition, tenure).await?
        {
            return Ok(false);
        }
        if n_open > 0 {
            info!(pipeline = %self.pipeline, partition, n_open, "decisions of an earlier run carried out");
        }
        Ok(true)
    }

    /// Ends what the tenures before had begun: it is closed where it was decided, and taken back where not.
    async fn end_unfinished(
        &self,
        ledger: &Ledger,
        partition: u32,
        tenure: &Tenure,
    ) -> Result<bool, String> {
        for begun in ledger.unfinished(partition).await? {
            if !self.end(ledger, &begun, tenure).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends one of them; false when the tenure ends before.
    pub(super) async fn end(&self, ledger: &Ledger, begun: &Found, tenure: &Tenure) -> bool {
        let record = &begun.record;
        let is_done = match ledger.fence(begun, tenure).await {
            // It may have been decided after we looked at the decisions.
            Fence::Decided(decision) => {
                self.carry_out(&decision, true, tenure).await
                    && ledger.close(record, State::Done, tenure).await
            }
            Fence::Fenced => {
                let all = (record, &*record.parts());
                self.abort(ledger, all, tenure).await.is_some()
            }
            Fence::Late => {
                // What was prepared under its name, if it was, nobody else ends.
                let mut parts = record.parts();
                parts.retain(|part| matches!(part, Part::Branch(_)));
                self.abort(ledger, (record, &parts), tenure).await.is_some()
            }
            Fence::Replaced => false,
        };
        if is_done {
            info!(pipeline = %self.pipeline, gid = record.gid().unwrap_or_default(),
                "a transaction of an earlier run was ended");
        }
        is_done
    }

    /// Writes down how far the tenure came, so that the next one need not look.
    pub async fn leave(&self, tenure: &Tenure) {
        if let Some(ledger) = self.ledger() {
            ledger.save(tenure, true).await;
        }
    }
}
