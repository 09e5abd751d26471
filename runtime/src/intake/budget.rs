//! The bytes that a pipeline may have in flight: pulled and not settled.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// What the intakes of one pipeline share: its own source and its replays.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
    n_messages: AtomicU64,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            n_messages: AtomicU64::new(0),
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

    /// The messages in flight.
    pub(super) fn n_messages(&self) -> u64 {
        self.n_messages.load(Ordering::Acquire)
    }

    /// Counts a message that has come, however large it is: it is here already.
    pub(super) fn take(&self, n_bytes: u64) {
        self.n_messages.fetch_add(1, Ordering::AcqRel);
        self.add(n_bytes);
    }

    /// Counts further bytes of a message.
    pub(super) fn add(&self, n_bytes: u64) {
        self.used.fetch_add(n_bytes, Ordering::AcqRel);
    }

    /// Counts a message that has gone, with all of its bytes.
    pub(super) fn give_back(&self, n_bytes: u64) {
        self.n_messages.fetch_sub(1, Ordering::AcqRel);
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
        for n_bytes in [4, 2, 2, 2, 2] {
            budget.take(n_bytes);
        }
        assert_eq!(budget.free(), 0, "more than all of it is used");
        let waiting = budget.until(|free| (free >= 7).then_some(free));
        let giving = async {
            for n_bytes in [2, 2, 2, 2, 4] {
                tokio::task::yield_now().await;
                budget.give_back(n_bytes);
            }
        };
        let (free, ()) = futures::join!(waiting, giving);
        assert_eq!((free, budget.n_messages()), (10, 0));
    }
}
