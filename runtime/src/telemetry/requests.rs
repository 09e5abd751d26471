//! What plugins asked of hosts over HTTP, and of targets through `lookup`.

use super::Counter;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counts by two names.
#[derive(Debug, Default)]
pub(super) struct ByTwo<T> {
    counted: Mutex<BTreeMap<String, BTreeMap<String, Arc<T>>>>,
}

impl<T: Default> ByTwo<T> {
    /// Those of two names, made when they are asked for first.
    pub(super) fn of(&self, one: &str, other: &str) -> Arc<T> {
        let mut counted = self.counted.lock();
        let known = counted.get(one).and_then(|of_one| of_one.get(other));
        if let Some(known) = known {
            return known.clone();
        }
        let of_one = counted.entry(one.to_owned()).or_default();
        of_one.entry(other.to_owned()).or_default().clone()
    }

    /// All of them at this moment, `read` from each.
    pub(super) fn read<C>(&self, read: impl Fn(&T) -> C) -> BTreeMap<String, BTreeMap<String, C>> {
        let counted = self.counted.lock();
        let of_one = |of_one: &BTreeMap<String, Arc<T>>| {
            let counts = of_one.iter();
            counts
                .map(|(other, it)| (other.clone(), read(it)))
                .collect()
        };
        let all = counted.iter();
        all.map(|(one, counts)| (one.clone(), of_one(counts)))
            .collect()
    }
}

/// The counts of the HTTP requests that one plugin sent for one pipeline.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    /// Requests that a host answered, whatever the status.
    pub answered: Counter,
    /// Requests, and answers, that were not permitted or too large.
    pub refused: Counter,
    /// Requests that got no answer.
    pub failed: Counter,
    /// Bytes of answers.
    pub bytes: Counter,
}

/// The counts of HTTP requests at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HttpCounts {
    /// See [`HttpMetrics::answered`].
    pub answered: u64,
    /// See [`HttpMetrics::refused`].
    pub refused: u64,
    /// See [`HttpMetrics::failed`].
    pub failed: u64,
    /// See [`HttpMetrics::bytes`].
    pub bytes: u64,
}

impl HttpMetrics {
    /// The counts at this moment.
    #[must_use]
    pub fn counts(&self) -> HttpCounts {
        HttpCounts {
            answered: self.answered.get(),
            refused: self.refused.get(),
            failed: self.failed.get(),
            bytes: self.bytes.get(),
        }
    }
}

/// The counts of what plugins of one pipeline looked up in one target.
#[derive(Debug, Default)]
pub struct LookupMetrics {
    /// Entities that were read, and there.
    pub found: Counter,
    /// Entities that were asked for, and not there.
    pub absent: Counter,
    /// Answers that an attempt at an event had got before, and got again without asking.
    pub repeated: Counter,
    /// Entities that the target did not give.
    pub failed: Counter,
}

/// The counts of lookups at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LookupCounts {
    /// See [`LookupMetrics::found`].
    pub found: u64,
    /// See [`LookupMetrics::absent`].
    pub absent: u64,
    /// See [`LookupMetrics::repeated`].
    pub repeated: u64,
    /// See [`LookupMetrics::failed`].
    pub failed: u64,
}

impl LookupMetrics {
    /// The counts at this moment.
    #[must_use]
    pub fn counts(&self) -> LookupCounts {
        LookupCounts {
            found: self.found.get(),
            absent: self.absent.get(),
            repeated: self.repeated.get(),
            failed: self.failed.get(),
        }
    }
}
