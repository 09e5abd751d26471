//! While a tenure lasts: what those before it left behind and nobody saw when it began, since it came late, or
//! its database was away.

use super::ledger::Ledger;
use super::{Coordinator, Tenure};
use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;
use tracing::warn;

/// The longest pause between two rounds, in times of the lease: with one of 5 s a minute. What comes late mostly
/// comes soon, so that the first pauses are shorter.
const LONGEST_PAUSE: u32 = 12;
/// What so many tenures before had begun is looked for on the log. A takeover reads all of it.
const TENURES: u64 = 16;

/// The transactions of earlier tenures that are not known to have ended, by gid.
type Open = BTreeSet<String>;

impl Coordinator {
    /// Ends what earlier tenures left, again and again until `tenure` ends, and then once what is being ended has.
    /// What this one has on its way is left alone.
    pub async fn patrol(&self, tenure: &Tenure) {
        let (Some(ledger), Some(lease)) = (self.ledger(), tenure.lease()) else {
            return;
        };
        let (mut pause, mut open) = (lease, Open::new());
        while tenure.shutdown().pause(pause).await {
            pause = next_pause(pause, lease);
            if let Err(error) = self.go_round(ledger, &mut open, tenure).await {
                warn!(pipeline = %self.pipeline, %error, "cannot look for what earlier runs left");
            }
        }
    }

    /// Ends what was `open` in the round before and still is: by then, whoever was handed its event has dealt
    /// with what is decided.
    async fn go_round(
        &self,
        ledger: &Ledger,
        open: &mut Open,
        tenure: &Tenure,
    ) -> Result<(), String> {
        let (Some((partition, _)), Some(epoch)) = (tenure.progress(), tenure.epoch()) else {
            return Ok(());
        };
        let before = mem::take(open);
        let mut is_due = |gid: &str| {
            open.insert(gid.to_owned());
            before.contains(gid)
        };
        let epochs = epoch.saturating_sub(TENURES)..epoch;
        for begun in ledger.unfinished_of(partition, epochs).await? {
            if tenure.shutdown().has_begun() {
                return Ok(());
            }
            let gid = begun.record.gid().unwrap_or_default();
            if is_due(gid) && !self.end(ledger, &begun, tenure).await {
                return Ok(());
            }
        }
        self.end_orphans(ledger, (partition, tenure), is_due)
            .await
            .map(drop)
    }
}

fn next_pause(pause: Duration, lease: Duration) -> Duration {
    (pause * 2).min(lease * LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_rarer_up_to_one_in_twelve_leases() {
        let lease = Duration::from_secs(5);
        let mut pauses = vec![lease];
        for _ in 0..5 {
            pauses.push(next_pause(*pauses.last().unwrap(), lease));
        }
        let seconds: Vec<_> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60]);
    }
}
