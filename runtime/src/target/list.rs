//! Entities that are listed: page after page, each from where the one before it ended.

use super::{Found, ReadError};
use std::fmt;

/// The most entities of one page.
pub const LARGEST_PAGE: usize = 1_000;
/// Bytes of entities after which a page ends.
pub(super) const BYTES: usize = 4 * 1024 * 1024;

/// Where a page ended: a text that only the target itself makes sense of, and that a URL can hold as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(String);

impl Position {
    /// One that was told before. Whether it is one is for the target to say.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why the target can go on from nowhere.
    pub(super) fn unknown(&self) -> ReadError {
        let text: String = self.0.chars().take(40).collect();
        ReadError::Invalid(format!(
            "`{}` is no position of a list of this target: begin the list anew",
            text.escape_debug()
        ))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The kind of entity; none: whatever there is.
    pub entity: Option<&'a str>,
    /// What their keys begin with.
    pub prefix: &'a str,
    /// Where the page before this one ended; none: this is the first.
    pub after: Option<&'a Position>,
    /// The most entities of the page; it has one at least, and [`LARGEST_PAGE`] at most.
    pub limit: usize,
}

impl Wanted<'_> {
    pub(super) fn limit(&self) -> usize {
        self.limit.clamp(1, LARGEST_PAGE)
    }
}

/// An entity of a list. [`super::Target::read`] finds it by its kind and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its kind, where the target holds it apart from the key.
    pub entity: Option<String>,
    /// Its key.
    pub key: String,
    /// The entity.
    pub found: Found,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Some entities, perhaps none.
    pub entities: Vec<Listed>,
    /// Where the next page begins; none: there is no more. A page with fewer entities than were asked for is
    /// not the last one because of that.
    pub next: Option<Position>,
    /// What lies there under names that no key has: others put it there, and it cannot be read.
    pub n_nameless: u64,
}
