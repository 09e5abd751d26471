//! One event at work: its envelope, its attempts, and what failed so far.

use super::hold::Shift;
use super::outcome::Fault;
use super::parking::Parking;
use super::stage::Branch;
use crate::event::{
    Accepted, DeadLetter, DeadReason, Delivery, Disposition, Envelope, Failure, Hold, InvalidEvent,
    Original, Outcome, Past, PlannedEffect, Rank, Receipt, Report,
};
use crate::plugin::{Secrets, Version};
use crate::txn::{Pass, Tenure, Tried};
use parking_lot::Mutex;
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
    /// Whether nobody has looked whether it ended before: its decision would find out.
    pub(super) is_unchecked: bool,
    /// Whether it is known what earlier runs have tried.
    pub(super) is_recalled: bool,
    /// How often it was thought again because what it rests on had changed.
    pub(super) conflicts: u32,
    /// Leave to act although a target is left alone.
    pub(super) pass: Option<Pass>,
    /// How it ended, where somebody waits to hear it.
    report: Option<Report>,
    /// The right to act on it.
    pub(super) tenure: Tenure,
    /// The keys that are held, where keys are.
    pub(super) parking: Option<Arc<Mutex<Parking>>>,
    /// The letter that it came out of, as long as that holds its key.
    pub(super) hold: Option<Hold>,
    is_event: bool,
    original: Original,
    /// Failed attempts, and what targets accepted, before and since a replay.
    past: Past,
    /// Effects that targets accepted since, in any attempt.
    accepted: Vec<Accepted>,
    versions: Vec<Arc<Version>>,
}

impl Work {
    pub(super) fn begin(delivery: Delivery, shift: &Shift) -> (Self, Receipt) {
        let Delivery {
            original,
            envelope,
            fault,
            past,
            receipt,
        } = delivery;
        let mut past = past.map(|past| *past).unwrap_or_default();
        let work = Self {
            report: receipt.is_asked().then(|| Report {
                outcome: Outcome::Done,
                failure: None,
                n_effects: 0,
                standing: Vec::new(),
            }),
            tenure: shift.tenure().clone(),
            parking: shift.parking(),
            hold: past.hold.take(),
            is_event: fault.is_none(),
            is_recalled: !envelope.origin.maybe_seen,
            envelope,
            fault,
            is_unchecked: false,
            attempt: 1,
            conflicts: 0,
            pass: None,
            original,
            past,
            accepted: Vec::new(),
            versions: Vec::new(),
        };
        (work, receipt)
    }

    /// Answers for it: with how it ended, where somebody waits to hear that.
    pub(super) fn answer(self, receipt: Receipt, disposition: Disposition) {
        match (self.report, disposition) {
            (Some(report), Disposition::Ack) => receipt.report(report),
            _ => receipt.settle(disposition),
        }
    }

    /// Notes what still stands after the last stage.
    pub(super) fn note_standing(&mut self, standing: &[Branch]) {
        if let Some(report) = &mut self.report {
            let standing = standing.iter().map(|branch| branch.envelope.clone());
            report.standing = standing.collect();
        }
    }

    /// Notes how it ended.
    pub(super) fn note_end(&mut self, outcome: Outcome, n_effects: usize) {
        if let Some(report) = &mut self.report {
            report.outcome = outcome;
            report.n_effects = n_effects;
        }
    }

    /// Notes that it ended as a dead letter, whose texts hold no secret.
    pub(super) fn note_death(&mut self, reason: DeadReason, error: &str) {
        let n_effects = self.accepted.len();
        self.note_end(Outcome::Dead, n_effects);
        if let Some(report) = &mut self.report {
            report.failure = Some((reason, error.to_owned()));
            report.standing.clear();
        }
    }

    /// A seed for the jitter: another for each event.
    pub(super) fn seed(&self) -> u64 {
        let id = self.envelope.origin.id.as_str().as_bytes();
        id.iter().fold(u64::from(self.attempt), |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
        })
    }

    /// The attempt at hand is the next one after those of an earlier run.
    pub(super) fn go_on_from(&mut self, earlier: Option<Tried>) {
        self.is_recalled = true;
        let Some(earlier) = earlier else { return };
        self.attempt = earlier.attempts + 1;
        self.past.history = earlier.history;
        for accepted in earlier.accepted {
            if !self.accepted.contains(&accepted) {
                self.accepted.push(accepted);
            }
        }
    }

    /// What was tried so far, the attempt at hand included.
    pub(super) fn tried(&self) -> Tried {
        Tried {
            attempts: self.attempt,
            history: self.past.history.clone(),
            accepted: self.accepted.clone(),
        }
    }

    pub(super) fn note_plugins(&mut self, versions: &[Arc<Version>]) {
        self.versions = versions.to_vec();
    }

    /// Of an attempt that is not counted as well: a dead letter lists what targets have accepted in any.
    pub(super) fn note_accepted(&mut self, fault: &Fault) {
        // Each attempt sends all of them: most come again.
        for accepted in &fault.accepted {
            if !self.accepted.contains(accepted) {
                self.accepted.push(accepted.clone());
            }
        }
    }

    pub(super) fn note_failure(&mut self, fault: &Fault, secrets: &Secrets) {
        self.note_accepted(fault);
        let history = &mut self.past.history;
        history.push(Failure {
            attempt: self.attempt,
            at: OffsetDateTime::now_utc()
                .format(&Rfc3339)
                .unwrap_or_default(),
            place: fault.place.clone(),
            digest: fault.digest.clone(),
            error: shortened(&secrets.redact(&fault.error)),
        });
        if history.len() > HISTORY {
            // The first failure and the latest say most.
            history.remove(1);
        }
    }

    /// Takes out of `effects` what targets had accepted before the event was replayed.
    pub(super) fn leave_out_accepted(&self, effects: &mut Vec<PlannedEffect>) {
        for accepted in &self.past.accepted {
            if let Some(index) = effects.iter().position(|planned| accepted.is(planned)) {
                effects.remove(index);
            }
        }
    }

    /// Where it stands in its key: as its letter says, where it came out of one.
    pub(super) fn rank(&self) -> Rank {
        let origin = &self.envelope.origin;
        match &self.hold {
            Some(hold) => hold.rank.clone(),
            None => Rank {
                key: origin.key.clone(),
                stream_created: origin.stream_created,
                sequence: origin.sequence,
            },
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
        let accepted = self.past.accepted.iter().chain(&self.accepted);
        DeadLetter {
            pipeline: pipeline.to_owned(),
            id: self.envelope.origin.id.clone(),
            generation: self.envelope.origin.generation,
            key: self.rank().key.to_string(),
            holds_key: self.parking.is_some(),
            event: self
                .is_event
                .then(|| [event.id.clone(), event.source.clone(), event.kind.clone()]),
            traceparent: event.traceparent().map(str::to_owned),
            reason: fault.reason,
            error: shortened(&secrets.redact(&fault.error)),
            history: self.past.history.clone(),
            plugins: plugins.collect(),
            accepted: accepted.cloned().collect(),
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
