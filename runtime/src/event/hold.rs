//! Events that hold their ordering key: one that failed for good, and those that wait behind it.

use super::key::OrderingKey;
use serde::{Deserialize, Serialize};

/// Where a copy of an event stands among those of its key: later ones have greater positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// The ordering key.
    pub key: OrderingKey,
    /// See [`super::Origin::stream_created`].
    pub stream_created: u64,
    /// Position in the source stream.
    pub sequence: u64,
}

/// A stored letter that holds its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which copy of an event it is about.
    pub rank: Rank,
    /// Its position on the stream of dead letters.
    pub letter: u64,
    /// How often its event had been replayed.
    pub generation: u32,
    /// Whether the event failed at nothing and merely waits for one before it.
    pub waits: bool,
}

impl Rank {
    /// What orders the events of one key.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        (self.stream_created, self.sequence)
    }
}
