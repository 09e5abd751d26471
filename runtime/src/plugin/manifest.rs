//! What a plugin says of itself.

use super::capability::AS_GRANTED;
use crate::event::TypePattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

    /// Whether it wants the capability.
    #[must_use]
    pub fn wants(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|name| name == capability)
    }

    /// The hosts that it sends HTTP requests to, as far as it knows them: its attributes called `http`.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let hosts = self.attributes.iter().filter(|(name, _)| name == "http");
        hosts.map(|(_, host)| host.as_str())
    }

    /// The targets it names in effects, without the contract's major version.
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .map(|name| name.split('@').next().unwrap_or(name))
    }

    /// The major versions of `target`'s contract that its effects are written for; none: it does not
    /// say.
    #[must_use]
    pub fn versions_of(&self, target: &str) -> Vec<u32> {
        let named = self
            .targets
            .iter()
            .filter_map(|named| named.split_once('@'));
        let of_it = named.filter(|(name, _)| *name == target);
        of_it
            .filter_map(|(_, version)| version.parse().ok())
            .collect()
    }

    /// Every target that it names with a version, written or read.
    #[must_use]
    pub fn versions(&self) -> BTreeSet<(String, u32)> {
        let named = self.targets.iter().chain(&self.lookups);
        let versions = named.filter_map(|named| {
            let (target, version) = named.split_once('@')?;
            Some((target.to_owned(), version.parse().ok()?))
        });
        versions.collect()
    }

    /// The target with the version of its contract that it reads, as in `crm@1`; without one, it reads what is
    /// held.
    #[must_use]
    pub fn reads(&self, target: &str) -> Option<&str> {
        let is_meant = |named: &&String| {
            named
                .split_once('@')
                .is_some_and(|(name, _)| name == target)
        };
        self.lookups.iter().find(is_meant).map(String::as_str)
    }

    /// The targets it reads, without the contract's major version.
    pub fn lookup_names(&self) -> impl Iterator<Item = &str> {
        let names = self.lookups.iter();
        names.map(|name| name.split('@').next().unwrap_or(name))
    }

    /// A target that it names with something that is no version.
    #[must_use]
    pub fn wrong_version(&self) -> Option<&str> {
        let is_wrong = |named: &&String| {
            named.split_once('@').is_some_and(|(name, version)| {
                let number: Option<u32> = version.parse().ok();
                name == AS_GRANTED || number.is_none_or(|number| number == 0)
            })
        };
        let mut named = self.targets.iter().chain(&self.lookups);
        named.find(is_wrong).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_with_the_versions_that_are_written() {
        let manifest = Manifest {
            targets: ["crm@1", "crm@2", "search", "*"].map(String::from).to_vec(),
            ..Manifest::default()
        };
        assert_eq!(manifest.versions_of("crm"), [1, 2]);
        assert_eq!(manifest.versions_of("search"), [0; 0]);
        assert_eq!(manifest.wrong_version(), None);
        for wrong in ["crm@", "crm@0", "crm@v2", "crm@1.2", "crm@2@3", "*@1"] {
            let targets = vec!["search".to_owned(), wrong.to_owned()];
            let manifest = Manifest {
                targets,
                ..Manifest::default()
            };
            assert_eq!(manifest.wrong_version(), Some(wrong));
        }
    }
}
