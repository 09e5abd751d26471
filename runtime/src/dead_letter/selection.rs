//! Which dead letters are meant.

use super::record::Letter;
use crate::event::DeadReason;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A choice of dead letters; what is not set does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of this ordering key.
    pub key: Option<String>,
    /// For this reason.
    pub reason: Option<DeadReason>,
    /// Stored at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Stored before this time.
    pub until: Option<OffsetDateTime>,
    /// Those that were replayed, in place of those that are open.
    pub replayed: bool,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Selection {
    /// Whether `letter` is meant.
    #[must_use]
    pub fn holds(&self, letter: &Letter) -> bool {
        let at = OffsetDateTime::parse(&letter.at, &Rfc3339).ok();
        self.pipeline
            .as_ref()
            .is_none_or(|pipeline| *pipeline == letter.pipeline)
            && self.key.as_ref().is_none_or(|key| *key == letter.key)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self
                .since
                .is_none_or(|since| at.is_some_and(|at| at >= since))
            && self
                .until
                .is_none_or(|until| at.is_some_and(|at| at < until))
    }
}
