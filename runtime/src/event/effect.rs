//! One change to one target.

use super::headers::Headers;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an effect does to the entity at its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Create or replace it.
    Upsert,
    /// Merge into it (RFC 7396).
    Merge,
    /// Remove it.
    Delete,
    /// Add a record that has no identity.
    Append,
}

impl Operation {
    /// The operation's name in headers, cases and the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Merge => "merge",
            Self::Delete => "delete",
            Self::Append => "append",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What must hold of the entity when the effect is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precondition {
    /// It does not exist.
    Absent,
    /// It exists.
    Present,
    /// It is still the version that a lookup gave.
    Etag(String),
}

/// One change, as a plugin or a route asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The target; none: every target named in the pipeline's `to`.
    pub target: Option<String>,
    /// The kind of entity; none: the target's only kind.
    pub entity: Option<String>,
    /// What to do.
    pub operation: Operation,
    /// Which entity.
    pub key: String,
    /// What must hold.
    pub precondition: Option<Precondition>,
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// Headers for targets that are messages.
    pub headers: Headers,
    /// The entity's new content, the patch, or the record; empty for a delete.
    pub payload: Bytes,
}
