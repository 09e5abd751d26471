//! One queue per ordering key, kept only while the key has deliveries. A key's next delivery starts
//! when the one before has ended; other keys flow on.

use crate::fault::{self, Promise};
use crate::shutdown::{Shutdown, Tasks};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What is done with each item, to its end.
pub(super) type Handler<T> = Arc<dyn Fn(T) -> BoxFuture<'static, ()> + Send + Sync>;

/// Lanes for items of type `T`, one for each key in use.
pub struct Lanes<K, T> {
    inner: Arc<Inner<K, T>>,
}

struct Inner<K, T> {
    waiting: Mutex<HashMap<K, VecDeque<T>>>,
    handler: Handler<T>,
    tasks: Tasks,
    shutdown: Shutdown,
}

impl<K, T> Lanes<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + 'static,
{
    /// Lanes whose items `handler` handles, each to its end. Once the shutdown has begun, items
    /// that were not begun are dropped: what they hold must give itself back.
    pub fn new(tasks: Tasks, shutdown: Shutdown, handler: Handler<T>) -> Self {
        let waiting = Mutex::new(HashMap::new());
        Self {
            inner: Arc::new(Inner {
                waiting,
                handler,
                tasks,
                shutdown,
            }),
        }
    }

    /// Queues `item` behind those of its key.
    pub fn push(&self, key: K, item: T) {
        if fault::breaks(Promise::Order) {
            let inner = self.inner.clone();
            self.inner
                .tasks
                .spawn(async move { inner.handle(item).await });
            return;
        }
        match self.inner.waiting.lock().entry(key.clone()) {
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(item);
                return;
            }
            Entry::Vacant(lane) => drop(lane.insert(VecDeque::new())),
        }
        let inner = self.inner.clone();
        self.inner
            .tasks
            .spawn(async move { inner.empty(key, item).await });
    }

    /// How many keys are at work.
    #[must_use]
    pub fn n_keys(&self) -> usize {
        self.inner.waiting.lock().len()
    }
}

impl<K: Eq + Hash, T> Inner<K, T> {
    /// Handles a key's items until none is left.
    async fn empty(&self, key: K, first: T) {
        let mut next = Some(first);
        while let Some(item) = next {
            self.handle(item).await;
            let mut waiting = self.waiting.lock();
            next = waiting.get_mut(&key).and_then(VecDeque::pop_front);
            if next.is_none() {
                waiting.remove(&key);
            }
        }
    }
}

impl<K, T> Inner<K, T> {
    async fn handle(&self, item: T) {
        if self.shutdown.has_begun() {
            return;
        }
        // What the item holds gives itself back; the key must go on.
        let handled = AssertUnwindSafe((self.handler)(item)).catch_unwind().await;
        if handled.is_err() {
            tracing::error!("handling an event panicked: it is given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    type Seen = Arc<Mutex<BTreeMap<u8, Vec<(usize, bool)>>>>;

    /// Records the beginning and the end of each item, with as many pauses between as `yields`.
    fn recording(seen: Seen) -> Handler<(u8, usize, u8)> {
        Arc::new(move |(key, index, yields)| {
            let seen = seen.clone();
            async move {
                seen.lock().entry(key).or_default().push((index, false));
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                seen.lock().entry(key).or_default().push((index, true));
            }
            .boxed()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_key_is_in_order_and_alone_under_any_interleaving(
            items in prop::collection::vec((0_u8..6, 0_u8..5, 0_u8..3), 0..80),
            workers in 1_usize..4,
        ) {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(workers)
                .enable_time()
                .build()
                .unwrap();
            let seen: Seen = Arc::default();
            let n_left = runtime.block_on(async {
                let tasks = Tasks::new();
                let lanes = Lanes::new(tasks.clone(), Shutdown::new(), recording(seen.clone()));
                for (index, (key, yields, pauses)) in items.iter().enumerate() {
                    lanes.push(*key, (*key, index, *yields));
                    for _ in 0..*pauses {
                        tokio::task::yield_now().await;
                    }
                }
                assert!(tasks.finish(Duration::from_secs(10)).await);
                lanes.n_keys()
            });
            prop_assert_eq!(n_left, 0);
            let mut expected: BTreeMap<u8, Vec<(usize, bool)>> = BTreeMap::new();
            for (index, (key, ..)) in items.iter().enumerate() {
                expected.entry(*key).or_default().extend([(index, false), (index, true)]);
            }
            prop_assert_eq!(&*seen.lock(), &expected);
        }
    }

    #[tokio::test]
    async fn one_slow_key_does_not_hold_the_others() {
        let (tasks, seen): (_, Seen) = (Tasks::new(), Arc::default());
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let (inner_gate, inner_seen) = (gate.clone(), seen.clone());
        let lanes = Lanes::new(
            tasks.clone(),
            Shutdown::new(),
            Arc::new(move |key: u8| {
                let (gate, seen) = (inner_gate.clone(), inner_seen.clone());
                async move {
                    if key == 0 {
                        drop(gate.acquire().await);
                    }
                    seen.lock().entry(key).or_default().push((0, true));
                }
                .boxed()
            }),
        );
        for key in [0, 0, 1, 2] {
            lanes.push(key, key);
        }
        while seen.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!seen.lock().contains_key(&0));
        gate.add_permits(1);
        assert!(tasks.finish(Duration::from_secs(10)).await);
        assert_eq!(seen.lock()[&0].len(), 2);
    }

    #[tokio::test]
    async fn a_panic_does_not_stop_the_key() {
        let (tasks, seen): (_, Seen) = (Tasks::new(), Arc::default());
        let inner = recording(seen.clone());
        let handler: Handler<(u8, usize, u8)> = Arc::new(move |item| {
            let inner = inner.clone();
            async move {
                assert!(item.1 != 0, "the first item is one too many");
                inner(item).await;
            }
            .boxed()
        });
        let lanes = Lanes::new(tasks.clone(), Shutdown::new(), handler);
        lanes.push(1, (1, 0, 0));
        lanes.push(1, (1, 1, 0));
        assert!(tasks.finish(Duration::from_secs(10)).await);
        assert_eq!(seen.lock()[&1], vec![(1, false), (1, true)]);
    }

    #[tokio::test]
    async fn what_was_not_begun_is_dropped_at_shutdown() {
        let (tasks, shutdown, seen): (_, _, Seen) = (Tasks::new(), Shutdown::new(), Arc::default());
        let (inner_shutdown, handler) = (shutdown.clone(), recording(seen.clone()));
        let lanes = Lanes::new(
            tasks.clone(),
            shutdown,
            Arc::new(move |item| {
                inner_shutdown.begin();
                handler(item)
            }),
        );
        lanes.push(1, (1, 0, 0));
        lanes.push(1, (1, 1, 0));
        assert!(tasks.finish(Duration::from_secs(10)).await);
        assert_eq!(seen.lock()[&1], vec![(0, false), (0, true)]);
    }
}
