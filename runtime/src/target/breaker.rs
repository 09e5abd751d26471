//! Leaves a target alone that gives no answer, and tries it now and then with a single effect.

use crate::telemetry::TargetMetrics;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tracing::{info, warn};

/// When a target is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many times in a row without an answer.
    pub failures: u32,
    /// The first pause; it doubles each time that the target is tried in vain.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

/// What is known of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is used; so many times in a row it gave no answer.
    Closed { n_failures: u32 },
    /// It is left alone until then; this is the n-th pause.
    Open { until: Instant, n_pauses: u32 },
}

/// The breaker of one target.
#[derive(Debug)]
pub(super) struct Breaker {
    target: Arc<str>,
    policy: BreakerPolicy,
    state: Mutex<State>,
    is_open: watch::Sender<bool>,
    /// Whose turn it is to try: one after the other, in the order of asking.
    turn: Arc<Semaphore>,
    metrics: Arc<TargetMetrics>,
}

/// Leave to use a target whose breaker was open: it is closed now, or this is the one that tries.
#[derive(Debug, Default)]
pub struct Pass {
    turn: Option<OwnedSemaphorePermit>,
}

impl Pass {
    /// Whether its holder is the one that tries.
    #[must_use]
    pub fn is_turn(&self) -> bool {
        self.turn.is_some()
    }
}

impl Breaker {
    pub(super) fn new(
        target: Arc<str>,
        policy: BreakerPolicy,
        metrics: Arc<TargetMetrics>,
    ) -> Self {
        Self {
            target,
            policy,
            state: Mutex::new(State::Closed { n_failures: 0 }),
            is_open: watch::Sender::new(false),
            turn: Arc::new(Semaphore::new(1)),
            metrics,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.metrics.is_open()
    }

    /// Waits until the target is used again, or until it is this one's turn to try it. The turn goes
    /// to the next one when the pass is dropped.
    pub(super) async fn pass(&self) -> Pass {
        let mut is_open = self.is_open.subscribe();
        let turn = tokio::select! {
            biased;
            _ = is_open.wait_for(|is_open| !is_open) => return Pass::default(),
            turn = self.turn.clone().acquire_owned() => turn.ok(),
        };
        self.rest().await;
        match self.is_open() {
            true => {
                self.metrics.probes.increment();
                Pass { turn }
            }
            false => Pass::default(),
        }
    }

    /// Waits until the target is used again or may be tried, and takes nobody's turn: for what is decided, whose
    /// event may have the turn itself.
    pub(super) async fn rest(&self) {
        let mut is_open = self.is_open.subscribe();
        loop {
            let State::Open { until, .. } = *self.state.lock() else {
                return;
            };
            if Instant::now() >= until {
                return;
            }
            // It may be made open again meanwhile, for longer, or closed.
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = is_open.wait_for(|is_open| !is_open) => {}
            }
        }
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut *state, State::Closed { n_failures: 0 });
        if let State::Open { .. } = before {
            self.turn_to(false);
            info!(target_name = %self.target, "the target answers again: it is used as before");
        }
    }

    /// It has given no answer.
    pub(super) fn failed(&self, error: &str) {
        let mut state = self.state.lock();
        let n_pauses = match *state {
            State::Closed { n_failures } if n_failures + 1 < self.policy.failures => {
                let n_failures = n_failures + 1;
                *state = State::Closed { n_failures };
                return;
            }
            State::Closed { .. } => 1,
            State::Open { until, n_pauses } if Instant::now() >= until => n_pauses + 1,
            // One that was under way before says nothing new.
            State::Open { .. } => return,
        };
        let pause = self.pause(n_pauses);
        let until = Instant::now() + pause;
        *state = State::Open { until, n_pauses };
        if n_pauses == 1 {
            self.metrics.opened.increment();
            self.turn_to(true);
            warn!(target_name = %self.target, failures = self.policy.failures, %error, ?pause,
                "the target does not answer: it is left alone, and its events wait");
        } else {
            warn!(target_name = %self.target, %error, ?pause, "the target still does not answer");
        }
    }

    /// Whether it would answer is not known: somebody else was away. Who tries next waits as long as
    /// the last one did.
    pub(super) fn put_off(&self) {
        let mut state = self.state.lock();
        if let State::Open { until, n_pauses } = &mut *state
            && Instant::now() >= *until
        {
            *until = Instant::now() + self.pause(*n_pauses);
        }
    }

    fn turn_to(&self, is_open: bool) {
        self.metrics.set_open(is_open);
        // Lets those go on that wait for it.
        self.is_open.send_replace(is_open);
    }

    fn pause(&self, n_pauses: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(n_pauses.saturating_sub(1));
        let pause = self.policy.first.saturating_mul(doubled);
        pause.min(self.policy.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn breaker() -> Breaker {
        let policy = BreakerPolicy {
            failures: 3,
            ..BreakerPolicy::default()
        };
        Breaker::new("crm".into(), policy, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_open_it() {
        let breaker = breaker();
        for answers in [false, false, true, false, false] {
            match answers {
                true => breaker.answered(),
                false => breaker.failed("late"),
            }
            assert!(!breaker.is_open());
        }
        breaker.failed("late");
        assert!(breaker.is_open());
        assert_eq!(breaker.metrics.opened.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_learned_nothing_is_followed_after_a_pause() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed("late");
        }
        let begun = Instant::now();
        for _ in 0..4 {
            assert!(breaker.pass().await.is_turn());
            breaker.put_off();
        }
        // Without the pause, whoever waits would try again and again, at full speed.
        assert_eq!(begun.elapsed().as_secs(), 4);
        assert!(breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_tries_and_pauses_double_up_to_the_longest() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed("late");
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let probe = breaker.pass().await;
            pauses.push(begun.elapsed().as_secs());
            assert!(breaker.pass().now_or_never().is_none(), "two try at once");
            breaker.failed("late");
            // Others that were under way make it no longer.
            breaker.failed("late");
            drop(probe);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(
            (breaker.metrics.opened.get(), breaker.metrics.probes.get()),
            (1, 7)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_lets_everybody_go_on_and_the_next_pause_is_the_first_again() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed("late");
        }
        let probing = async {
            let probe = breaker.pass().await;
            assert!(probe.is_turn());
            breaker.answered();
        };
        let waiting = futures::future::join_all((0..10).map(|_| breaker.pass()));
        let ((), passes) = futures::join!(probing, waiting);
        // Should it fall silent again, they wait again.
        assert!(!passes.iter().any(Pass::is_turn));
        assert!(!breaker.is_open());
        for _ in 0..3 {
            breaker.failed("late");
        }
        let begun = Instant::now();
        let _probe = breaker.pass().await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_decided_waits_for_the_time_and_for_nobody() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed("late");
        }
        let turn = breaker.pass().await;
        assert!(turn.is_turn());
        breaker.failed("late");
        let begun = Instant::now();
        // The one with the turn itself has something to carry out.
        breaker.rest().await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        breaker.failed("late");
        let begun = Instant::now();
        let (answered, ()) = futures::join!(async { breaker.answered() }, breaker.rest());
        assert_eq!((answered, begun.elapsed().as_secs()), ((), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_not_used_goes_to_the_next() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed("late");
        }
        let first = breaker.pass().await;
        let mut second = std::pin::pin!(breaker.pass());
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some());
        assert!(breaker.is_open(), "nobody has tried yet");
    }
}
