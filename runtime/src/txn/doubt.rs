//! Whether events that may have been seen before are likely to have ended. Pure.
//!
//! Looking costs a request for each event, and the decision finds out by itself; but by then the event was
//! thought about for nothing, and others that were decided with it have to be decided again. Copies
//! come in numbers: after a takeover, or when a producer sends everything once more.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many events are looked for after a takeover, and after each that was found: as many as there are
/// in flight, unless a pipeline has more.
const EVENTS: u32 = 1_024;

/// How many of the next events are to be looked for.
#[derive(Debug)]
pub(super) struct Doubt {
    left: AtomicU32,
}

impl Default for Doubt {
    fn default() -> Self {
        Self {
            left: AtomicU32::new(EVENTS),
        }
    }
}

impl Doubt {
    /// Whether to look for the event at hand.
    pub(super) fn is_due(&self) -> bool {
        let next = |left: u32| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.is_ok()
    }

    /// One had ended.
    pub(super) fn renew(&self) {
        self.left.store(EVENTS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_makes_looking_worth_while() {
        let doubt = Doubt::default();
        for _ in 0..EVENTS {
            assert!(doubt.is_due());
        }
        assert!(!doubt.is_due() && !doubt.is_due());
        doubt.renew();
        assert!(doubt.is_due());
    }
}
