//! What a plugin wants and what it is granted. Nothing is granted by default.

use super::manifest::Manifest;
use serde::Deserialize;

/// In a manifest's `targets` and `lookups`: those that the operator's configuration names.
pub(crate) const AS_GRANTED: &str = "*";

/// What the configuration lets a plugin do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Targets that it may read.
    pub lookup: Vec<String>,
    /// Secrets that it may ask for.
    pub secrets: Vec<String>,
    /// Whether it may keep state.
    pub state: bool,
}

/// Something that a manifest wants and the grants do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it wants {what}, which is not granted: add {key}")]
pub struct Ungranted {
    /// What it wants.
    pub what: String,
    /// The configuration that would grant it.
    pub key: String,
}

impl Grants {
    /// What `manifest` asks for: `syncline call` and `syncline test` grant it.
    #[must_use]
    pub fn all_of(manifest: &Manifest) -> Self {
        Self {
            lookup: manifest.lookups.clone(),
            secrets: manifest.secrets.clone(),
            state: manifest.capabilities.iter().any(|name| name == "state"),
        }
    }

    /// Whether `target` may be read.
    #[must_use]
    pub(crate) fn lookup_of(&self, target: &str) -> bool {
        self.lookup
            .iter()
            .any(|name| name == target || name == AS_GRANTED)
    }

    /// Everything that `manifest` wants beyond these grants, for the plugin configured as `plugin`.
    #[must_use]
    pub(crate) fn missing_for(&self, plugin: &str, manifest: &Manifest) -> Vec<Ungranted> {
        let mut missing = Vec::new();
        let mut want = |what: String, key: String| missing.push(Ungranted { what, key });
        for target in manifest.lookups.iter().filter(|name| *name != AS_GRANTED) {
            if !self.lookup_of(target) {
                let key = format!("`lookup = [\"{target}\"]` to [plugins.{plugin}] grants");
                want(format!("to read target `{target}` through lookup"), key);
            }
        }
        for secret in manifest
            .secrets
            .iter()
            .filter(|name| !self.secrets.contains(name))
        {
            let key = format!("`secrets = [\"{secret}\"]` to [plugins.{plugin}] grants");
            want(format!("the secret `{secret}`"), key);
        }
        for capability in &manifest.capabilities {
            match capability.as_str() {
                "state" if self.state => {}
                "state" => want(
                    "the capability `state`".to_owned(),
                    format!("`state = true` to [plugins.{plugin}] grants"),
                ),
                "log" | "metrics" => {}
                other => want(
                    format!("the capability `{other}`, which this version does not have"),
                    "nothing: it cannot be granted yet".to_owned(),
                ),
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishful() -> Manifest {
        Manifest {
            lookups: vec!["crm".into(), "*".into()],
            secrets: vec!["token".into()],
            capabilities: vec!["state".into(), "log".into(), "http".into()],
            ..Manifest::default()
        }
    }

    #[test]
    fn what_is_wanted_beyond_the_grants_is_named_with_the_key_that_would_grant_it() {
        let missing = Grants::default().missing_for("p", &wishful());
        let text: Vec<_> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 4, "{text:?}");
        assert!(text[0].contains("`crm`") && text[0].contains("[plugins.p] grants"));
        assert!(text[1].contains("`token`"));
        assert!(text[2].contains("state = true"));
        assert!(text[3].contains("cannot be granted yet"));
    }

    #[test]
    fn granted_wishes_are_not_missing() {
        let mut manifest = wishful();
        manifest.capabilities.pop();
        assert_eq!(Grants::all_of(&manifest).missing_for("p", &manifest), []);
    }
}
