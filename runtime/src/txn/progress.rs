//! How far the decisions of one tenure were carried out, and how far that is known on the stream.

use super::doubt::Doubt;
use super::floor::Floor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often it is written down: what came after is looked at again at a takeover.
const EVERY: Duration = Duration::from_secs(1);

/// How far one tenure is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) floor: Floor,
    /// Whether events that may have been seen are likely to have ended.
    pub(super) doubt: Doubt,
    /// Everything that lay there or before at the takeover was carried out then.
    recovered: AtomicU64,
    /// What was written down last; whoever writes holds it.
    pub(super) saved: Mutex<Saved>,
}

/// What was written down last.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Where on the stream it was written; 0: nowhere.
    pub(super) sequence: u64,
    /// Up to where everything was done.
    pub(super) position: u64,
    /// When.
    pub(super) at: Option<Instant>,
}

impl Progress {
    /// Everything that lay at this position or before at the takeover was carried out then.
    pub(super) fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// See [`Self::recovered`].
    pub(super) fn set_recovered(&self, position: u64) {
        self.recovered.store(position, Ordering::Relaxed);
    }
}

impl Saved {
    /// Whether it is time to write it down.
    pub(super) fn is_due(&self, position: u64) -> bool {
        position > self.position && self.at.is_none_or(|at| at.elapsed() >= EVERY)
    }
}
