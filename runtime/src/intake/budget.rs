//! The bytes that a pipeline may have in flight: pulled and not settled.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// What the intakes of one pipeline share: its own source and its replays.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// All of it.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What may still come.
    pub(super) fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used.load(Ordering::Acquire))
    }

    /// Counts what has come, however much it is: it is here already.
    pub(super) fn take(&self, n_bytes: u64) {
        self.used.fetch_add(n_bytes, Ordering::AcqRel);
    }

    /// Counts what has gone.
    pub(super) fn give_back(&self, n_bytes: u64) {
        self.used.fetch_sub(n_bytes, Ordering::AcqRel);
        self.freed.notify_waiters();
    }

    /// Waits until `wanted` finds what is free to be enough, and gives what it makes of it.
    pub(super) async fn until<T>(&self, mut wanted: impl FnMut(u64) -> Option<T>) -> T {
        loop {
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // What is given back from here on is not missed.
            freed.as_mut().enable();
            if let Some(enough) = wanted(self.free()) {
                return enough;
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_sees_what_is_given_back() {
        let budget = Budget::new(10);
        budget.take(12);
        assert_eq!(budget.free(), 0, "more than all of it is used");
        let waiting = budget.until(|free| (free >= 8).then_some(free));
        let giving = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
                budget.give_back(2);
            }
        };
        let (free, ()) = futures::join!(waiting, giving);
        assert_eq!(free, 8);
    }
}
