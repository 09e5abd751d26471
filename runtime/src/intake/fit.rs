//! Whether a consumer that is there does what a pipeline needs. Pure.

use super::config::{Config, Source};
use super::consumer::pull_expires;
use super::jetstream::BATCH;
use crate::event::SubjectPattern;
use async_nats::jetstream::consumer::{self, AckPolicy};
use std::collections::BTreeSet;
use std::fmt;

/// What the description of a consumer that Syncline made begins with.
pub(super) const DESCRIPTION: &str = "Syncline pipeline ";

/// A setting of a consumer that does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    setting: &'static str,
    found: String,
    needed: String,
    /// Whether the server can change it.
    pub(super) is_changeable: bool,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            needed,
            ..
        } = self;
        write!(f, "`{setting}` is {found}, needed is {needed}")
    }
}

/// The description of the consumer that a pipeline makes.
pub(super) fn description(pipeline: &str) -> String {
    format!("{DESCRIPTION}{pipeline}")
}

/// Whether Syncline made the consumer: then its settings are ours to change.
pub(super) fn is_own(found: &consumer::Config) -> bool {
    let description = found.description.as_deref().unwrap_or_default();
    description.starts_with(DESCRIPTION)
}

/// Every setting that does not do.
pub(super) fn misfits(found: &consumer::Config, config: &Config) -> Vec<Misfit> {
    let mut list = Misfits(Vec::new());
    compare_answers(&mut list, found, config);
    compare_requests(&mut list, found, config);
    list.0
}

struct Misfits(Vec<Misfit>);

impl Misfits {
    fn compare(&mut self, setting: &'static str, is_fit: bool, found: String, needed: String) {
        if !is_fit {
            self.0.push(Misfit {
                setting,
                found,
                needed,
                is_changeable: !matches!(setting, "deliver_subject" | "ack_policy"),
            });
        }
    }
}

/// How it hands over, and how long it waits for an answer.
fn compare_answers(list: &mut Misfits, found: &consumer::Config, config: &Config) {
    if let Some(subject) = &found.deliver_subject {
        let found = format!("`{subject}` (a push consumer)");
        list.compare("deliver_subject", false, found, "none".to_owned());
    }
    list.compare(
        "ack_policy",
        found.ack_policy == AckPolicy::Explicit,
        format!("{:?}", found.ack_policy).to_lowercase(),
        "explicit".to_owned(),
    );
    list.compare(
        "max_deliver",
        found.max_deliver <= 0,
        found.max_deliver.to_string(),
        "-1: attempts are counted here".to_owned(),
    );
    list.compare(
        "ack_wait",
        found.ack_wait == config.ack_wait,
        format!("{:?}", found.ack_wait),
        format!("{:?}, as the source's `ack_wait` says", config.ack_wait),
    );
    list.compare(
        "backoff",
        found.backoff.is_empty(),
        format!("{:?}", found.backoff),
        "none: pauses are made here".to_owned(),
    );
    list.compare(
        "max_ack_pending",
        is_limit_fit(found, config),
        found.max_ack_pending.to_string(),
        format!("at most {}, as `limits.events` says", config.max_events),
    );
}

/// What it hands over, and on which requests.
fn compare_requests(list: &mut Misfits, found: &consumer::Config, config: &Config) {
    let (held, wanted) = (filters(found), wanted_filters(config));
    list.compare(
        "filter_subjects",
        held == wanted || (wanted.is_empty() && !is_own(found)),
        listed(&held),
        format!("{}, as the source's `subjects` say", listed(&wanted)),
    );
    list.compare(
        "headers_only",
        !found.headers_only,
        "true".to_owned(),
        "false: events have data".to_owned(),
    );
    let batch = i64::try_from(BATCH.min(config.max_events)).unwrap_or(i64::MAX);
    list.compare(
        "max_batch",
        found.max_batch <= 0 || found.max_batch >= batch,
        found.max_batch.to_string(),
        format!("at least {batch}"),
    );
    let bytes = i64::try_from(config.max_bytes).unwrap_or(i64::MAX);
    list.compare(
        "max_bytes",
        found.max_bytes <= 0 || found.max_bytes >= bytes,
        found.max_bytes.to_string(),
        format!("at least {bytes}, the pipeline's `limits.bytes`"),
    );
    list.compare(
        "max_expires",
        found.max_expires.is_zero() || found.max_expires >= pull_expires(config),
        format!("{:?}", found.max_expires),
        format!("at least {:?}", pull_expires(config)),
    );
    list.compare(
        "priority_groups",
        found.priority_groups.is_empty(),
        format!("{:?}", found.priority_groups),
        "none".to_owned(),
    );
}

/// A consumer of our own has exactly our limit; another may have a lower one.
fn is_limit_fit(found: &consumer::Config, config: &Config) -> bool {
    let limit = i64::try_from(config.max_events).unwrap_or(i64::MAX);
    match is_own(found) {
        true => found.max_ack_pending == limit,
        false => (1..=limit).contains(&found.max_ack_pending),
    }
}

fn filters(found: &consumer::Config) -> BTreeSet<&str> {
    let one = Some(found.filter_subject.as_str()).filter(|subject| !subject.is_empty());
    let several = found.filter_subjects.iter().map(String::as_str);
    one.into_iter().chain(several).collect()
}

fn wanted_filters(config: &Config) -> BTreeSet<&str> {
    match &config.source {
        Source::JetStream { subjects, .. } => subjects.iter().map(SubjectPattern::as_str).collect(),
        Source::Core { .. } => BTreeSet::new(),
    }
}

fn listed(subjects: &BTreeSet<&str>) -> String {
    if subjects.is_empty() {
        return "none".to_owned();
    }
    let subjects: Vec<_> = subjects
        .iter()
        .map(|subject| format!("`{subject}`"))
        .collect();
    subjects.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KeySpec;
    use crate::provision::{Create, Provision};
    use std::time::Duration;

    fn config() -> Config {
        Config {
            pipeline: "p".to_owned(),
            source: Source::JetStream {
                stream: "SRC".to_owned(),
                subjects: vec!["a.>".parse().unwrap()],
                create: Create::Check,
                durable: "c".to_owned(),
            },
            key: KeySpec::default(),
            max_events: 100,
            max_bytes: 1 << 20,
            max_payload: 1,
            ack_wait: Duration::from_secs(30),
            provision: Provision::default(),
            lease: None,
            partitions: None,
            partition: None,
        }
    }

    fn fitting() -> consumer::Config {
        consumer::Config {
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            max_deliver: -1,
            max_ack_pending: 100,
            filter_subject: "a.>".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn each_setting_that_does_not_do_is_named_with_what_is_needed() {
        assert_eq!(misfits(&fitting(), &config()), vec![]);
        type Change = fn(&mut consumer::Config);
        let cases: [(Change, &str); 12] = [
            (
                |c| c.deliver_subject = Some("d".to_owned()),
                "`deliver_subject` is `d` (a push",
            ),
            (
                |c| c.ack_policy = AckPolicy::All,
                "`ack_policy` is all, needed is explicit",
            ),
            (|c| c.max_deliver = 3, "`max_deliver` is 3, needed is -1"),
            (
                |c| c.ack_wait = Duration::from_secs(1),
                "`ack_wait` is 1s, needed is 30s",
            ),
            (
                |c| c.backoff = vec![Duration::from_secs(1)],
                "`backoff` is [1s]",
            ),
            (
                |c| c.max_ack_pending = 101,
                "`max_ack_pending` is 101, needed is at most 100",
            ),
            (
                |c| c.filter_subject = "b".to_owned(),
                "`filter_subjects` is `b`, needed is `a.>`",
            ),
            (
                |c| c.headers_only = true,
                "`headers_only` is true, needed is false",
            ),
            (
                |c| c.max_batch = 5,
                "`max_batch` is 5, needed is at least 100",
            ),
            (
                |c| c.max_bytes = 5,
                "`max_bytes` is 5, needed is at least 1048576, the pipeline's",
            ),
            (
                |c| c.max_expires = Duration::from_secs(1),
                "`max_expires` is 1s",
            ),
            (
                |c| c.priority_groups = vec!["g".to_owned()],
                "`priority_groups` is [\"g\"]",
            ),
        ];
        for (change, expected) in cases {
            let mut found = fitting();
            change(&mut found);
            let misfits = misfits(&found, &config());
            assert_eq!(misfits.len(), 1, "{expected}");
            let text = misfits[0].to_string();
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn a_lower_limit_does_unless_the_consumer_is_our_own() {
        let lower = |description: &str| consumer::Config {
            description: Some(description.to_owned()),
            max_ack_pending: 10,
            ..fitting()
        };
        assert_eq!(misfits(&lower("of the operator"), &config()).len(), 0);
        assert_eq!(misfits(&lower(&description("p")), &config()).len(), 1);
    }
}
