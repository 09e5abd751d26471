//! Changes that people and programs ask for: each is a transaction over any targets, like that of an event.
//!
//! One runtime at a time makes them (`clerk`; the others pass on what they are asked, `relay`), under a lease like that of a pipeline, so that changes of one
//! entity come in one order and what a runtime left unfinished is ended by the next. What is asked is known by
//! a name (`asked`), so that asking twice changes once.

mod asked;
mod clerk;
mod relay;

pub use asked::{Asked, Edit, Name};
pub use clerk::{Clerk, Parts};
pub use relay::Relay;

use serde::{Deserialize, Serialize};

/// Under which name transactions of changes are listed, in place of that of a pipeline.
pub const PIPELINE: &str = "_api";

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// All of it holds.
    Done,
    /// It was done before under the same name.
    Before,
    /// Something else was done before under the same name: nothing was changed.
    Reused,
    /// Something is not as the change needs it, at this target: nothing was changed.
    Conflict(String),
    /// A target will never take it: nothing was changed.
    Refused(String),
    /// Nothing was changed; later it may be.
    NotNow(String),
    /// It is being made, or was not; who asks again under the same name learns which.
    Unknown(String),
}
