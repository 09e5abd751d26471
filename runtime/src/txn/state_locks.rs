//! Which state keys a plan is being applied for: two plans that rest on one key go one after the
//! other, so that the second sees before its effects that the first has changed the key.

use crate::event::Plan;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The state keys in use in one pipeline.
#[derive(Default)]
pub(super) struct StateLocks {
    by_key: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// The right to change some keys, until dropped.
pub(super) struct StateGuard<'a> {
    locks: &'a StateLocks,
    held: Vec<(String, OwnedMutexGuard<()>)>,
}

impl StateLocks {
    /// Waits for every key that `plan` reads or writes. All plans take theirs in the same order.
    pub(super) async fn acquire(&self, plan: &Plan) -> StateGuard<'_> {
        let reads = plan.reads.iter().map(|read| &read.key);
        let keys: BTreeSet<&String> = reads
            .chain(plan.writes.iter().map(|write| &write.key))
            .collect();
        let mut guard = StateGuard {
            locks: self,
            held: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let lock = self.by_key.lock().entry(key.clone()).or_default().clone();
            guard.held.push((key.clone(), lock.lock_owned().await));
        }
        guard
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        let mut by_key = self.locks.by_key.lock();
        for (key, held) in self.held.drain(..) {
            drop(held);
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
    use crate::event::StateRead;

    fn plan(keys: &[&str]) -> Plan {
        let reads = keys.iter().map(|key| StateRead {
            key: (*key).to_owned(),
            revision: 0,
        });
        Plan {
            reads: reads.collect(),
            ..Plan::default()
        }
    }

    #[tokio::test]
    async fn plans_that_share_a_key_go_one_after_the_other() {
        let locks = StateLocks::default();
        let first = locks.acquire(&plan(&["a", "b"])).await;
        let second = plan(&["b", "c"]);
        let mut waiting = Box::pin(locks.acquire(&second));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(locks.acquire(&plan(&["d"])).await);
        drop(first);
        drop(waiting.await);
        assert!(locks.by_key.lock().is_empty());
    }
}
