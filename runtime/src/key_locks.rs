//! Who may use which keys: users that change a key have it alone, users that only rest on it share it.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The keys in use.
#[derive(Default)]
pub(crate) struct KeyLocks {
    by_key: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// How a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// Together with others who only rest on it.
    Shared,
    /// By nobody else.
    Alone,
}

/// The right to use some keys, until dropped.
pub(crate) struct KeyGuard<'a> {
    locks: &'a KeyLocks,
    held: Vec<(String, Held)>,
}

enum Held {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Held {
    fn release(self) {
        match self {
            Self::Shared(guard) => drop(guard),
            Self::Alone(guard) => drop(guard),
        }
    }
}

impl KeyLocks {
    /// Waits for every key. A key that is named twice is used as its widest use says. Everybody takes theirs in the
    /// same order, so that two never wait for each other.
    pub(crate) async fn acquire(
        &self,
        keys: impl IntoIterator<Item = (String, Use)>,
    ) -> KeyGuard<'_> {
        let mut wanted: BTreeMap<String, Use> = BTreeMap::new();
        for (key, its) in keys {
            let known = wanted.entry(key).or_insert(its);
            *known = (*known).max(its);
        }
        let mut guard = KeyGuard {
            locks: self,
            held: Vec::with_capacity(wanted.len()),
        };
        for (key, its) in wanted {
            let lock = self.by_key.lock().entry(key.clone()).or_default().clone();
            let held = match its {
                Use::Alone => Held::Alone(lock.write_owned().await),
                Use::Shared => Held::Shared(lock.read_owned().await),
            };
            guard.held.push((key, held));
        }
        guard
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        let mut by_key = self.locks.by_key.lock();
        for (key, held) in self.held.drain(..) {
            held.release();
            // The table's own reference alone: nobody waits.
            if by_key
                .get(&key)
                .is_some_and(|lock| Arc::strong_count(lock) == 1)
            {
                by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Use::{Alone, Shared};
    use super::*;

    fn keys(uses: &[(&str, Use)]) -> Vec<(String, Use)> {
        uses.iter()
            .map(|(key, its)| ((*key).to_owned(), *its))
            .collect()
    }

    #[tokio::test]
    async fn who_changes_what_another_uses_comes_after_it() {
        let pairs = [
            (vec![("a", Alone), ("b", Alone)], vec![("b", Alone)]),
            (vec![("a", Shared), ("b", Shared)], vec![("b", Alone)]),
            (vec![("b", Alone)], vec![("b", Shared), ("c", Alone)]),
            (vec![("b", Shared), ("b", Alone)], vec![("b", Shared)]),
            (vec![("b", Alone), ("b", Shared)], vec![("b", Shared)]),
        ];
        for (first, second) in pairs {
            let locks = KeyLocks::default();
            let first = locks.acquire(keys(&first)).await;
            let mut waiting = Box::pin(locks.acquire(keys(&second)));
            assert!(futures::poll!(&mut waiting).is_pending());
            drop(locks.acquire(keys(&[("d", Alone)])).await);
            drop(first);
            drop(waiting.await);
            assert!(locks.by_key.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn who_only_rests_on_a_key_does_not_wait_for_others_who_do() {
        let locks = KeyLocks::default();
        let first = locks.acquire(keys(&[("a", Shared), ("b", Alone)])).await;
        drop(locks.acquire(keys(&[("a", Shared), ("c", Alone)])).await);
        drop(first);
        assert!(locks.by_key.lock().is_empty());
    }
}
