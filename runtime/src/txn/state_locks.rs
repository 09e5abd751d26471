//! Which state keys a plan is being applied for: a plan that changes a key and one that rests on it go one after the
//! other, so that the second sees before its effects that the first has changed the key. Plans that only
//! read a key do not wait for each other.

use crate::event::Plan;
use crate::key_locks::{KeyGuard, KeyLocks, Use};

/// The state keys in use in one pipeline.
#[derive(Default)]
pub(super) struct StateLocks {
    locks: KeyLocks,
}

/// The right to change some keys and to rest on others, until dropped.
pub(super) type StateGuard<'a> = KeyGuard<'a>;

impl StateLocks {
    /// Waits for every key that `plan` reads or writes.
    pub(super) async fn acquire(&self, plan: &Plan) -> StateGuard<'_> {
        let reads = plan
            .reads
            .iter()
            .map(|read| (read.key.clone(), Use::Shared));
        let writes = plan
            .writes
            .iter()
            .map(|write| (write.key.clone(), Use::Alone));
        self.locks.acquire(reads.chain(writes)).await
    }
}
