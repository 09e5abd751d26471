//! `[targets.NAME]`.

use super::contracts;
use super::entry::Entry;
use super::http;
use super::keys;
use super::names::{self, Names};
use super::pipelines::backoff;
use super::postgres;
use super::section::Section;
use super::versions;
use crate::event::{Operation, SubjectPattern};
use crate::provision::{Create, Provision};
use crate::target::{
    BreakerPolicy, Config, Kind, SubjectTemplate, Tls, http as http_target,
    postgres as postgres_target,
};
use std::time::Duration;
use toml::de::DeValue;

/// Subjects on which Syncline itself writes.
const OURS: &str = "tx.>";
/// How long one effect or lookup may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The kinds of target, without their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    Subject {
        /// Whether its stream is named, so that it can be looked what it took.
        named: bool,
    },
    Kv,
    Http,
    Postgres {
        /// Whether its rows have keys; otherwise it takes records only.
        keyed: bool,
    },
}

/// The words of `kind`; those without a value are not built yet.
pub(super) const KINDS: [(&str, Option<Flavor>); 4] = [
    ("subject", Some(Flavor::Subject { named: true })),
    ("kv", Some(Flavor::Kv)),
    ("postgres", Some(Flavor::Postgres { keyed: true })),
    ("http", Some(Flavor::Http)),
];

impl Flavor {
    /// The kind of a target, where the file says one that is known.
    pub(super) fn of(target: &Entry<'_>) -> Option<Self> {
        let table = target.value.as_table()?;
        let kind = table.get("kind")?.get_ref().as_str()?;
        let (_, flavor) = KINDS.into_iter().find(|(word, _)| *word == kind)?;
        match flavor? {
            Self::Subject { .. } => Some(Self::Subject {
                named: table.contains_key("stream"),
            }),
            Self::Postgres { .. } => Some(Self::Postgres {
                keyed: table.contains_key("key"),
            }),
            other => Some(other),
        }
    }

    /// What `to` does when it does not say.
    pub(super) fn default_operation(self) -> Operation {
        match self {
            Self::Subject { .. } | Self::Postgres { keyed: false } => Operation::Append,
            Self::Kv | Self::Http | Self::Postgres { keyed: true } => Operation::Upsert,
        }
    }
}

pub(super) fn read(
    name: &str,
    entry: &Entry<'_>,
    (known, provision): (&Names, &Provision),
) -> Option<Config> {
    let name = names::own(name, entry);
    let section = entry.section(&keys::TARGET)?;
    let advice = "write \"subject\", \"kv\", \"postgres\" or \"http\"";
    let flavor = section.require("kind", advice, |entry| entry.choose(&KINDS));
    let create = section.read("create", create).unwrap_or_default();
    let timeout = section.read("timeout", Entry::duration).unwrap_or(TIMEOUT);
    let rate = section.read("rate_limit", Entry::parse);
    let on = Some(BreakerPolicy::default());
    let breaker = section.read("breaker", breaker).unwrap_or(on);
    let contract = section.read("contract", contracts::read);
    let versions = versions::read(&section, contract.as_deref(), known);
    let feed = section.read("feed", |entry| feed(entry, &name, known));
    let parts = Parts {
        subject: section.read("subject", Entry::parse),
        stream: section.read("stream", names::of_stream_written),
        core: section.read("core", Entry::flag).unwrap_or_default(),
        bucket: section.read("bucket", names::of_written),
        ..Parts::default()
    };
    let tls = section.read("tls", tls).flatten();
    // The same key, and another value.
    let (url, database) = match flavor {
        Some(Flavor::Http) => (section.read("url", http::url), None),
        Some(Flavor::Postgres { .. }) => (None, section.read("url", postgres::url)),
        _ => {
            section.read("url", Entry::text);
            (None, None)
        }
    };
    let parts = Parts {
        table: postgres::read(&section, database, tls.clone()),
        api: http::read(&section, url, tls),
        ..parts
    };
    check(&section, flavor?, &parts, create);
    let kind = parts.into_kind(flavor?)?;
    Some(Config {
        name,
        kind,
        create,
        provision: provision.clone(),
        timeout,
        rate,
        breaker,
        contract,
        versions,
        feed,
    })
}

/// The target on which changes of `name` are published: one whose stream takes them together with the changes.
fn feed(entry: &Entry<'_>, name: &str, known: &Names) -> Option<String> {
    let feed = known.target(entry)?;
    match known.flavor(&feed) {
        _ if feed == name => {
            entry.report("a target is not its own feed: name another one, of kind subject");
        }
        Some(Flavor::Subject { named: true }) | None => return Some(feed),
        Some(Flavor::Subject { named: false }) => entry.report(format!(
            "target `{feed}` names no stream, and who follows changes is to miss none: name its `stream`"
        )),
        Some(_) => entry.report(format!(
            "changes are published as messages, and target `{feed}` is no subject: name one of kind subject"
        )),
    }
    None
}

/// What the kinds are made of.
#[derive(Default)]
struct Parts {
    subject: Option<SubjectTemplate>,
    stream: Option<String>,
    core: bool,
    bucket: Option<String>,
    table: Option<postgres_target::Settings>,
    api: Option<http_target::Settings>,
}

impl Parts {
    fn into_kind(self, flavor: Flavor) -> Option<Kind> {
        let Self {
            subject,
            stream,
            core,
            bucket,
            table,
            api,
        } = self;
        match flavor {
            Flavor::Subject { .. } => Some(Kind::Subject {
                subject: subject?,
                stream,
                core,
            }),
            Flavor::Kv => Some(Kind::Kv { bucket: bucket? }),
            Flavor::Postgres { .. } => Some(Kind::Postgres(Box::new(table?))),
            Flavor::Http => Some(Kind::Http(Box::new(api?))),
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

/// `true`, `false`, or a table: whether and how a connection is encrypted.
fn tls(entry: &Entry<'_>) -> Option<Option<Tls>> {
    match entry.value {
        DeValue::Boolean(false) => return Some(None),
        DeValue::Boolean(true) => return Some(Some(Tls::default())),
        _ => {}
    }
    let section = entry.section(&keys::TARGET_TLS)?;
    if section.has("cert") != section.has("key") {
        section.report("`cert` and `key` go together: write both or none");
    }
    Some(Some(Tls {
        ca: section.read("ca", Entry::existing_file),
        cert: section.read("cert", Entry::existing_file),
        key: section.read("key", Entry::existing_file),
    }))
}

/// What only targets on NATS have.
const OF_NATS: [&str; 4] = ["subject", "stream", "core", "bucket"];
/// What only targets elsewhere have.
const ELSEWHERE: [&str; 2] = ["url", "tls"];

/// Refuses what does not go together.
fn check(section: &Section<'_>, flavor: Flavor, parts: &Parts, create: Create) {
    match flavor {
        Flavor::Kv => {
            section.demand("bucket", "name the key-value bucket");
            let why = "a kv target has no such key, only a `bucket`: remove it";
            section.refuse(&["subject", "stream", "core"], why);
            section.refuse(&ELSEWHERE, why);
            section.refuse(&postgres::KEYS, why);
            section.refuse(&http::KEYS, why);
        }
        Flavor::Postgres { .. } => {
            postgres::check(section);
            let why = "a postgres target has no such key: remove it";
            section.refuse(&OF_NATS, why);
            section.refuse(&http::KEYS, why);
        }
        Flavor::Http => {
            http::check(section, parts.api.as_ref());
            let why = "an http target has no such key: remove it";
            section.refuse(&OF_NATS, why);
            section.refuse(&postgres::KEYS, why);
            if create == Create::Missing {
                let why = "nothing of a module's is made: remove `create`, or write \"check\" or \
                           `false`";
                section.refuse(&["create"], why);
            }
        }
        Flavor::Subject { .. } => check_subject(section, parts, create),
    }
}

fn check_subject(section: &Section<'_>, parts: &Parts, create: Create) {
    section.demand("subject", "name the subject, as in \"search.index.{key}\"");
    let why = "a subject target has no bucket: remove the key";
    section.refuse(&["bucket"], why);
    let why = "a subject target has no such key: remove it";
    section.refuse(&ELSEWHERE, why);
    section.refuse(&postgres::KEYS, why);
    section.refuse(&http::KEYS, why);
    let ours: Option<SubjectPattern> = OURS.parse().ok();
    let pattern = parts.subject.as_ref().map(SubjectTemplate::pattern);
    let pattern: Option<SubjectPattern> = pattern.and_then(|pattern| pattern.parse().ok());
    if pattern.zip(ours).is_some_and(|(a, b)| a.overlaps(&b)) {
        let why = "subjects that begin with `tx` are Syncline's own: choose others";
        section.refuse(&["subject"], why);
    }
    if parts.core {
        let why = "with `core = true` no stream takes part: remove one of the two";
        section.refuse(&["stream"], why);
    }
    if create == Create::Missing && !section.has("stream") {
        let why = "nothing to make: name the `stream`, or remove `create`";
        section.refuse(&["create"], why);
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
