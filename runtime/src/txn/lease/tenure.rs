//! The right to act while a lease is held.

use super::presence::Presence;
use super::takeovers::Takeovers;
use super::term::{Moment, Term};
use crate::shutdown::Shutdown;
use crate::txn::progress::Progress;
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a release may take; whoever waits for it finds out by itself otherwise.
const RELEASE: Duration = Duration::from_secs(2);

/// The right to handle events, from the takeover of a lease to its end. Clones share it.
#[derive(Clone)]
pub struct Tenure {
    inner: Arc<Inner>,
}

struct Inner {
    shutdown: Shutdown,
    /// None where no lease is needed.
    right: Option<Arc<Right>>,
}

/// What the keeper of a lease and those who act under it share.
pub(super) struct Right {
    pub(super) epoch: u64,
    partition: u32,
    progress: Progress,
    pub(super) lease: Duration,
    takeovers: Takeovers,
    term: RwLock<Term>,
    changed: watch::Sender<()>,
    presence: Arc<Presence>,
    /// Ends the work under the lease.
    shutdown: Shutdown,
    /// Begun when the lease is to be released, or nobody is left who could act.
    pub(super) leaving: Shutdown,
    /// Begun when it was.
    pub(super) left: Shutdown,
}

impl Tenure {
    /// Of a source that needs no lease, until `shutdown`.
    #[must_use]
    pub fn unleased(shutdown: Shutdown) -> Self {
        let right = None;
        Self {
            inner: Arc::new(Inner { shutdown, right }),
        }
    }

    pub(super) fn new(right: Arc<Right>) -> Self {
        let inner = Inner {
            shutdown: right.shutdown.clone(),
            right: Some(right),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Ends the work under this tenure: with the runtime, or when the lease is lost.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// How often the lease had been taken, this time included; none where there is no lease.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.inner.right.as_ref().map(|right| right.epoch)
    }

    /// The time of the lease; none where there is none.
    pub(in crate::txn) fn lease(&self) -> Option<Duration> {
        self.inner.right.as_ref().map(|right| right.lease)
    }

    /// Whether what the owner of `epoch` wrote at `position` of the stream of leases came after another had taken
    /// over from it. Who wrote it finds its right gone once it knows that it is written.
    pub(in crate::txn) fn came_late(&self, epoch: u64, position: u64) -> bool {
        let right = self.inner.right.as_ref();
        right.is_some_and(|right| right.takeovers.precede(epoch, position))
    }

    /// Which share of the pipeline's events it is about, and how far their decisions were carried out;
    /// none where there is no lease.
    pub(in crate::txn) fn progress(&self) -> Option<(u32, &Progress)> {
        let right = self.inner.right.as_deref()?;
        Some((right.partition, &right.progress))
    }

    /// Whether it is allowed to act now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.inner.right.as_ref().is_none_or(|right| right.holds())
    }

    /// Whether it never will be again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let ended = |right: &Arc<Right>| right.term.read().has_ended();
        self.inner.right.as_ref().is_some_and(ended)
    }

    /// Waits until it is allowed to act; false when it will not be, or the shutdown begins while
    /// that is uncertain.
    pub async fn held(&self) -> bool {
        let Some(right) = self.inner.right.as_ref().filter(|right| !right.holds()) else {
            return true;
        };
        let mut changed = right.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if right.holds() {
                return true;
            }
            if self.has_ended() || self.shutdown().has_begun() {
                return false;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = self.shutdown().begun() => {}
            }
        }
    }

    /// Lets go of the lease: nothing is done under it any more. Others need not wait where it is
    /// `released`, which it must not be while something is still under way.
    pub async fn end(&self, released: bool) {
        let Some(right) = &self.inner.right else {
            return;
        };
        let was_lost = self.has_ended();
        right.end();
        if released && !was_lost {
            right.leaving.begin();
            // Not known to have left: then its heartbeats stop.
            drop(tokio::time::timeout(RELEASE, right.left.begun()).await);
        } else {
            right.left.begin();
            right.leaving.begin();
        }
    }
}

impl Right {
    pub(super) fn new(
        (partition, epoch): (u32, u64),
        (lease, takeovers): (Duration, Takeovers),
        presence: Arc<Presence>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            epoch,
            partition,
            progress: Progress::default(),
            lease,
            takeovers,
            term: RwLock::default(),
            changed: watch::Sender::new(()),
            presence,
            shutdown,
            leaving: Shutdown::new(),
            left: Shutdown::new(),
        }
    }

    fn holds(&self) -> bool {
        let Some(connection) = self.presence.connection() else {
            return false;
        };
        self.term.read().holds(Moment::now(), connection)
    }

    pub(super) fn confirm(&self, sent: Moment, connection: u64) {
        self.term.write().confirm(sent, self.lease, connection);
        self.changed.send_replace(());
    }

    /// Somebody else has it.
    pub(super) fn lose(&self) {
        self.end();
        self.shutdown.begin();
    }

    fn end(&self) {
        self.term.write().end();
        self.changed.send_replace(());
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        // Whoever could act under it is gone.
        self.leaving.begin();
    }
}
