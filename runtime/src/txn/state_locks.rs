//! Which state keys a plan is being applied for: a plan that changes a key and one that rests on it go one after the
//! other, so that the second sees before its effects that the first has changed the key. Plans that only
//! read a key do not wait for each other.

use crate::event::Plan;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The state keys in use in one pipeline.
#[derive(Default)]
pub(super) struct StateLocks {
    by_key: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// The right to change some keys and to rest on others, until dropped.
pub(super) struct StateGuard<'a> {
    locks: &'a StateLocks,
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

impl StateLocks {
    /// Waits for every key that `plan` reads or writes. All plans take theirs in the same order.
    pub(super) async fn acquire(&self, plan: &Plan) -> StateGuard<'_> {
        let written: BTreeSet<&String> = plan.writes.iter().map(|write| &write.key).collect();
        let reads = plan.reads.iter().map(|read| &read.key);
        let keys: BTreeSet<&String> = reads.chain(written.iter().copied()).collect();
        let mut guard = StateGuard {
            locks: self,
            held: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let lock = self.by_key.lock().entry(key.clone()).or_default().clone();
            let held = match written.contains(key) {
                true => Held::Alone(lock.write_owned().await),
                false => Held::Shared(lock.read_owned().await),
            };
            guard.held.push((key.clone(), held));
        }
        guard
    }
}

impl Drop for StateGuard<'_> {
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
    use super::*;
    use crate::event::{StateRead, StateWrite};

    /// A plan that reads these keys and writes those.
    fn plan(reads: &[&str], writes: &[&str]) -> Plan {
        let reads = reads.iter().map(|key| StateRead {
            key: (*key).to_owned(),
            revision: 0,
        });
        let writes = writes.iter().map(|key| StateWrite {
            key: (*key).to_owned(),
            revision: None,
            value: None,
            ttl: None,
        });
        Plan {
            reads: reads.collect(),
            writes: writes.collect(),
            ..Plan::default()
        }
    }

    #[tokio::test]
    async fn a_plan_that_changes_what_another_rests_on_comes_after_it() {
        let pairs = [
            (plan(&[], &["a", "b"]), plan(&[], &["b", "c"])),
            (plan(&["a", "b"], &[]), plan(&["b"], &["b"])),
            (plan(&["b"], &["b"]), plan(&["b"], &["c"])),
        ];
        for (first, second) in pairs {
            let locks = StateLocks::default();
            let first = locks.acquire(&first).await;
            let mut waiting = Box::pin(locks.acquire(&second));
            assert!(futures::poll!(&mut waiting).is_pending());
            drop(locks.acquire(&plan(&["d"], &["d"])).await);
            drop(first);
            drop(waiting.await);
            assert!(locks.by_key.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn plans_that_only_read_a_key_do_not_wait_for_each_other() {
        let locks = StateLocks::default();
        let first = locks.acquire(&plan(&["a", "b"], &["b"])).await;
        drop(locks.acquire(&plan(&["a"], &["c"])).await);
        drop(first);
        assert!(locks.by_key.lock().is_empty());
    }
}
