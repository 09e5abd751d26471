//! `[pipelines.NAME.source]`, and how much of it is taken at once.

use super::entry::Entry;
use super::keys;
use super::names::{self, Names};
use super::section::Section;
use super::targets::create;
use crate::event::{KeySpec, SubjectPattern};
use crate::intake::Source;
use crate::provision::Create;
use std::time::Duration;

/// How long the server waits for a sign of life.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages of core NATS that may wait to be begun.
const PENDING: u32 = 65_536;
/// The shortest such wait that leaves time for signs of life.
const LEAST_ACK_WAIT: Duration = Duration::from_secs(1);

/// A source, and how long the server waits for an answer.
pub(super) fn read(entry: &Entry<'_>, pipeline: &str, known: &Names) -> Option<(Source, Duration)> {
    let section = entry.section(&keys::SOURCE)?;
    let parts = Parts {
        stream: section.read("stream", names::of_nats),
        subjects: section.read("subjects", subjects).unwrap_or_default(),
        create: section.read("create", create).unwrap_or_default(),
        consumer: section.read("consumer", names::of_nats),
        subject: section.read("subject", Entry::parse::<SubjectPattern>),
        queue: section.read("queue", queue),
        reply: section.read("reply", Entry::flag).unwrap_or_default(),
        pending: section
            .read("pending", Entry::positive_count)
            .unwrap_or(PENDING),
    };
    let ack_wait = section.read("ack_wait", ack_wait).unwrap_or(ACK_WAIT);
    let source = match (section.has("stream"), section.has("subject")) {
        (true, false) => jetstream(&section, parts, pipeline, known),
        (false, true) => core(&section, parts, pipeline, known),
        (true, true) => {
            let why = "a source has a `stream` (JetStream, with `subjects`) or a `subject` (core \
                       NATS), not both";
            section.refuse(&["subject"], why);
            None
        }
        (false, false) => {
            section.report("a source needs a `stream` (JetStream) or a `subject` (core NATS)");
            None
        }
    };
    source.map(|source| (source, ack_wait))
}

/// What the kinds of source are made of.
struct Parts {
    stream: Option<String>,
    subjects: Vec<SubjectPattern>,
    create: Create,
    consumer: Option<String>,
    subject: Option<SubjectPattern>,
    queue: Option<String>,
    reply: bool,
    pending: u32,
}

fn jetstream(section: &Section<'_>, parts: Parts, pipeline: &str, known: &Names) -> Option<Source> {
    let why = "this belongs to a core NATS source, which has a `subject`: remove the key";
    section.refuse(&["queue", "reply", "pending"], why);
    let Parts {
        stream,
        subjects,
        create,
        consumer,
        ..
    } = parts;
    if create == Create::Missing && !section.has("subjects") {
        section.refuse(&["create"], "a stream is made for `subjects`: name them");
    }
    let stream = stream?;
    let durable = consumer.unwrap_or_else(|| format!("syncline-{pipeline}"));
    if let Some(other) = known.claim(&format!("stream {stream}"), &durable, pipeline) {
        let key = if section.has("consumer") {
            "consumer"
        } else {
            "stream"
        };
        let why = format!(
            "the pipeline `{other}` already has the consumer `{durable}` on stream `{stream}`: \
             each pipeline needs its own"
        );
        section.refuse(&[key], &why);
    }
    Some(Source::JetStream {
        stream,
        subjects,
        create,
        durable,
    })
}

fn core(section: &Section<'_>, parts: Parts, pipeline: &str, known: &Names) -> Option<Source> {
    let why = "this belongs to a JetStream source, which has a `stream`: remove the key";
    section.refuse(&["subjects", "create", "consumer", "ack_wait"], why);
    let Parts {
        subject,
        queue,
        reply,
        pending,
        ..
    } = parts;
    let subject = subject?;
    if let Some(queue) = &queue {
        let place = format!("subject {}", subject.as_str());
        if let Some(other) = known.claim(&place, queue, pipeline) {
            let why = format!(
                "the pipeline `{other}` is in this queue group: each event would reach only one \
                 of the two"
            );
            section.refuse(&["queue"], &why);
        }
    }
    Some(Source::Core {
        subject,
        queue,
        reply,
        pending: usize::try_from(pending).unwrap_or(usize::MAX),
    })
}

fn queue(entry: &Entry<'_>) -> Option<String> {
    let queue = entry.text()?;
    if queue.contains(|c: char| c.is_whitespace() || c.is_control()) {
        entry.report("a queue group's name holds no white space");
        return None;
    }
    Some(queue)
}

fn ack_wait(entry: &Entry<'_>) -> Option<Duration> {
    let wait = entry.duration()?;
    if wait < LEAST_ACK_WAIT {
        entry.report("this leaves no time for signs of life: write \"1s\" or more");
        return None;
    }
    Some(wait)
}

/// Patterns of which no subject matches two: the server refuses a consumer with such.
fn subjects(entry: &Entry<'_>) -> Option<Vec<SubjectPattern>> {
    let mut patterns: Vec<SubjectPattern> = Vec::new();
    for (item, _) in entry.texts()? {
        let Some(pattern) = item.parse::<SubjectPattern>() else {
            continue;
        };
        match patterns.iter().find(|other| other.overlaps(&pattern)) {
            Some(other) => item.report(format!(
                "`{}` and `{}` share subjects, which a consumer cannot have: remove one",
                other.as_str(),
                pattern.as_str()
            )),
            None => patterns.push(pattern),
        }
    }
    Some(patterns)
}

/// Refuses a key from a token that no subject of the source has.
pub(super) fn check_key(entry: &Entry<'_>, key: &KeySpec, source: &Source) {
    let KeySpec::SubjectToken(n) = key else {
        return;
    };
    let has = |pattern: &SubjectPattern| {
        pattern.as_str().ends_with('>') || pattern.as_str().split('.').count() >= *n
    };
    let reachable = match source {
        Source::JetStream { subjects, .. } => subjects.is_empty() || subjects.iter().any(has),
        Source::Core { subject, .. } => has(subject),
    };
    if !reachable {
        entry.report(format!("no subject of the source has a token number {n}"));
    }
}
