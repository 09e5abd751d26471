//! How a target can take part in a transaction: when its effects can be seen, and whether they can be
//! taken back.

/// How a target takes part in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Participation {
    /// Its effects are written together with the decision: nobody sees them before.
    InDecision,
    /// Its effects are written after the decision and cannot be refused then.
    Deferred,
    /// Its effects are checked and held back until they are committed or aborted.
    Preparable,
    /// One transaction of its own takes them all, at once: alone, or as the last one.
    LocalOnly,
    /// Its effects are seen at once and can be taken back.
    Undoable(Strength),
    /// What it did cannot be taken back: it comes after the decision.
    Irrevocable,
}

/// How surely a target's effects can be told from those of others and taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strength {
    /// Only by comparing what is there: whoever writes in between is not noticed for certain.
    Compared,
    /// By versions that never come again.
    Versioned,
    /// By versions, and a request that is sent again is known by its key.
    Keyed,
}
