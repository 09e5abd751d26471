//! What a plugin wants and what it is granted. Nothing is granted by default.

use super::manifest::Manifest;
use crate::outbound::{Grant, Pattern};

/// In a manifest's `targets` and `lookups`: those that the operator's configuration names.
pub(crate) const AS_GRANTED: &str = "*";

/// What the configuration lets a plugin do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Targets that it may read.
    pub lookup: Vec<String>,
    /// Secrets that it may ask for.
    pub secrets: Vec<String>,
    /// Whether it may keep state.
    pub state: bool,
    /// Where it may send HTTP requests.
    pub http: Vec<Grant>,
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
            lookup: manifest.lookup_names().map(str::to_owned).collect(),
            secrets: manifest.secrets.clone(),
            state: manifest.wants("state"),
            http: manifest.hosts().filter_map(granted).collect(),
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
        for target in manifest.lookup_names().filter(|name| *name != AS_GRANTED) {
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
                // Which hosts are meant is said elsewhere in the manifest, or by whoever configures it.
                "log" | "metrics" | "http" => {}
                other => want(
                    format!("the capability `{other}`, which this version does not have"),
                    "nothing: it cannot be granted yet".to_owned(),
                ),
            }
        }
        missing.extend(self.hosts_missing_for(plugin, manifest));
        missing
    }

    /// The hosts that `manifest` names and these grants do not hold.
    fn hosts_missing_for(&self, plugin: &str, manifest: &Manifest) -> Vec<Ungranted> {
        let is_missing = |host: &&str| match host.parse::<Pattern>() {
            Ok(wish) => !self.http.iter().any(|grant| grant.pattern.includes(&wish)),
            Err(_) => *host != AS_GRANTED,
        };
        let missing: Vec<_> = manifest.hosts().filter(is_missing).collect();
        let of_host = |host: &str| Ungranted {
            what: format!("to send HTTP requests to `{host}`"),
            key: format!("`http = [\"{host}\"]` to [plugins.{plugin}] grants"),
        };
        if missing.is_empty() && self.http.is_empty() && manifest.wants("http") {
            return vec![Self::no_host(plugin)];
        }
        missing.into_iter().map(of_host).collect()
    }

    /// What a plugin without any host is told that sends requests.
    pub(crate) fn no_host(plugin: &str) -> Ungranted {
        Ungranted {
            what: "to send HTTP requests".to_owned(),
            key: format!(
                "the hosts, as in `http = [\"api.example.com\"]`, to [plugins.{plugin}] grants"
            ),
        }
    }
}

/// A host that a manifest names, as a grant.
fn granted(host: &str) -> Option<Grant> {
    host.parse().ok().map(Grant::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishful() -> Manifest {
        Manifest {
            lookups: vec!["crm".into(), "*".into()],
            secrets: vec!["token".into()],
            capabilities: ["state", "log", "http", "teleport"]
                .map(String::from)
                .to_vec(),
            attributes: vec![
                ("http".into(), "api.example.com".into()),
                ("http".into(), "*".into()),
            ],
            ..Manifest::default()
        }
    }

    #[test]
    fn what_is_wanted_beyond_the_grants_is_named_with_the_key_that_would_grant_it() {
        let missing = Grants::default().missing_for("p", &wishful());
        let text: Vec<_> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 5, "{text:?}");
        assert!(text[0].contains("`crm`") && text[0].contains("[plugins.p] grants"));
        assert!(text[1].contains("`token`"));
        assert!(text[2].contains("state = true"));
        assert!(text[3].contains("cannot be granted yet"));
        assert!(text[4].contains("add `http = [\"api.example.com\"]`"));
    }

    #[test]
    fn granted_wishes_are_not_missing() {
        let mut manifest = wishful();
        manifest.capabilities.pop();
        assert_eq!(Grants::all_of(&manifest).missing_for("p", &manifest), []);
    }

    #[test]
    fn a_plugin_that_sends_requests_somewhere_needs_a_host() {
        let manifest = Manifest {
            capabilities: vec!["http".into()],
            ..Manifest::default()
        };
        let missing = Grants::default().missing_for("p", &manifest);
        assert_eq!(missing, [Grants::no_host("p")]);
        let grants = Grants {
            http: vec![Grant::of("api.example.com".parse().unwrap())],
            ..Grants::default()
        };
        assert_eq!(grants.missing_for("p", &manifest), []);
    }
}
