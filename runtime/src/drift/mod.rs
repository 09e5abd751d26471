//! Whether one target holds what another one says that it should, and what to change where it does not.
//!
//! Every entity of the one is told to a plugin as an event, whose effects say what the other should hold. What both sides
//! come to is spooled in parts that fit into memory, compared part by part, and whatever seems to differ is read afresh
//! from both sides before it is called a difference.

mod judge;
mod mapping;
mod repair;
mod scan;
mod spool;
mod telling;
mod value;

use crate::contract::Contract;
use crate::target::{ReadError, Target};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

pub use mapping::Mapping;
pub use repair::Repair;
pub use scan::Progress;
pub use telling::Telling;

/// A target with its name.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// The target.
    pub target: &'a Target,
}

/// What is compared with what.
pub struct Comparison<'a> {
    /// Whose entities are told.
    pub from: Side<'a>,
    /// The kind of entity that is told; none: whatever there is.
    pub entity: Option<String>,
    /// Who should hold what comes of them.
    pub onto: Side<'a>,
    /// The kinds that are looked at there; none: those that are written.
    pub into: Vec<String>,
    /// What that takes.
    pub contract: Option<Arc<Contract>>,
    /// What the entities are to become.
    pub mapping: Mapping,
    /// Where both sides are spooled.
    pub folder: PathBuf,
    /// How many differences are kept with their names.
    pub limit: usize,
    /// Changes what differs; none: nothing is changed.
    pub repair: Option<Repair>,
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many more entities were told to the plugin.
    Told(u64),
    /// So many more entities were read of the other side.
    Read(u64),
    /// So many more were compared.
    Compared(u64),
}

/// What differs about one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is not there.
    Missing,
    /// It is another one.
    Changed,
    /// It is there, and nothing says that it should be.
    Surplus,
    /// It cannot be told, or what comes of it cannot be held.
    Unfit,
}

/// What became of a difference that was to be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is gone.
    Repaired,
    /// Somebody changed the entity meanwhile, and what they wrote stands.
    Overtaken,
    /// The target did not take the change.
    Failed,
    /// It is left alone.
    Left,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub what: What,
    /// The kind of entity, where it is known by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Which one.
    pub key: String,
    /// Where in it, as JSON pointers, some of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// Why it cannot be held, or was not repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What became of it; none: it was not to be repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What a comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entities that were told.
    pub told: u64,
    /// Entities of the other side that were read.
    pub read: u64,
    /// Entities that are as they should be.
    pub same: u64,
    /// See [`What::Missing`].
    pub missing: u64,
    /// See [`What::Changed`].
    pub changed: u64,
    /// See [`What::Surplus`].
    pub surplus: u64,
    /// See [`What::Unfit`].
    pub unfit: u64,
    /// Records that are appended: they cannot be compared.
    pub records: u64,
    /// Effects on other targets.
    pub elsewhere: u64,
    /// Entities that the plugin was not asked about, as it accepts no events of their type.
    pub unseen: u64,
    /// What lies on either side under names that no key has.
    pub nameless: u64,
    /// See [`Outcome::Repaired`].
    pub repaired: u64,
    /// See [`Outcome::Overtaken`].
    pub overtaken: u64,
    /// See [`Outcome::Failed`].
    pub failed: u64,
    /// Differences, as many as were wanted.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether nothing differs any more.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.missing + self.changed + self.surplus + self.unfit == self.repaired
    }

    fn note(&mut self, difference: Difference, limit: usize) {
        let count = match difference.what {
            What::Missing => &mut self.missing,
            What::Changed => &mut self.changed,
            What::Surplus => &mut self.surplus,
            What::Unfit => &mut self.unfit,
        };
        *count += 1;
        match difference.outcome {
            Some(Outcome::Repaired) => self.repaired += 1,
            Some(Outcome::Overtaken) => self.overtaken += 1,
            Some(Outcome::Failed) => self.failed += 1,
            Some(Outcome::Left) | None => {}
        }
        if self.differences.len() < limit {
            self.differences.push(difference);
        }
    }
}

/// Why two targets could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// They never can be, as it was asked for.
    #[error("{0}")]
    Invalid(String),
    /// A target did not answer.
    #[error("{0}")]
    Unavailable(String),
    /// What was read could not be spooled.
    #[error("cannot spool what was read in `{folder}`: {cause}")]
    Spool {
        /// Where.
        folder: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl DriftError {
    fn of(side: &str, error: ReadError) -> Self {
        match error {
            ReadError::Invalid(fault) => Self::Invalid(format!("target `{side}`: {fault}")),
            ReadError::Unavailable(fault) => Self::Unavailable(format!("target `{side}`: {fault}")),
        }
    }
}
