//! What is left in databases of transactions that have ended, or that nothing else tells of.

use super::ledger::{Found, Ledger};
use super::record::{Record, State};
use super::{Coordinator, Tenure};
use crate::target::Target;
use crate::target::postgres::Orphan;
use std::time::Duration;
use tracing::{info, warn};

/// How much longer than its marker is known how a transaction ended: clocks differ.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);
/// After so many decisions it is forgotten how old ones ended.
const FORGET_EVERY: u64 = 10_000;

/// The parts of a transaction's name: see [`Ledger::new_gid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gid<'a> {
    text: &'a str,
    event: &'a str,
    partition: u32,
    epoch: u64,
    n: u64,
}

impl<'a> Gid<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let event = parts.next()?;
        let partition = parts.next()?.parse().ok()?;
        let epoch = parts.next()?.parse().ok()?;
        let n = parts.next()?.parse().ok()?;
        Some(Self {
            text,
            event,
            partition,
            epoch,
            n,
        })
    }
}

impl Coordinator {
    /// Ends what databases hold prepared of earlier tenures although the log was worked off. False when
    /// the tenure ends before.
    ///
    /// # Errors
    /// When `TX` cannot be read. Databases that do not answer now are looked at in the next round.
    pub(super) async fn sweep(
        &self,
        ledger: &Ledger,
        partition: u32,
        tenure: &Tenure,
    ) -> Result<bool, String> {
        let is_done = self.end_orphans(ledger, (partition, tenure), |_| true);
        let is_done = is_done.await?;
        if is_done {
            self.forget(ledger).await;
        }
        Ok(is_done)
    }

    /// The same for those of which the gid `is_due`, once.
    ///
    /// # Errors
    /// When `TX` cannot be read.
    pub(super) async fn end_orphans(
        &self,
        ledger: &Ledger,
        (partition, tenure): (u32, &Tenure),
        mut is_due: impl FnMut(&str) -> bool,
    ) -> Result<bool, String> {
        for (name, target) in self.targets.in_databases() {
            let Some(database) = target.database().filter(|d| d.is_preparable()) else {
                continue;
            };
            let orphans = database.orphans(&ledger.cluster, &ledger.pipeline).await;
            let orphans = orphans.unwrap_or_else(|error| {
                warn!(pipeline = %self.pipeline, target = %name, %error,
                    "cannot look for transactions that somebody left prepared");
                Vec::new()
            });
            for orphan in orphans {
                if tenure.shutdown().has_begun() {
                    return Ok(false);
                }
                let gid = orphan.branch.gid().and_then(Gid::of);
                let of_before =
                    |gid: &Gid<'_>| gid.partition == partition && Some(gid.epoch) < tenure.epoch();
                if let Some(gid) = gid.filter(of_before)
                    && is_due(gid.text)
                    && !self
                        .end_orphan(ledger, (target, &orphan, gid), tenure)
                        .await?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Ends one: as the log says, which may have been begun meanwhile; else it is committed where it was
    /// decided, and rolled back where not.
    async fn end_orphan(
        &self,
        ledger: &Ledger,
        (target, orphan, gid): (&Target, &Orphan, Gid<'_>),
        tenure: &Tenure,
    ) -> Result<bool, String> {
        let logged = ledger.logged(gid.partition, gid.text).await?;
        let is_open = |logged: &Found| logged.record.head.state == State::Preparing;
        if let Some(begun) = logged.filter(is_open) {
            return Ok(self.end(ledger, &begun, tenure).await);
        }
        let found = ledger.find(gid.event).await?;
        let is_decided =
            found.is_some_and(|found| found.record.gid() == Some(gid.text) && !found.is_aborted());
        warn!(pipeline = %self.pipeline, branch = %orphan.branch, age = ?orphan.age, is_decided,
            "ending a prepared transaction that no log tells of");
        // Where that is not known to be done, the next one tries again.
        match is_decided {
            true => drop(target.commit(&orphan.branch).await),
            false => drop(target.roll_back(&orphan.branch).await),
        }
        Ok(true)
    }

    /// Now and then, forgets how old transactions ended.
    pub(super) async fn forget_after(&self, ledger: &Ledger, record: &Record) {
        let gid = record.gid().and_then(Gid::of);
        if gid.is_some_and(|gid| (gid.n + 1).is_multiple_of(FORGET_EVERY)) {
            self.forget(ledger).await;
        }
    }

    /// Forgets in databases how transactions ended whose markers have expired.
    async fn forget(&self, ledger: &Ledger) {
        for (name, target) in self.targets.in_databases() {
            let Some(database) = target.database() else {
                continue;
            };
            let whose = (&*ledger.cluster, &*ledger.pipeline);
            match database.forget(whose, ledger.horizon + MARGIN).await {
                Ok(0) => {}
                Ok(n_rows) => info!(pipeline = %self.pipeline, target = %name, n_rows,
                    "forgot how old transactions ended"),
                Err(error) => warn!(pipeline = %self.pipeline, target = %name, %error,
                    "cannot forget how old transactions ended"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_tells_by_its_name_whose_it_is() {
        let gid = Gid::of("k-_.3.7.12").unwrap();
        assert_eq!(
            (gid.event, gid.partition, gid.epoch, gid.n),
            ("k-_", 3, 7, 12)
        );
        for odd in ["", "k", "k.3", "k.3.7", "k.x.7.12"] {
            assert_eq!(Gid::of(odd), None, "{odd}");
        }
    }
}
