//! What a plugin says about itself, and what it wants to be granted.

use crate::bindings::syncline::plugin::types;

pub use types::Manifest;

/// Every method here is also a key of [`plugin!`](crate::plugin!).
///
/// ```
/// use syncline_sdk::prelude::*;
///
/// let manifest = manifest!().accepts(["order.*"]).targets(["crm@2"]).capabilities(["state"]);
/// assert_eq!(manifest.name, "syncline-sdk"); // of the plugin's own crate
/// ```
///
/// In [`targets`](Self::targets) and [`lookups`](Self::lookups), `"*"` stands for every target that
/// the operator grants: for plugins whose targets are settings.
impl Manifest {
    /// A manifest that wants nothing; [`manifest!`](crate::manifest!) takes the three texts from
    /// `Cargo.toml`.
    pub fn new(name: &str, version: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            description: description.to_owned(),
            accepts: Vec::new(),
            targets: Vec::new(),
            lookups: Vec::new(),
            secrets: Vec::new(),
            capabilities: Vec::new(),
            config_schema: None,
            attributes: Vec::new(),
        }
    }

    /// The name, where it is not the crate's.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The version, where it is not the crate's.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What the plugin does, in a sentence.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The event types it handles, with `*` allowed at the end; others pass by untouched. All when
    /// not set.
    #[must_use]
    pub fn accepts(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.accepts = texts(types);
        self
    }

    /// The targets its effects name: `crm`, `crm@2` for the second major version of the target's
    /// contract, or `*`.
    #[must_use]
    pub fn targets(mut self, targets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.targets = texts(targets);
        self
    }

    /// The targets it reads through [`lookup`](crate::lookup), or `*`.
    #[must_use]
    pub fn lookups(mut self, targets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.lookups = texts(targets);
        self
    }

    /// The secrets it asks for through [`secrets`](crate::secrets).
    #[must_use]
    pub fn secrets(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.secrets = texts(names);
        self
    }

    /// The hosts it sends requests to through [`http`](crate::http), as the operator would grant
    /// them (`api.example.com:8443`), or `*` for those that are settings.
    #[must_use]
    pub fn http(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let hosts = texts(hosts)
            .into_iter()
            .map(|host| ("http".to_owned(), host));
        self.attributes.extend(hosts);
        self
    }

    /// Further capabilities it wants: `state`.
    #[must_use]
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities = texts(names);
        self
    }

    /// A JSON Schema that the host checks the configuration against before the plugin sees it.
    #[must_use]
    pub fn config_schema(mut self, schema: impl Into<String>) -> Self {
        self.config_schema = Some(schema.into());
        self
    }
}

fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

/// A [`Manifest`] with name, version and description of the crate it is written in.
#[macro_export]
macro_rules! manifest {
    () => {
        $crate::Manifest::new(
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_DESCRIPTION"),
        )
    };
}
