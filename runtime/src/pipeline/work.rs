//! One event at work: its envelope, its attempts, and what failed so far.

use super::outcome::Fault;
use crate::event::{DeadLetter, Delivery, Envelope, Failure, InvalidEvent, Original, Receipt};
use crate::plugin::{Secrets, Version};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Failed attempts that a dead letter tells of.
const HISTORY: usize = 20;

/// Characters of one error in a dead letter: what a plugin says has no end, a message has.
const ERROR: usize = 4_096;

pub(super) struct Work {
    pub(super) envelope: Envelope,
    pub(super) fault: Option<InvalidEvent>,
    /// From 1.
    pub(super) attempt: u32,
    /// How often it was thought again because what it rests on had changed.
    pub(super) conflicts: u32,
    is_event: bool,
    original: Original,
    history: Vec<Failure>,
    versions: Vec<Arc<Version>>,
}

impl Work {
    pub(super) fn begin(delivery: Delivery) -> (Self, Receipt) {
        let Delivery {
            original,
            envelope,
            fault,
            receipt,
        } = delivery;
        let work = Self {
            is_event: fault.is_none(),
            envelope,
            fault,
            attempt: 1,
            conflicts: 0,
            original,
            history: Vec::new(),
            versions: Vec::new(),
        };
        (work, receipt)
    }

    /// A seed for the jitter: another for each event.
    pub(super) fn seed(&self) -> u64 {
        let id = self.envelope.origin.id.as_str().as_bytes();
        id.iter().fold(u64::from(self.attempt), |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
        })
    }

    pub(super) fn note_plugins(&mut self, versions: &[Arc<Version>]) {
        self.versions = versions.to_vec();
    }

    pub(super) fn note_failure(&mut self, fault: &Fault, secrets: &Secrets) {
        self.history.push(Failure {
            attempt: self.attempt,
            at: OffsetDateTime::now_utc()
                .format(&Rfc3339)
                .unwrap_or_default(),
            place: fault.place.clone(),
            digest: fault.digest.clone(),
            error: shortened(&secrets.redact(&fault.error)),
        });
        if self.history.len() > HISTORY {
            // The first failure and the latest say most.
            self.history.remove(1);
        }
    }

    pub(super) fn dead_letter(
        &self,
        pipeline: &str,
        fault: &Fault,
        secrets: &Secrets,
    ) -> DeadLetter {
        let event = &self.envelope.event;
        let plugins = self.versions.iter().map(|version| {
            (
                version.plugin().to_owned(),
                version.component().digest().to_owned(),
            )
        });
        DeadLetter {
            pipeline: pipeline.to_owned(),
            id: self.envelope.origin.id.clone(),
            key: self.envelope.origin.key.to_string(),
            event: self
                .is_event
                .then(|| [event.id.clone(), event.source.clone(), event.kind.clone()]),
            traceparent: event.traceparent().map(str::to_owned),
            reason: fault.reason,
            error: shortened(&secrets.redact(&fault.error)),
            history: self.history.clone(),
            plugins: plugins.collect(),
            accepted: fault.accepted.clone(),
            original: self.original.clone(),
        }
    }
}

fn shortened(error: &str) -> String {
    match error.char_indices().nth(ERROR) {
        Some((end, _)) => format!("{}… (shortened)", error.get(..end).unwrap_or_default()),
        None => error.to_owned(),
    }
}
