//! How many partitions of a pipeline a runtime may hold, so that each runtime has its fair share. Pure.
//! It decides about fairness only: who holds what is decided by the leases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A runtime's view of the others, and what it holds itself.
#[derive(Debug)]
pub(super) struct Quota {
    n_partitions: u32,
    patience: Duration,
    held: BTreeSet<u32>,
    others: BTreeMap<String, Instant>,
}

impl Quota {
    /// Others count as long as they were heard within `patience`.
    pub(super) fn new(n_partitions: u32, patience: Duration) -> Self {
        Self {
            n_partitions,
            patience,
            held: BTreeSet::new(),
            others: BTreeMap::new(),
        }
    }

    /// Another runtime was heard; true when it was not known.
    pub(super) fn hear(&mut self, id: &str, now: Instant) -> bool {
        self.others.insert(id.to_owned(), now).is_none()
    }

    /// Another runtime is gone.
    pub(super) fn forget(&mut self, id: &str) {
        self.others.remove(id);
    }

    /// The fair share: no runtime needs to hold more.
    pub(super) fn share(&mut self, now: Instant) -> usize {
        let patience = self.patience;
        self.others.retain(|_, heard| now - *heard < patience);
        let n_runtimes = u32::try_from(self.others.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        usize::try_from(self.n_partitions.div_ceil(n_runtimes)).unwrap_or(usize::MAX)
    }

    /// Whether one more may be taken.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        self.held.len() < self.share(now)
    }

    /// Counts `partition` as held, where there is room.
    pub(super) fn reserve(&mut self, partition: u32, now: Instant) -> bool {
        self.has_room(now) && self.held.insert(partition)
    }

    pub(super) fn free(&mut self, partition: u32) {
        self.held.remove(&partition);
    }

    /// Whether `partition` is to be given up for others.
    pub(super) fn is_surplus(&mut self, partition: u32, now: Instant) -> bool {
        let share = self.share(now);
        self.held.iter().skip(share).any(|held| *held == partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_beyond_the_share_is_given_up_and_comes_back() {
        let (start, mut quota) = (Instant::now(), Quota::new(4, PATIENCE));
        assert!((0..4).all(|partition| quota.reserve(partition, start)));
        assert!(quota.hear("other", start));
        assert!(!quota.hear("other", start));
        let surplus = |quota: &mut Quota, now| -> Vec<u32> {
            (0..4).filter(|p| quota.is_surplus(*p, now)).collect()
        };
        assert_eq!(surplus(&mut quota, start), [2, 3]);
        quota.free(2);
        quota.free(3);
        assert!(!quota.reserve(2, start));
        assert!(quota.reserve(2, start + PATIENCE));
        quota.hear("other", start + PATIENCE);
        assert_eq!(surplus(&mut quota, start + PATIENCE), [2]);
        quota.forget("other");
        assert_eq!(surplus(&mut quota, start + PATIENCE), Vec::<u32>::new());
    }

    proptest! {
        /// Whoever joins and leaves: once everybody has heard everybody, all partitions are held and
        /// nobody holds more than the share.
        #[test]
        fn the_shares_cover_all_partitions(n_partitions in 1_u32..64, alive in prop::collection::vec(any::<bool>(), 1..8)) {
            let now = Instant::now();
            let names: Vec<String> = (0..alive.len()).map(|n| n.to_string()).collect();
            let n_alive = alive.iter().filter(|alive| **alive).count();
            prop_assume!(n_alive > 0);
            let mut quotas: Vec<(String, Quota)> = names
                .iter()
                .map(|name| (name.clone(), Quota::new(n_partitions, PATIENCE)))
                .collect();
            let mut free: BTreeSet<u32> = (0..n_partitions).collect();
            // The first one takes everything before it hears of the others.
            for partition in 0..n_partitions {
                quotas[0].1.reserve(partition, now);
                free.remove(&partition);
            }
            if !alive[0] {
                free = (0..n_partitions).collect();
            }
            for (index, (own, quota)) in quotas.iter_mut().enumerate() {
                for (name, _) in names.iter().zip(&alive).filter(|(_, alive)| **alive) {
                    if name != own {
                        quota.hear(name, now);
                    }
                }
                for partition in (0..n_partitions).rev() {
                    if alive[index] && quota.is_surplus(partition, now) {
                        quota.free(partition);
                        free.insert(partition);
                    }
                }
            }
            let mut n_held = 0;
            for ((_, quota), _) in quotas.iter_mut().zip(&alive).filter(|(_, alive)| **alive) {
                for partition in free.clone() {
                    if quota.reserve(partition, now) {
                        free.remove(&partition);
                    }
                }
                n_held += quota.held.len();
                prop_assert!(quota.held.len() <= quota.share(now));
            }
            prop_assert_eq!(n_held, usize::try_from(n_partitions).unwrap());
        }
    }
}
