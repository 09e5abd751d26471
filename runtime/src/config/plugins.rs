//! `[plugins.NAME]`.

use super::entry::Entry;
use super::keys;
use super::names::{self, Names};
use super::outbound;
use super::secrets::Secret;
use super::settings;
use crate::plugin::{Config, Grants, Limits};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where plugins will come from in a later version.
pub(super) const LATER_SCHEMES: [&str; 2] = ["nats", "oci"];

pub(super) fn read(
    name: &str,
    entry: &Entry<'_>,
    (known, secrets): (&Names, &BTreeMap<String, Secret>),
) -> Option<Config> {
    let name = names::own(name, entry);
    let section = entry.section(&keys::PLUGIN)?;
    let path = section.require("path", "name the plugin's .wasm file", component);
    let settings = section.read("config", settings::read).unwrap_or_default();
    let mut grants = section
        .read("grants", |entry| grants(entry, known))
        .unwrap_or_default();
    if let Some(entry) = section.get("http") {
        outbound::reach(&mut grants.http, &entry, secrets);
    }
    let limits = section.read("limits", limits).unwrap_or_default();
    Some(Config {
        name,
        path: path?,
        settings,
        grants,
        limits,
    })
}

/// The file of the component. Whether it is there is seen when it is loaded.
fn component(entry: &Entry<'_>) -> Option<PathBuf> {
    let text = entry.text()?;
    match text.split_once("://") {
        None => Some(entry.file.path(&text)),
        Some((scheme, _)) if LATER_SCHEMES.contains(&scheme) => {
            entry.report(format!(
                "plugins from `{scheme}://` are not available yet: name a file"
            ));
            None
        }
        Some((scheme, _)) => {
            entry.report(format!(
                "plugins do not come from `{scheme}://`: name a file"
            ));
            None
        }
    }
}

fn grants(entry: &Entry<'_>, known: &Names) -> Option<Grants> {
    let section = entry.section(&keys::GRANTS)?;
    let lookup = section.read("lookup", |entry| {
        named(entry, |target| match target.value.as_str() {
            Some("*") => Some("*".to_owned()),
            _ => known.target(target),
        })
    });
    let secrets = section.read("secrets", |entry| named(entry, |entry| known.secret(entry)));
    Some(Grants {
        lookup: lookup.unwrap_or_default(),
        secrets: secrets.unwrap_or_default(),
        state: section.read("state", Entry::flag).unwrap_or_default(),
        http: section.read("http", outbound::hosts).unwrap_or_default(),
    })
}

fn named(entry: &Entry<'_>, name: impl Fn(&Entry<'_>) -> Option<String>) -> Option<Vec<String>> {
    let texts = entry.texts()?;
    Some(texts.iter().filter_map(|(entry, _)| name(entry)).collect())
}

fn limits(entry: &Entry<'_>) -> Option<Limits> {
    let section = entry.section(&keys::PLUGIN_LIMITS)?;
    let mut limits = Limits::default();
    section.set("memory", &mut limits.memory, Entry::positive_size);
    section.set("time", &mut limits.time, Entry::duration);
    section.set("host_time", &mut limits.host_time, Entry::duration);
    section.set("host_calls", &mut limits.host_calls, Entry::count);
    section.set("effects", &mut limits.effects, Entry::count);
    section.set("output", &mut limits.output, Entry::positive_size);
    section.set("log", &mut limits.log, Entry::size);
    section.set("metric_series", &mut limits.metric_series, Entry::count);
    section.set("instances", &mut limits.instances, Entry::positive_count);
    section.set("http_time", &mut limits.http_time, Entry::duration);
    section.set("http_request", &mut limits.http_request, Entry::size);
    section.set("http_response", &mut limits.http_response, Entry::size);
    let connections = &mut limits.http_connections;
    section.set("http_connections", connections, Entry::positive_count);
    Some(limits)
}
