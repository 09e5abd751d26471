//! Up to where on the stream of decisions everything that was decided has been done. Pure.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The decisions of one tenure that are on their way.
#[derive(Debug, Default)]
pub(super) struct Floor {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The highest position at which a decision is known to lie.
    reached: u64,
    /// How many decisions are on their way that lie somewhere after a position.
    open: BTreeMap<u64, usize>,
}

/// A decision on its way. It stays open until it is said to be done, also when it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Open {
    after: u64,
}

impl Floor {
    /// Begins at `reached`: everything up to there has been done.
    pub(super) fn begin_at(&self, reached: u64) {
        let mut inner = self.inner.lock();
        inner.reached = inner.reached.max(reached);
    }

    /// A decision is about to be written. Wherever it will lie, it is after all that is known now.
    pub(super) fn open(&self) -> Open {
        let mut inner = self.inner.lock();
        let after = inner.reached;
        *inner.open.entry(after).or_default() += 1;
        Open { after }
    }

    /// It was written at `position`.
    pub(super) fn note(&self, position: u64) {
        self.begin_at(position);
    }

    /// All of it is done, or it never came to be.
    pub(super) fn close(&self, open: &Open) {
        let mut inner = self.inner.lock();
        if let Some(n_open) = inner.open.get_mut(&open.after) {
            *n_open -= 1;
            if *n_open == 0 {
                inner.open.remove(&open.after);
            }
        }
    }

    /// Everything that lies at this position or before has been done.
    pub(super) fn position(&self) -> u64 {
        let inner = self.inner.lock();
        let lowest = inner.open.first_key_value().map(|(after, _)| *after);
        lowest.unwrap_or(inner.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_floor_waits_for_the_earliest_decision() {
        let floor = Floor::default();
        floor.begin_at(10);
        let first = floor.open();
        let second = floor.open();
        floor.note(11);
        floor.note(12);
        floor.close(&second);
        assert_eq!(floor.position(), 10);
        floor.close(&first);
        assert_eq!(floor.position(), 12);
    }

    proptest! {
        /// Decisions are written one after the other, their answers come in any order, and they end in
        /// any order: none that is not done lies at the floor or before.
        #[test]
        fn nothing_undone_lies_at_the_floor_or_before(steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..200)) {
            let floor = Floor::default();
            let mut written = 0;
            let mut waiting: Vec<(Open, u64)> = Vec::new();
            let mut undone: Vec<(Open, u64)> = Vec::new();
            for (step, index) in steps {
                match step {
                    0 => {
                        let open = floor.open();
                        written += 1;
                        waiting.push((open, written));
                    }
                    1 if !waiting.is_empty() => {
                        let (open, position) = waiting.remove(index.index(waiting.len()));
                        floor.note(position);
                        undone.push((open, position));
                    }
                    2 if !undone.is_empty() => {
                        let (open, _) = undone.remove(index.index(undone.len()));
                        floor.close(&open);
                    }
                    _ => {}
                }
                let open = waiting.iter().chain(&undone).map(|(_, position)| *position);
                prop_assert!(open.min().is_none_or(|lowest| floor.position() < lowest));
            }
        }
    }
}
