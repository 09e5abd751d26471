//! The record of a decision: what became of an event, and what is to be done because of it. One
//! message on the marker's subject, so that it is there whole or not at all.
//!
//! A line of JSON, then the payloads one after the other as they are.

mod attempt;
mod ended;
mod heads;
mod taken_back;

use crate::dead_letter::Draft;
use crate::event::{DeadReason, EventId, OrderingKey, Origin, Plan, PlannedEffect};
use crate::target::{Cause, Image};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use heads::{EffectHead, LetterHead};

pub(super) use ended::Ended;
pub use taken_back::TakenBack;

/// How far an event or a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Changes are being made that may have to be taken back: nothing is decided.
    Preparing,
    /// The database of its only branch decides: it is done when that has committed.
    Delegated,
    /// Its effects are decided on, or were applied.
    Done,
    /// It was dropped, and plugin state was written.
    Filtered,
    /// It became a dead letter.
    Dead,
    /// It became a letter that waits for an earlier event of its key.
    Parked,
    /// This transaction came to nothing; the event may be tried again.
    Aborted,
    /// It could not be taken back whole: somebody has to look.
    Heuristic,
}

impl State {
    /// How an event ends with `plan`.
    pub(super) fn of(plan: &Plan) -> Self {
        match &plan.dead_letter {
            Some(letter) if letter.reason == DeadReason::Parked => Self::Parked,
            Some(_) => Self::Dead,
            None if plan.effects.is_empty() => Self::Filtered,
            None => Self::Done,
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) head: Head,
    /// What is to be done, in order.
    pub(super) effects: Vec<Decided>,
    /// The dead letter to be stored.
    pub(super) letter: Option<Draft>,
}

/// An effect that was decided on, and what it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) planned: PlannedEffect,
    pub(super) message_id: Arc<str>,
    /// What was there before, of a change that is made before the decision.
    pub(super) image: Option<Image>,
}

/// Something that is done before the decision and can be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// What one participant has prepared.
    Branch(Branch<'a>),
    /// A change.
    Change(&'a Decided),
}

/// What a transaction does at one participant, a database or a module that reserves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<'a> {
    /// Its number in the transaction.
    pub(super) n: u32,
    /// A target of that participant.
    pub(super) target: &'a Arc<str>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) state: State,
    /// How often the event had been replayed.
    pub(super) generation: u32,
    /// The last earlier generation in which the event had ended, where this record replaced one that said so:
    /// whatever comes of this one, that one stays ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) ended_before: Option<u32>,
    /// Of a transaction that somebody had to end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) resolution: Option<Resolution>,
    /// Of a decision with something left to be done.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub(super) transaction: Option<Transaction>,
}

/// How somebody ended a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// When, RFC 3339.
    pub at: String,
    /// What they had to say about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// Whose decision it is, and because of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transaction {
    /// Never used twice.
    pub(super) gid: String,
    pub(super) partition: u32,
    pub(super) epoch: u64,
    pub(super) event: Because,
    /// A target of each participant that prepares.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    branches: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    effects: Vec<EffectHead>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    letter: Option<LetterHead>,
    /// Of one that was taken back, what that came to, in the order in which it was done.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) taken_back: Vec<TakenBack>,
    /// By target: none of the effects lies at this position or before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) after: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Because {
    pub(super) id: EventId,
    pub(super) stream: Arc<str>,
    created: u64,
    pub(super) sequence: u64,
    pub(super) key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    traceparent: Option<String>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// Its first line is none.
    #[error("its first line is not that of a record: {0}")]
    Head(#[from] serde_json::Error),
    /// It is shorter than it says.
    #[error("it is shorter than its first line says")]
    Short,
}

impl Record {
    /// The record of a decision about the event of `origin`.
    pub(super) fn new(
        (state, gid): (State, String),
        (partition, epoch): (u32, u64),
        (origin, traceparent): (&Origin, Option<&str>),
        (effects, letter): (Vec<Decided>, Option<Draft>),
        (branches, after): (Vec<Arc<str>>, BTreeMap<String, u64>),
    ) -> Self {
        let transaction = Transaction {
            gid,
            partition,
            epoch,
            event: Because {
                id: origin.id.clone(),
                stream: origin.stream.clone(),
                created: origin.stream_created,
                sequence: origin.sequence,
                key: origin.key.to_string(),
                traceparent: traceparent.map(str::to_owned),
            },
            branches,
            effects: effects.iter().map(EffectHead::of).collect(),
            letter: letter.as_ref().map(LetterHead::of),
            taken_back: Vec::new(),
            after,
        };
        Self {
            head: Head {
                state,
                generation: origin.generation,
                ended_before: None,
                resolution: None,
                transaction: Some(transaction),
            },
            effects,
            letter,
        }
    }

    /// As it lies on the stream.
    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        let payloads = self.effects.iter().flat_map(|decided| {
            let before = decided.image.as_ref().and_then(|image| image.data.as_ref());
            std::iter::once(&decided.planned.effect.payload).chain(before)
        });
        let payloads = payloads.chain(self.letter.iter().map(|letter| &letter.body));
        let head = serde_json::to_vec(&self.head)?;
        let length: usize = payloads.clone().map(Bytes::len).sum();
        let mut body = BytesMut::with_capacity(head.len() + 1 + length);
        body.put_slice(&head);
        body.put_u8(b'\n');
        payloads.for_each(|payload| body.put_slice(payload));
        Ok(body.freeze())
    }

    /// Reads one. A marker of `dedupe` is a record of which nothing is left to be done.
    pub(super) fn decode(body: &Bytes) -> Result<Self, RecordError> {
        let line = body.iter().position(|byte| *byte == b'\n');
        let line = line.unwrap_or(body.len());
        let head: Head = serde_json::from_slice(body.get(..line).unwrap_or_default())?;
        let mut rest = body.slice((line + 1).min(body.len())..);
        let mut take = |length: usize| {
            let has_all = length <= rest.len();
            has_all
                .then(|| rest.split_to(length))
                .ok_or(RecordError::Short)
        };
        let (mut effects, mut letter) = (Vec::new(), None);
        if let Some(transaction) = &head.transaction {
            for effect in &transaction.effects {
                let payload = take(effect.length)?;
                let image = match &effect.image {
                    Some(head) => Some(head.with(head.length.map(&mut take).transpose()?)),
                    None => None,
                };
                effects.push(effect.with(payload, image));
            }
            if let Some(head) = &transaction.letter {
                letter = Some(head.with(take(head.length)?));
            }
        }
        Ok(Self {
            head,
            effects,
            letter,
        })
    }

    /// The ordering key of its event.
    pub(super) fn key(&self) -> Option<&str> {
        let transaction = self.head.transaction.as_ref();
        transaction.map(|transaction| transaction.event.key.as_str())
    }

    /// What participants prepare.
    pub(super) fn branches(&self) -> impl Iterator<Item = Branch<'_>> {
        let transaction = self.head.transaction.iter();
        let targets = transaction.flat_map(|transaction| &transaction.branches);
        (0..).zip(targets).map(|(n, target)| Branch { n, target })
    }

    /// What is done before the decision, in order: what is not seen comes first.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let changes = self
            .effects
            .iter()
            .filter(|decided| decided.image.is_some());
        let branches = self.branches().map(Part::Branch);
        branches.chain(changes.map(Part::Change)).collect()
    }

    /// The decision that ends the preparation: only what is left to be done.
    pub(super) fn decision(&self, state: State) -> Self {
        let effects = self.effects.iter();
        let left = effects.filter(|decided| decided.image.is_none());
        self.with(state, left.cloned().collect())
    }

    /// The same transaction in another state, of which nothing is left to be done.
    pub(super) fn ended(&self, state: State) -> Self {
        let mut ended = self.with(state, Vec::new());
        if let Some(transaction) = &mut ended.head.transaction {
            transaction.branches.clear();
        }
        ended
    }

    /// The same in the place of a record that says in which generation the event had ended last.
    pub(super) fn after_end(&self, ended_before: Option<u32>) -> Self {
        let mut later = self.clone();
        later.head.ended_before = ended_before;
        later
    }

    /// The same transaction in another state, with all that it is about.
    pub(super) fn in_state(&self, state: State) -> Self {
        self.with(state, self.effects.clone())
    }

    /// The same transaction, and what taking it back came to.
    pub(super) fn taken_back(&self, parts: Vec<TakenBack>) -> Self {
        let mut ended = self.clone();
        if let Some(transaction) = &mut ended.head.transaction {
            transaction.taken_back = parts;
        }
        ended
    }

    /// The same transaction as somebody ended it, with all that it was about.
    pub(super) fn resolved(&self, state: State, resolution: Resolution) -> Self {
        let mut resolved = self.in_state(state);
        resolved.head.resolution = Some(resolution);
        resolved
    }

    fn with(&self, state: State, effects: Vec<Decided>) -> Self {
        let mut head = self.head.clone();
        head.state = state;
        if let Some(transaction) = &mut head.transaction {
            transaction.effects = effects.iter().map(EffectHead::of).collect();
        }
        Self {
            head,
            effects,
            letter: None,
        }
    }

    /// The same without what taking its parts back came to.
    pub(super) fn without_reasons(self) -> Self {
        self.taken_back(Vec::new())
    }

    /// The event that it is about; none of a marker.
    pub(super) fn event(&self) -> Option<&EventId> {
        self.head.transaction.as_ref().map(|t| &t.event.id)
    }

    /// Whose decision it is; none of a marker.
    pub(super) fn gid(&self) -> Option<&str> {
        let transaction = self.head.transaction.as_ref();
        transaction.map(|transaction| transaction.gid.as_str())
    }

    /// The effect at `target` lies after this position, if anywhere.
    pub(super) fn after(&self, target: &str) -> u64 {
        let transaction = self.head.transaction.as_ref();
        let after = transaction.and_then(|transaction| transaction.after.get(target));
        after.copied().unwrap_or_default()
    }

    /// What led to `decided`. With `maybe_seen` it may have been applied before.
    pub(super) fn cause(&self, decided: &Decided, maybe_seen: bool) -> Option<Cause> {
        self.because(decided.message_id.clone(), maybe_seen)
    }

    /// What led to anything of it that is known by `message_id`.
    pub(super) fn because(&self, message_id: Arc<str>, maybe_seen: bool) -> Option<Cause> {
        let event = &self.head.transaction.as_ref()?.event;
        Some(Cause {
            event_id: event.id.clone(),
            stream: event.stream.clone(),
            stream_created: event.created,
            sequence: event.sequence,
            generation: self.head.generation,
            key: OrderingKey::from(event.key.as_str()),
            // Later events of its key had their turn while a replay was a dead letter.
            maybe_seen: maybe_seen || self.head.generation > 0,
            traceparent: event.traceparent.clone(),
            message_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Effect, Headers, Operation};
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin {
            id: EventId::of("/s", "1"),
            address: "src.a".to_owned(),
            stream: "SRC".into(),
            stream_created: 7,
            sequence: 3,
            key: "k".into(),
            maybe_seen: false,
            generation: 2,
        }
    }

    fn decided(payload: Vec<u8>) -> Decided {
        // Of an entity that was there, and of one that was not.
        let before = (!payload.is_empty()).then(|| Bytes::from(payload.repeat(2)));
        Decided {
            planned: PlannedEffect {
                target: "crm".into(),
                effect: Effect {
                    target: None,
                    entity: Some("e".to_owned()),
                    operation: Operation::Upsert,
                    key: "k\n\"".to_owned(),
                    precondition: None,
                    content_type: None,
                    headers: Headers(vec![("a".to_owned(), "b".to_owned())]),
                    payload: payload.into(),
                },
                id: "p.k.0".to_owned(),
            },
            message_id: "m".into(),
            image: Some(Image {
                etag: "3".to_owned(),
                headers: Headers::default(),
                data: before,
            }),
        }
    }

    fn record(payloads: Vec<Vec<u8>>, letter: Option<Vec<u8>>) -> Record {
        let draft = |body: Vec<u8>| Draft {
            id: "p.k".to_owned(),
            message_id: "dead".to_owned(),
            hold: Some("{}".to_owned()),
            body: body.into(),
        };
        Record::new(
            (State::Done, "g".to_owned()),
            (1, 5),
            (&origin(), Some("trace")),
            (
                payloads.into_iter().map(decided).collect(),
                letter.map(draft),
            ),
            (
                vec!["ledger".into()],
                BTreeMap::from([("crm".to_owned(), 9)]),
            ),
        )
    }

    #[test]
    fn a_marker_is_a_record_of_which_nothing_is_left() {
        let marker = Bytes::from_static(br#"{"state":"DONE","generation":1}"#);
        let record = Record::decode(&marker).unwrap();
        assert_eq!((record.head.generation, record.gid()), (1, None));
        assert!(record.effects.is_empty() && record.letter.is_none());
    }

    #[test]
    fn what_is_cut_off_is_no_record() {
        let body = record(vec![vec![1, 2, 3]], None).encode().unwrap();
        let cut = Record::decode(&body.slice(..body.len() - 1));
        assert!(matches!(cut, Err(RecordError::Short)));
        assert!(matches!(
            Record::decode(&body.slice(..9)),
            Err(RecordError::Head(_))
        ));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
            letter in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
        ) {
            let record = record(payloads, letter);
            prop_assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }
}
