//! Somebody who was let in, and how often they may ask.

use crate::api::config::Bearer;
use crate::api::problem::Problem;
use crate::rate::Limiter;
use std::sync::Arc;

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
