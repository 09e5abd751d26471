//! One attempt at one event, as the plugins see it: their state, and the instances that used it.

use super::host::{Overlay, Reads};
use super::version::{Lease, Version};
use crate::event::{StateRead, StateWrite};
use std::sync::Arc;

/// What the plugins of one attempt have read and written. Dropped, it leaves no trace.
#[derive(Default)]
pub struct Session {
    overlays: Vec<(String, Overlay)>,
    /// What any of them has looked up: it is the same for all.
    reads: Reads,
    held: Held,
}

/// Instances that used state: used again only when their event was committed, since the memory of
/// a guest does not roll back.
#[derive(Default)]
pub struct Held {
    leases: Vec<(Arc<Version>, Lease)>,
}

impl Session {
    /// Nothing read, nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn take(&mut self, plugin: &str) -> Overlay {
        let found = self.overlays.iter().position(|(name, _)| name == plugin);
        found.map_or_else(Overlay::default, |index| self.overlays.swap_remove(index).1)
    }

    pub(super) fn put(&mut self, plugin: &str, overlay: Overlay) {
        if overlay.is_used() {
            self.overlays.push((plugin.to_owned(), overlay));
        }
    }

    pub(super) fn take_reads(&mut self) -> Reads {
        std::mem::take(&mut self.reads)
    }

    pub(super) fn put_reads(&mut self, reads: Reads) {
        self.reads = reads;
    }

    pub(super) fn hold(&mut self, version: Arc<Version>, lease: Lease) {
        self.held.leases.push((version, lease));
    }

    /// The instance of `version` that this event already holds: a second stage or branch waiting
    /// for another one could wait for ever.
    pub(super) fn reuse(&mut self, version: &Arc<Version>) -> Option<Lease> {
        let leases = &mut self.held.leases;
        let found = leases
            .iter()
            .position(|(held, _)| Arc::ptr_eq(held, version))?;
        Some(leases.swap_remove(found).1)
    }

    /// What was read and written, for the plan, and the instances to release when it is committed.
    #[must_use]
    pub fn into_plan(self) -> (Vec<StateRead>, Vec<StateWrite>, Held) {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (_, overlay) in self.overlays {
            let (read, written) = overlay.into_plan();
            reads.extend(read);
            writes.extend(written);
        }
        (reads, writes, self.held)
    }
}

impl Held {
    /// The event was committed: the instances may work again.
    pub fn release(self) {
        for (version, lease) in self.leases {
            version.give_back(lease);
        }
    }
}
