//! Who still uses which version of which contract.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Of how many users it is kept: their names come from tokens.
const MOST: usize = 10_000;

/// What was asked for since the start, by target, version and who asked.
#[derive(Debug, Default)]
pub struct Uses(Mutex<BTreeMap<(String, u32, String), Use>>);

/// How often somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// How many requests.
    pub n_requests: u64,
    /// When the last one came.
    pub last: OffsetDateTime,
}

impl Uses {
    pub(super) fn note(&self, bearer: &str, target: &str, version: u32) {
        let key = (target.to_owned(), version, bearer.to_owned());
        let mut uses = self.0.lock();
        if uses.len() >= MOST && !uses.contains_key(&key) {
            return;
        }
        let last = OffsetDateTime::now_utc();
        let known = uses.entry(key).or_insert(Use {
            n_requests: 0,
            last,
        });
        *known = Use {
            n_requests: known.n_requests + 1,
            last,
        };
    }

    /// All of them: target, version, who asked, and how often.
    #[must_use]
    pub fn all(&self) -> Vec<(String, u32, String, Use)> {
        let uses = self.0.lock();
        let all = uses.iter().map(|((target, version, bearer), used)| {
            (target.clone(), *version, bearer.clone(), *used)
        });
        all.collect()
    }
}
