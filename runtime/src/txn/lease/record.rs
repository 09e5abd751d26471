//! What lies on the stream `TX` for a lease.

use super::takeovers::Takeovers;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The sign of life of an owner, on `tx.hb.PIPELINE.P`. Whoever replaces it owns the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    pub(super) owner: String,
    /// Of the ownership; it only grows.
    pub(super) epoch: u64,
    /// The server that the owner is connected to.
    pub(super) server: String,
    /// Whether the owner has given the lease up.
    #[serde(default)]
    pub(super) released: bool,
}

/// Who was the last to take the lease over, on `tx.lease.PIPELINE.P`. Written at takeovers only, so
/// that writes of an owner can be made on the condition that it was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    pub(super) owner: String,
    pub(super) epoch: u64,
    /// The takeovers before this one.
    #[serde(default)]
    pub(super) before: Takeovers,
}

impl LeaseRecord {
    /// The takeovers up to this one, where the record lies at `position`.
    pub(super) fn takeovers_at(self, position: u64) -> Takeovers {
        let mut takeovers = self.before;
        takeovers.add(self.epoch, position);
        takeovers
    }
}

/// One share of a pipeline's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) pipeline: String,
    pub(super) partition: u32,
}

/// Heartbeats that nobody needs any more go by themselves, long after their owner may act.
const HEARTBEATS_KEPT: u32 = 12;
const LEAST_KEPT: Duration = Duration::from_secs(60);

impl Share {
    pub(super) fn heartbeats(&self) -> String {
        format!("tx.hb.{}.{}", self.pipeline, self.partition)
    }

    pub(super) fn lease(&self) -> String {
        format!("{LEASES}{}.{}", self.pipeline, self.partition)
    }

    /// Where a release is announced, so that nobody waits longer than needed.
    pub(super) fn releases(&self) -> String {
        format!("syncline.released.{}.{}", self.pipeline, self.partition)
    }

    /// The share that a subject of [`Share::lease`] names.
    pub(super) fn of_lease(subject: &str) -> Option<Self> {
        let (pipeline, partition) = subject.strip_prefix(LEASES)?.split_once('.')?;
        Some(Self {
            pipeline: pipeline.to_owned(),
            partition: partition.parse().ok()?,
        })
    }
}

/// What the subjects of lease records begin with.
pub(super) const LEASES: &str = "tx.lease.";

/// How long a heartbeat is kept.
pub(super) fn kept(lease: Duration) -> Duration {
    (lease * HEARTBEATS_KEPT).max(LEAST_KEPT)
}
