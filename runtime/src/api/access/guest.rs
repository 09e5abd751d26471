//! Somebody who was let in, and how often they may ask.

use crate::api::config::Bearer;
use crate::api::problem::Problem;
use crate::rate::{Limiter, Rate};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// How many names are counted apart.
const MOST: usize = 10_000;

/// Somebody who was let in.
#[derive(Debug)]
pub(in crate::api) struct Guest {
    pub(in crate::api) bearer: Bearer,
    limiter: Option<Arc<Limiter>>,
}

impl Guest {
    /// One who has not asked for anything yet.
    pub(in crate::api) fn new(bearer: Bearer) -> Self {
        let limiter = bearer.rate.map(|rate| Arc::new(Limiter::refusing(rate)));
        Self { bearer, limiter }
    }

    /// One whose requests `limiter` has counted so far.
    pub(super) fn with(bearer: Bearer, limiter: Option<Arc<Limiter>>) -> Self {
        Self { bearer, limiter }
    }

    /// Counts a request, unless there were too many.
    pub(in crate::api) fn take_turn(&self) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.try_turn().map_err(|wait| {
            let fault = format!(
                "`{}` asks more often than its `rate_limit`: ask again in {wait:.1?}",
                self.bearer.name
            );
            Problem::of_rate(fault, wait)
        })
    }
}

/// The limits of those whose names come with their tokens.
pub(super) struct Limiters {
    rate: Option<Rate>,
    by_name: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl Limiters {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            by_name: Mutex::default(),
        }
    }

    /// The limit of whoever has this name.
    pub(super) fn of(&self, name: &str) -> Option<Arc<Limiter>> {
        let rate = self.rate?;
        let mut by_name = self.by_name.lock();
        if let Some(limiter) = by_name.get(name) {
            return Some(limiter.clone());
        }
        if by_name.len() >= MOST {
            // One that has rested is as good as a new one.
            by_name.retain(|_, limiter| !limiter.is_rested());
        }
        // In such a crowd those who come last share one.
        let name = if by_name.len() < MOST { name } else { "" };
        let new = || Arc::new(Limiter::refusing(rate));
        Some(by_name.entry(name.to_owned()).or_insert_with(new).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn each_name_has_a_limit_of_its_own_and_those_at_rest_are_forgotten() {
        let limiters = Limiters::new("1/s".parse().ok());
        let ask = |name: &str| limiters.of(name).unwrap().try_turn().is_ok();
        assert!(ask("ada") && !ask("ada") && ask("bob"));
        for n in 0..MOST {
            ask(&n.to_string());
        }
        assert_eq!(limiters.by_name.lock().len(), MOST + 1);
        // The last two were counted together.
        assert!(!ask("late"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(ask("late") && !ask("late"));
        assert_eq!(limiters.by_name.lock().len(), 1);
        assert!(Limiters::new(None).of("ada").is_none());
    }
}
