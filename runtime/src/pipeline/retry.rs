//! How often and after what pause an event is tried again. Pure: jitter comes from a seed.

use backon::{BackoffBuilder as _, ExponentialBuilder};
use std::time::Duration;

/// The retry settings of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause after attempt number `attempt` failed: doubled each time, up to the longest, plus
    /// a random part of up to as much again, so that events that failed together do not come back
    /// together. `None` when no attempt is left.
    #[must_use]
    pub fn pause_after(&self, attempt: u32, seed: u64) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_factor(2.0)
            .with_jitter()
            .with_jitter_seed(seed)
            .without_max_times();
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        pauses.build().nth(index.min(64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_up_to_the_longest_and_end_with_the_attempts(
            attempts in 1_u32..20, seed in any::<u64>()
        ) {
            let policy = RetryPolicy { attempts, ..RetryPolicy::default() };
            for attempt in 1..attempts {
                let doubled = policy.first * 2_u32.saturating_pow(attempt - 1);
                let least = doubled.min(policy.longest);
                let pause = policy.pause_after(attempt, seed).unwrap();
                prop_assert!(pause >= least, "{pause:?} after {attempt}");
                prop_assert!(pause <= least * 2, "{pause:?} after {attempt}");
            }
            prop_assert_eq!(policy.pause_after(attempts, seed), None);
        }
    }
}
