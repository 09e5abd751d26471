//! Attempts that outlive the run that made them.

use super::Pipeline;
use super::work::Work;
use std::time::Duration;

impl Pipeline {
    /// Goes on counting where an earlier run ended; false at the shutdown. Asked at the first failure and
    /// only for what an earlier run may have met, so that events that succeed cost nothing.
    pub(super) async fn recall_attempts(&self, work: &mut Work) -> bool {
        let Some(attempts) = self.attempts.as_ref().filter(|_| !work.is_recalled) else {
            return true;
        };
        let mut n_failed = 1;
        loop {
            match attempts.earlier(&work.envelope.origin).await {
                Ok(earlier) => {
                    work.go_on_from(earlier);
                    return true;
                }
                Err(error) => tracing::warn!(pipeline = %self.name, %error, "trying again"),
            }
            if !self.pause_for_ever(&mut n_failed, work).await {
                return false;
            }
        }
    }

    /// Lets whoever takes over know what was tried. When that cannot be written the event goes on all
    /// the same: this run counts for itself.
    pub(super) async fn keep_attempts(&self, work: &Work, pause: Duration) {
        let Some(attempts) = &self.attempts else {
            return;
        };
        // Whoever took over keeps its own.
        if !work.tenure.held().await {
            return;
        }
        let origin = &work.envelope.origin;
        if let Err(error) = attempts.keep(origin, work.tried(), pause).await {
            tracing::warn!(pipeline = %self.name, event = %origin.id, %error,
                "a failed attempt is not recorded: after a kill it is not counted");
        }
    }
}
