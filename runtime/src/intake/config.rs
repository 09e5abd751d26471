//! Where a pipeline's events come from.

use super::partitions::{Partition, PartitionBy, Partitions};
use super::sharing;
use crate::event::{KeySpec, SubjectPattern};
use crate::provision::{Create, Provision};
use std::time::Duration;

/// The settings of one pipeline's intake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The pipeline, for names and messages.
    pub pipeline: String,
    /// Where events come from.
    pub source: Source,
    /// What they are ordered by.
    pub key: KeySpec,
    /// Events that may be in flight at once: pulled and not settled.
    pub max_events: usize,
    /// Bytes of messages that may be in flight at once.
    pub max_bytes: u64,
    /// Longest payload that is taken; longer ones become dead letters.
    pub max_payload: u64,
    /// How long the server waits for an answer or a sign of life.
    pub ack_wait: Duration,
    /// How its stream is made.
    pub provision: Provision,
    /// How long whoever takes the events may give no sign of life before another runtime takes over;
    /// none: several may take them side by side.
    pub lease: Option<Duration>,
    /// How the events are shared out over runtimes; none: they are not.
    pub partitions: Option<Partitions>,
    /// Which of the partitions is meant; none: all of them.
    pub partition: Option<Partition>,
}

impl Config {
    /// How many partitions there are: one at least.
    #[must_use]
    pub fn n_partitions(&self) -> u32 {
        self.partitions
            .as_ref()
            .map_or(1, |partitions| partitions.count)
    }

    /// How many leases its events are worked on under: one for each partition, and the last for
    /// whoever writes them to their partitions, where the server does not.
    #[must_use]
    pub fn n_shares(&self) -> u32 {
        let is_by_key = |partitions: &Partitions| partitions.by == PartitionBy::Key;
        let more = self.partitions.as_ref().is_some_and(is_by_key);
        self.n_partitions() + u32::from(more)
    }

    /// Whether these are the settings of whoever writes events to their partitions.
    #[must_use]
    pub fn shares_out(&self) -> bool {
        self.partition.is_none() && self.n_shares() > self.n_partitions()
    }

    /// The settings of one share's intake.
    #[must_use]
    pub fn of_share(&self, number: u32) -> Self {
        sharing::of_share(self, number)
    }
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A durable pull consumer on a stream.
    JetStream {
        /// The stream.
        stream: String,
        /// Which of its subjects; empty: all.
        subjects: Vec<SubjectPattern>,
        /// What becomes of a missing stream or consumer.
        create: Create,
        /// The consumer's durable name.
        durable: String,
    },
    /// A core NATS subscription: no redelivery, what is lost is lost.
    Core {
        /// The subject.
        subject: SubjectPattern,
        /// The queue group that shares it.
        queue: Option<String>,
        /// Whether whoever sent a request is told how its event ended.
        reply: bool,
        /// Messages that may wait before they are begun; more are thrown away.
        pending: usize,
    },
}

impl Source {
    /// Whether it is a stream, which keeps what was not answered for.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::JetStream { .. })
    }
}
