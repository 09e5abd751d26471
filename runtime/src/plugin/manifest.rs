//! What a plugin says of itself.

use crate::event::TypePattern;
use serde::{Deserialize, Serialize};

/// What `describe` returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The plugin's own name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub description: String,
    /// Event types handled, `*` allowed at the end; empty: all.
    pub accepts: Vec<String>,
    /// Targets that it names in effects.
    pub targets: Vec<String>,
    /// Targets that it reads.
    pub lookups: Vec<String>,
    /// Secrets that it asks for.
    pub secrets: Vec<String>,
    /// Other capabilities wanted.
    pub capabilities: Vec<String>,
    /// JSON Schema of its configuration.
    pub config_schema: Option<String>,
    /// Room to grow.
    pub attributes: Vec<(String, String)>,
}

impl Manifest {
    /// Whether events of this type are its business; others pass by untouched.
    #[must_use]
    pub fn accepts(&self, kind: &str) -> bool {
        self.accepts.is_empty()
            || self
                .accepts
                .iter()
                .any(|pattern| TypePattern::new(pattern.as_str()).matches(kind))
    }

    /// The targets it names in effects, without the contract's major version.
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .map(|name| name.split('@').next().unwrap_or(name))
    }
}
