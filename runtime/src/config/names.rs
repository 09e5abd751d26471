//! Names: what they may be made of, and which ones the file gives.

use super::entry::Entry;
use super::section::Section;
use super::suggest;
use super::targets::Flavor;
use crate::contract::Contract;
use crate::target::JOINED;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest name of a plugin, target or pipeline.
const LONGEST: usize = 64;

/// The name that a plugin, target or pipeline has; it stands in subjects and in consumer names.
pub(super) fn own(name: &str, entry: &Entry<'_>) -> String {
    if !plain(name) {
        entry.report_key("a name is made of letters, digits, `_` and `-`: choose another");
    } else if name.len() > LONGEST {
        entry.report_key(format!("the name is longer than {LONGEST} characters"));
    }
    name.to_owned()
}

/// The name of a stream, a bucket or a consumer.
pub(super) fn of_nats(entry: &Entry<'_>) -> Option<String> {
    let name = entry.text()?;
    if !plain(&name) {
        entry.report(format!(
            "`{name}` cannot be a name in NATS: use letters, digits, `_` and `-`"
        ));
        return None;
    }
    Some(name)
}

/// The name of a stream that pipelines write: that of decisions takes effects as well.
pub(super) fn of_stream_written(entry: &Entry<'_>) -> Option<String> {
    match of_nats(entry)? {
        name if name == JOINED => Some(name),
        _ => of_written(entry),
    }
}

/// The name of a stream or bucket that pipelines write.
pub(super) fn of_written(entry: &Entry<'_>) -> Option<String> {
    let name = of_nats(entry)?;
    if name == JOINED || name.starts_with("SYNCLINE_") {
        entry.report(format!(
            "`{name}` is kept for Syncline itself: choose another name"
        ));
        return None;
    }
    Some(name)
}

fn plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.bytes().all(plain)
}

/// What the file configures, sound or not, so that a mistake in one section does not make every
/// mention of it a mistake too.
pub(super) struct Names {
    pub(super) plugins: Vec<String>,
    pub(super) targets: Vec<(String, Option<Flavor>)>,
    pub(super) secrets: Vec<String>,
    /// The contracts of targets, once these are read.
    pub(super) contracts: BTreeMap<String, Arc<Contract>>,
    consumers: RefCell<BTreeMap<(String, String), String>>,
}

impl Names {
    /// The names that the file gives.
    pub(super) fn of(root: &Section<'_>) -> Self {
        let names = |key| {
            fields(root, key)
                .into_iter()
                .map(|(name, _)| name.to_owned())
                .collect()
        };
        let targets = fields(root, "targets");
        Self {
            plugins: names("plugins"),
            targets: targets
                .into_iter()
                .map(|(name, entry)| (name.to_owned(), Flavor::of(&entry)))
                .collect(),
            secrets: names("secrets"),
            contracts: BTreeMap::new(),
            consumers: RefCell::default(),
        }
    }

    /// A configured plugin.
    pub(super) fn plugin(&self, entry: &Entry<'_>) -> Option<String> {
        one_of("plugin", entry, self.plugins.iter())
    }

    /// A configured secret.
    pub(super) fn secret(&self, entry: &Entry<'_>) -> Option<String> {
        one_of("secret", entry, self.secrets.iter())
    }

    /// A configured target.
    pub(super) fn target(&self, entry: &Entry<'_>) -> Option<String> {
        one_of("target", entry, self.targets.iter().map(|(name, _)| name))
    }

    /// What kind of target `name` is, as far as the file says.
    pub(super) fn flavor(&self, name: &str) -> Option<Flavor> {
        self.targets
            .iter()
            .find(|(target, _)| target == name)
            .and_then(|(_, flavor)| *flavor)
    }

    /// Notes that `pipeline` takes its events from `consumer` of `place`; the pipeline that
    /// already does so, if any.
    pub(super) fn claim(&self, place: &str, consumer: &str, pipeline: &str) -> Option<String> {
        let key = (place.to_owned(), consumer.to_owned());
        let mut consumers = self.consumers.borrow_mut();
        if let Some(other) = consumers.get(&key) {
            return Some(other.clone());
        }
        consumers.insert(key, pipeline.to_owned());
        None
    }
}

/// What stands in a section; nothing where it is no table, which its own reader notes.
fn fields<'a>(root: &Section<'a>, key: &str) -> Vec<(&'a str, Entry<'a>)> {
    let entry = root.get(key).filter(|entry| entry.value.is_table());
    entry.and_then(|entry| entry.fields()).unwrap_or_default()
}

fn one_of<'a>(
    what: &str,
    entry: &Entry<'_>,
    names: impl Iterator<Item = &'a String> + Clone,
) -> Option<String> {
    let name = entry.text()?;
    if names.clone().any(|known| *known == name) {
        return Some(name);
    }
    let hint = suggest::hint(&name, names.map(String::as_str));
    entry.report(format!(
        "no {what} `{name}` is configured: add [{what}s.{name}]{hint}"
    ));
    None
}
