//! `[pipelines.NAME.partitions]`: how a pipeline's events are shared out.

use super::entry::Entry;
use super::keys;
use crate::event::{KeySpec, SubjectPattern};
use crate::intake::{PartitionBy, Partitions, Source};
use toml::de::DeValue;

/// Each partition is a consumer, and one more for replays.
const MOST: u32 = 256;

/// A number of partitions by the key's token, with `repartition` by any other key, or
/// `{ count = N, token = N }` by a token that is there.
pub(super) fn read(
    entry: &Entry<'_>,
    source: Option<&Source>,
    (key, repartition): (Option<&KeySpec>, bool),
) -> Option<Partitions> {
    let partitions = match entry.value {
        DeValue::Table(_) if repartition => {
            let advice = "`repartition` shares out by the key: write partitions = 16, or leave \
                          `repartition` out";
            entry.report(advice);
            return None;
        }
        DeValue::Table(_) => by_token(entry)?,
        _ if repartition => Partitions {
            count: count(entry)?,
            by: by_key(entry, key)?,
        },
        _ => Partitions {
            count: count(entry)?,
            by: PartitionBy::Hash(hashed(entry, key)?),
        },
    };
    match source? {
        Source::Core { .. } => {
            entry.report_key("a core NATS source is shared out by its `queue`: remove the key");
            None
        }
        Source::JetStream { subjects, .. } if subjects.is_empty() => {
            entry.report_key("partitions need the `subjects` of the source: name them");
            None
        }
        Source::JetStream { subjects, .. } => {
            let (PartitionBy::Hash(token) | PartitionBy::Token(token)) = partitions.by else {
                return Some(partitions);
            };
            let fixed = subjects.iter().find(|pattern| !varies(pattern, token));
            if let Some(fixed) = fixed {
                entry.report(format!(
                    "token {token} of `{}` is no wildcard: all of its events would be in one \
                     partition",
                    fixed.as_str()
                ));
                return None;
            }
            Some(partitions)
        }
    }
}

/// `{ count = 16, token = 2 }`.
fn by_token(entry: &Entry<'_>) -> Option<Partitions> {
    let section = entry.section(&keys::PARTITIONS)?;
    let advice = "write partitions = { count = 16, token = 2 }";
    let count = section.require("count", advice, count);
    let token = section.require("token", advice, Entry::positive_count);
    let token = usize::try_from(token?).unwrap_or(usize::MAX);
    Some(Partitions {
        count: count?,
        by: PartitionBy::Token(token),
    })
}

/// The key, where it is not in the subject.
fn by_key(entry: &Entry<'_>, key: Option<&KeySpec>) -> Option<PartitionBy> {
    match key {
        Some(KeySpec::Header(_) | KeySpec::JsonPointer(_)) => Some(PartitionBy::Key),
        Some(KeySpec::SubjectToken(_)) => {
            entry.report(
                "the key is in the subject, which the server shares out by itself: leave \
                 `repartition` out",
            );
            None
        }
        Some(KeySpec::WholeSubject) | None => {
            entry.report(
                "`repartition` shares out by the key: write key = \"json:/pointer\" or \
                 \"header:NAME\"",
            );
            None
        }
    }
}

/// The key's token.
fn hashed(entry: &Entry<'_>, key: Option<&KeySpec>) -> Option<usize> {
    if let Some(KeySpec::SubjectToken(token)) = key {
        return Some(*token);
    }
    entry.report(
        "the server shares out by the subject only: write key = \"subject:N\", or repartition = true, \
         or leave out `partitions`: then one runtime is at work and the others stand by",
    );
    None
}

/// Whether the subjects of `pattern` can differ in a token.
fn varies(pattern: &SubjectPattern, token: usize) -> bool {
    let parts: Vec<&str> = pattern.as_str().split('.').collect();
    match parts.get(token - 1) {
        Some(part) => matches!(*part, "*" | ">"),
        None => parts.last() == Some(&">"),
    }
}

fn count(entry: &Entry<'_>) -> Option<u32> {
    let count = entry.positive_count()?;
    if !(2..=MOST).contains(&count) {
        entry.report(format!(
            "write a number from 2 to {MOST}, or leave the key out"
        ));
        return None;
    }
    Some(count)
}
