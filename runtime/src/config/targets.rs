//! `[targets.NAME]`.

use super::entry::Entry;
use super::keys;
use super::names;
use super::pipelines::backoff;
use super::section::Section;
use crate::event::Operation;
use crate::provision::{Create, Provision};
use crate::target::{BreakerPolicy, Config, Kind, SubjectTemplate};
use std::time::Duration;
use toml::de::DeValue;

/// How long one effect or lookup may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The kinds of target, without their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    Subject,
    Kv,
}

/// The words of `kind`; those without a value are not built yet.
pub(super) const KINDS: [(&str, Option<Flavor>); 4] = [
    ("subject", Some(Flavor::Subject)),
    ("kv", Some(Flavor::Kv)),
    ("postgres", None),
    ("http", None),
];

impl Flavor {
    /// The kind of a target, where the file says one that is known.
    pub(super) fn of(target: &Entry<'_>) -> Option<Self> {
        let kind = target.value.as_table()?.get("kind")?.get_ref().as_str()?;
        KINDS
            .into_iter()
            .find(|(word, _)| *word == kind)
            .and_then(|(_, flavor)| flavor)
    }

    /// What `to` does when it does not say.
    pub(super) fn default_operation(self) -> Operation {
        match self {
            Self::Subject => Operation::Append,
            Self::Kv => Operation::Upsert,
        }
    }
}

pub(super) fn read(name: &str, entry: &Entry<'_>, provision: &Provision) -> Option<Config> {
    let name = names::own(name, entry);
    let section = entry.section(&keys::TARGET)?;
    let advice = "write \"subject\" or \"kv\"";
    let flavor = section.require("kind", advice, |entry| entry.choose(&KINDS));
    let create = section.read("create", create).unwrap_or_default();
    let timeout = section.read("timeout", Entry::duration).unwrap_or(TIMEOUT);
    let rate = section.read("rate_limit", Entry::parse);
    let on = Some(BreakerPolicy::default());
    let breaker = section.read("breaker", breaker).unwrap_or(on);
    let parts = Parts {
        subject: section.read("subject", Entry::parse),
        stream: section.read("stream", names::of_written),
        core: section.read("core", Entry::flag).unwrap_or_default(),
        bucket: section.read("bucket", names::of_written),
    };
    check(&section, flavor?, parts.core, create);
    let kind = parts.into_kind(flavor?)?;
    Some(Config {
        name,
        kind,
        create,
        provision: provision.clone(),
        timeout,
        rate,
        breaker,
    })
}

/// What the kinds are made of.
struct Parts {
    subject: Option<SubjectTemplate>,
    stream: Option<String>,
    core: bool,
    bucket: Option<String>,
}

impl Parts {
    fn into_kind(self, flavor: Flavor) -> Option<Kind> {
        let Self {
            subject,
            stream,
            core,
            bucket,
        } = self;
        match flavor {
            Flavor::Subject => Some(Kind::Subject {
                subject: subject?,
                stream,
                core,
            }),
            Flavor::Kv => Some(Kind::Kv { bucket: bucket? }),
        }
    }
}

/// `false`, or a table: when a target that gives no answer is left alone.
fn breaker(entry: &Entry<'_>) -> Option<Option<BreakerPolicy>> {
    let mut policy = BreakerPolicy::default();
    match entry.value {
        DeValue::Boolean(false) => return Some(None),
        DeValue::Boolean(true) => return Some(Some(policy)),
        DeValue::Table(_) => {}
        _ => {
            entry.report("write breaker = { failures = 5, pause = \"1s..30s\" }, or `false`");
            return None;
        }
    }
    let section = entry.section(&keys::BREAKER)?;
    section.set("failures", &mut policy.failures, Entry::positive_count);
    if let Some((first, longest)) = section.read("pause", backoff) {
        policy.first = first;
        policy.longest = longest;
    }
    Some(Some(policy))
}

/// Refuses what does not go together.
fn check(section: &Section<'_>, flavor: Flavor, core: bool, create: Create) {
    match flavor {
        Flavor::Kv => {
            section.demand("bucket", "name the key-value bucket");
            let why = "a kv target has no such key, only a `bucket`: remove it";
            section.refuse(&["subject", "stream", "core"], why);
        }
        Flavor::Subject => {
            section.demand("subject", "name the subject, as in \"search.index.{key}\"");
            section.refuse(
                &["bucket"],
                "a subject target has no bucket: remove the key",
            );
            if core {
                let why = "with `core = true` no stream takes part: remove one of the two";
                section.refuse(&["stream"], why);
            }
            if create == Create::Missing && !section.has("stream") {
                let why = "nothing to make: name the `stream`, or remove `create`";
                section.refuse(&["create"], why);
            }
        }
    }
}

/// `true` makes what is missing, `"check"` refuses the start, `false` does not look.
pub(super) fn create(entry: &Entry<'_>) -> Option<Create> {
    match entry.value {
        DeValue::Boolean(true) => return Some(Create::Missing),
        DeValue::Boolean(false) => return Some(Create::Adopt),
        DeValue::String(text) if text == "check" => return Some(Create::Check),
        _ => {}
    }
    entry.report(
        "write `true` (make what is missing), \"check\" (refuse the start) or `false` (do not \
         look at it)",
    );
    None
}
