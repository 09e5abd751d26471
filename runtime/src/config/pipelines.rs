//! `[pipelines.NAME]`.

use super::entry::{Entry, duration_of};
use super::keys;
use super::names::{self, Names};
use super::partitions;
use super::routes;
use super::section::Section;
use super::source;
use super::targets::Flavor;
use crate::change;
use crate::event::KeySpec;
use crate::intake::{self, Source};
use crate::pipeline::{Config, Guarantee, OnFailure, RetryPolicy, RouteConfig};
use crate::provision::Provision;
use bytesize::ByteSize;
use std::time::Duration;

/// What else the file says: names that are known, and how streams are made.
type Around<'a> = (&'a Names, &'a Provision);

/// Events in flight.
const MAX_EVENTS: u32 = 1024;
/// Bytes in flight.
const MAX_BYTES: ByteSize = ByteSize::mib(64);
/// The longest payload.
const MAX_PAYLOAD: ByteSize = ByteSize::mib(1);
/// Through how many pipelines changes may have gone that led to an event.
const HOPS: u32 = 8;
/// How long the runtime at work may give no sign of life.
const LEASE: Duration = Duration::from_secs(5);
/// The shortest such time in which heartbeats arrive on a busy machine.
const LEAST_LEASE: Duration = Duration::from_secs(1);

/// The words of `guarantee`; those without a value are not built yet.
pub(super) const GUARANTEES: [(&str, Option<Guarantee>); 2] = [
    ("at-least-once", Some(Guarantee::AtLeastOnce)),
    ("atomic", Some(Guarantee::Atomic)),
];

/// The words of `on_failure`.
pub(super) const ON_FAILURE: [(&str, Option<OnFailure>); 3] = [
    ("dead-letter", Some(OnFailure::DeadLetter)),
    ("park-key", Some(OnFailure::ParkKey)),
    ("stop", Some(OnFailure::Stop)),
];

pub(super) fn read(name: &str, entry: &Entry<'_>, around: Around<'_>) -> Option<Config> {
    let name = names::own(name, entry);
    if name == change::PIPELINE {
        entry.report_key("the transactions of the API are listed under this name: choose another");
    }
    let section = entry.section(&keys::PIPELINE)?;
    let (known, _) = around;
    let intake = intake(&section, &name, around);
    let hops = section.read("hops", Entry::positive_count).unwrap_or(HOPS);
    let stages = section
        .read("stages", |entry| stages(entry, known))
        .unwrap_or_default();
    let to = section
        .read("to", |entry| routes::read(entry, known))
        .unwrap_or_default();
    let mut writable = match section.has("targets") {
        true => section
            .read("targets", |entry| targets(entry, known))
            .unwrap_or_default(),
        false => known.targets.iter().map(|(name, _)| name.clone()).collect(),
    };
    for route in &to {
        if !writable.contains(&route.target) {
            writable.push(route.target.clone());
        }
    }
    let guarantee = section.read("guarantee", |entry| entry.choose(&GUARANTEES));
    let guarantee = guarantee.unwrap_or(Guarantee::Atomic);
    let dedupe = section.read("dedupe", dedupe);
    let rate = section.read("rate_limit", Entry::parse);
    let retry = section.read("retry", retry).unwrap_or_default();
    let on_failure = section.read("on_failure", |entry| entry.choose(&ON_FAILURE));
    let on_failure = on_failure.unwrap_or(OnFailure::DeadLetter);
    if guarantee == Guarantee::Atomic {
        check_routes(&section, &to, known);
    }
    let mut intake = intake?;
    if let Source::Core { .. } = &intake.source {
        check_core(&section, on_failure, guarantee);
        if guarantee == Guarantee::AtLeastOnce {
            intake.lease = None;
        }
    }
    Some(Config {
        name,
        intake,
        stages,
        to,
        writable,
        guarantee,
        dedupe,
        rate,
        retry,
        on_failure,
        hops,
    })
}

/// Refuses what would make every event a dead letter.
fn check_routes(section: &Section<'_>, to: &[RouteConfig], known: &Names) {
    for RouteConfig { target, .. } in to {
        if known.flavor(target) == Some(Flavor::Subject { named: false }) {
            let why = format!(
                "target `{target}` cannot take part in guarantee = \"atomic\", since nobody can look \
                 what it took: name its `stream`, or write guarantee = \"at-least-once\""
            );
            section.refuse(&["to"], &why);
        }
    }
}

/// Refuses what a core NATS source cannot keep.
fn check_core(section: &Section<'_>, on_failure: OnFailure, guarantee: Guarantee) {
    let why = match on_failure {
        OnFailure::DeadLetter => None,
        OnFailure::Stop => Some(
            "core NATS sends nothing again, so that the event it stops at \
            would be lost: write \"dead-letter\"",
        ),
        OnFailure::ParkKey => Some(
            "core NATS gives events no place in an order, so that none \
            can be kept while they wait: write \"dead-letter\"",
        ),
    };
    if let Some(why) = why {
        section.refuse(&["on_failure"], why);
    }
    if guarantee == Guarantee::AtLeastOnce {
        let why = "with guarantee = \"at-least-once\" a core NATS source has no lease: every runtime \
                   takes what it gets";
        section.refuse(&["lease"], why);
    }
}

fn intake(
    section: &Section<'_>,
    pipeline: &str,
    (known, provision): Around<'_>,
) -> Option<intake::Config> {
    let (mut max_events, mut max_bytes) = (MAX_EVENTS, MAX_BYTES);
    let mut max_payload = MAX_PAYLOAD;
    if let Some(limits) = section.read("limits", |entry| entry.section(&keys::PIPELINE_LIMITS)) {
        limits.set("events", &mut max_events, Entry::positive_count);
        limits.set("bytes", &mut max_bytes, Entry::positive_size);
        limits.set("payload", &mut max_payload, Entry::positive_size);
    }
    let advice = "write source = { stream = \"..\", subjects = [\"..\"] }";
    let source = section.require("source", advice, |entry| {
        source::read(entry, pipeline, known)
    });
    let key = section.read("key", |entry| {
        let key = entry.parse::<KeySpec>()?;
        if let Some((source, _)) = &source {
            source::check_key(entry, &key, source);
        }
        Some(key)
    });
    let lease = section.read("lease", lease).unwrap_or(LEASE);
    let repartition = section.read("repartition", |entry| {
        let is_wanted = entry.flag()?;
        if is_wanted && !section.has("partitions") {
            entry.report("say into how many: partitions = 16");
        }
        Some(is_wanted)
    });
    let partitions = section.read("partitions", |entry| {
        let source = source.as_ref().map(|(source, _)| source);
        let by_key = repartition.unwrap_or_default();
        partitions::read(entry, source, (key.as_ref(), by_key))
    });
    let (source, ack_wait): (Source, Duration) = source?;
    Some(intake::Config {
        pipeline: pipeline.to_owned(),
        source,
        key: key.unwrap_or_default(),
        max_events: usize::try_from(max_events).unwrap_or(usize::MAX),
        max_bytes: max_bytes.0,
        max_payload: max_payload.0,
        ack_wait,
        provision: provision.clone(),
        lease: Some(lease),
        partitions,
        partition: None,
    })
}

fn lease(entry: &Entry<'_>) -> Option<Duration> {
    let lease = entry.duration()?;
    if lease < LEAST_LEASE {
        entry.report("a busy machine may be silent for so long: write \"1s\" or more");
        return None;
    }
    Some(lease)
}

fn stages(entry: &Entry<'_>, known: &Names) -> Option<Vec<String>> {
    Some(
        entry
            .items()?
            .iter()
            .filter_map(|item| known.plugin(item))
            .collect(),
    )
}

fn targets(entry: &Entry<'_>, known: &Names) -> Option<Vec<String>> {
    let texts = entry.texts()?;
    Some(
        texts
            .iter()
            .filter_map(|(item, _)| known.target(item))
            .collect(),
    )
}

/// `{ horizon = "24h" }`: how long an event that ended is known.
fn dedupe(entry: &Entry<'_>) -> Option<Duration> {
    let section = entry.section(&keys::DEDUPE)?;
    let advice = "write dedupe = { horizon = \"24h\" }";
    section.require("horizon", advice, |entry| {
        let horizon = entry.duration()?;
        // The server counts in seconds.
        if horizon < Duration::from_secs(1) {
            entry.report("a horizon of less than a second keeps nothing: write at least \"1s\"");
            return None;
        }
        Some(horizon)
    })
}

fn retry(entry: &Entry<'_>) -> Option<RetryPolicy> {
    let section = entry.section(&keys::RETRY)?;
    let mut policy = RetryPolicy::default();
    section.set("attempts", &mut policy.attempts, Entry::positive_count);
    if let Some((first, longest)) = section.read("backoff", backoff) {
        policy.first = first;
        policy.longest = longest;
    }
    Some(policy)
}

/// `"200ms..30s"`: the first pause and the longest; one duration alone is both.
pub(super) fn backoff(entry: &Entry<'_>) -> Option<(Duration, Duration)> {
    if !entry.value.is_str() {
        entry.report("expected pauses, as in \"200ms..30s\" or \"5s\"");
        return None;
    }
    let text = entry.text()?;
    let (first, longest) = text.split_once("..").unwrap_or((&text, &text));
    let pauses =
        duration_of(first.trim()).and_then(|first| Ok((first, duration_of(longest.trim())?)));
    match pauses {
        Ok((first, longest)) if first <= longest => Some((first, longest)),
        Ok(_) => {
            entry.report(format!(
                "`{text}` begins with the longer pause: exchange the two"
            ));
            None
        }
        Err(message) => {
            entry.report(message);
            None
        }
    }
}
