//! When a partition changed hands, told by positions on the stream of leases: on it everything that owners write down has
//! a place, so that nobody's clock is asked. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many are known.
const KEPT: usize = 16;

/// Where each tenure began, by its epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Takeovers(BTreeMap<u64, u64>);

impl Takeovers {
    /// The tenure of `epoch` began at `position`, or before that.
    pub(super) fn add(&mut self, epoch: u64, position: u64) {
        self.0.insert(epoch, position);
        while self.0.len() > KEPT {
            self.0.pop_first();
        }
    }

    /// Whether what the owner of `epoch` wrote at `position` came after its tenure. Of tenures long ago that may
    /// not be known.
    pub(super) fn precede(&self, epoch: u64, position: u64) -> bool {
        let mut later = self.0.range(epoch.saturating_add(1)..);
        later.next().is_some_and(|(_, begun)| *begun < position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takeovers(all: impl IntoIterator<Item = (u64, u64)>) -> Takeovers {
        let mut takeovers = Takeovers::default();
        all.into_iter()
            .for_each(|(epoch, position)| takeovers.add(epoch, position));
        takeovers
    }

    #[test]
    fn what_was_written_after_the_next_tenure_began_came_late() {
        let known = takeovers([(1, 10), (3, 50), (4, 90)]);
        assert!(!known.precede(1, 49), "while it lasted");
        assert!(known.precede(1, 51), "one is skipped that was never used");
        assert!(known.precede(2, 91) && known.precede(3, 91));
        assert!(!known.precede(3, 51), "two tenures ago is another matter");
        assert!(!known.precede(4, 91), "the present one is never late");
        assert!(!Takeovers::default().precede(1, 91), "nothing is known");
    }

    #[test]
    fn of_those_long_ago_nothing_is_said_too_early() {
        let known = takeovers((1..=20).map(|epoch| (epoch, epoch * 10)));
        assert_eq!(known.0.len(), KEPT);
        assert!(!known.precede(1, 30), "written in the time of epoch 3");
        assert!(known.precede(1, 51));
    }

    #[test]
    fn they_are_read_as_they_were_written() {
        let known = takeovers([(1, 10), (3, 50)]);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Takeovers>(&text).unwrap(), known);
    }
}
