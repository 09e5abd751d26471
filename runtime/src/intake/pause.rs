//! The wish that a pipeline takes no new events, and how far it is followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Whether the pipeline is to be paused. Clones share it.
#[derive(Debug, Clone)]
pub struct Pause {
    wished: watch::Receiver<bool>,
    n_held: Arc<AtomicUsize>,
    /// Sources that are at work.
    n_sources: Arc<AtomicUsize>,
}

/// A source that takes nothing, as long as this lives.
pub(super) struct Held(Arc<AtomicUsize>);

impl Pause {
    /// Follows what `wished` says.
    #[must_use]
    pub fn new(wished: watch::Receiver<bool>) -> Self {
        Self {
            wished,
            n_held: Arc::default(),
            n_sources: Arc::default(),
        }
    }

    /// Whether it is to be paused.
    #[must_use]
    pub fn is_wished(&self) -> bool {
        *self.wished.borrow()
    }

    /// Whether no source takes anything.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.n_held.load(Ordering::Acquire) >= self.n_sources.load(Ordering::Acquire)
    }

    /// Waits until it is to be paused, or is not any more.
    pub(super) async fn until(&self, paused: bool) {
        let mut wished = self.wished.clone();
        let changed = wished.wait_for(|wished| *wished == paused).await.is_ok();
        if !changed {
            // Nobody is left who could wish.
            std::future::pending::<()>().await;
        }
    }

    /// Says that a source takes nothing.
    pub(super) fn hold(&self) -> Held {
        self.n_held.fetch_add(1, Ordering::AcqRel);
        Held(self.n_held.clone())
    }

    /// Counts a source as at work, until what is given back is dropped.
    pub(super) fn work(&self) -> Held {
        self.n_sources.fetch_add(1, Ordering::AcqRel);
        Held(self.n_sources.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
