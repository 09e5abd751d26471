//! The record of a decision: what became of an event, and what is to be done because of it. One
//! message on the marker's subject, so that it is there whole or not at all.
//!
//! A line of JSON, then the payloads one after the other as they are.

use crate::dead_letter::Draft;
use crate::event::{Effect, EventId, Headers, Operation, OrderingKey, Origin, PlannedEffect};
use crate::target::{Cause, Image};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far an event or a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Changes are being made that may have to be taken back: nothing is decided.
    Preparing,
    /// Its effects are decided on, or were applied.
    Done,
    /// It was dropped, and plugin state was written.
    Filtered,
    /// It became a dead letter.
    Dead,
    /// This transaction came to nothing; the event may be tried again.
    Aborted,
    /// It could not be taken back whole: somebody has to look.
    Heuristic,
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

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) state: State,
    /// How often the event had been replayed.
    pub(super) generation: u32,
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
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    effects: Vec<EffectHead>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    letter: Option<LetterHead>,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EffectHead {
    target: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    entity: Option<String>,
    operation: Operation,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "no_headers", default)]
    headers: Headers,
    id: String,
    message_id: Arc<str>,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    image: Option<ImageHead>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ImageHead {
    etag: String,
    #[serde(skip_serializing_if = "no_headers", default)]
    headers: Headers,
    /// None: there was no entity.
    length: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LetterHead {
    id: String,
    message_id: String,
    length: usize,
}

fn no_headers(headers: &Headers) -> bool {
    headers.0.is_empty()
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
        after: BTreeMap<String, u64>,
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
            effects: effects.iter().map(EffectHead::of).collect(),
            letter: letter.as_ref().map(LetterHead::of),
            after,
        };
        Self {
            head: Head {
                state,
                generation: origin.generation,
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

    /// The changes that are made before the decision, in order.
    pub(super) fn undoable(&self) -> impl Iterator<Item = &Decided> {
        self.effects
            .iter()
            .filter(|decided| decided.image.is_some())
    }

    /// How many there are.
    pub(super) fn n_undoable(&self) -> usize {
        self.undoable().count()
    }

    /// The decision that ends the preparation: only what is left to be done.
    pub(super) fn decision(&self) -> Self {
        let effects = self.effects.iter();
        let left = effects.filter(|decided| decided.image.is_none());
        self.with(State::Done, left.cloned().collect())
    }

    /// The same transaction in another state, of which nothing is left to be done.
    pub(super) fn ended(&self, state: State) -> Self {
        self.with(state, Vec::new())
    }

    /// The same transaction in another state, with all that it is about.
    pub(super) fn in_state(&self, state: State) -> Self {
        self.with(state, self.effects.clone())
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
        let event = &self.head.transaction.as_ref()?.event;
        Some(Cause {
            event_id: event.id.clone(),
            stream: event.stream.clone(),
            stream_created: event.created,
            sequence: event.sequence,
            generation: self.head.generation,
            key: OrderingKey::from(event.key.as_str()),
            maybe_seen,
            traceparent: event.traceparent.clone(),
            message_id: decided.message_id.clone(),
        })
    }
}

impl ImageHead {
    fn of(image: &Image) -> Self {
        Self {
            etag: image.etag.clone(),
            headers: image.headers.clone(),
            length: image.data.as_ref().map(Bytes::len),
        }
    }

    fn with(&self, data: Option<Bytes>) -> Image {
        Image {
            etag: self.etag.clone(),
            headers: self.headers.clone(),
            data,
        }
    }
}

impl LetterHead {
    fn of(draft: &Draft) -> Self {
        Self {
            id: draft.id.clone(),
            message_id: draft.message_id.clone(),
            length: draft.body.len(),
        }
    }

    fn with(&self, body: Bytes) -> Draft {
        Draft {
            id: self.id.clone(),
            message_id: self.message_id.clone(),
            body,
        }
    }
}

impl EffectHead {
    fn of(decided: &Decided) -> Self {
        let PlannedEffect { target, effect, id } = &decided.planned;
        Self {
            target: target.clone(),
            entity: effect.entity.clone(),
            operation: effect.operation,
            key: effect.key.clone(),
            content_type: effect.content_type.clone(),
            headers: effect.headers.clone(),
            id: id.clone(),
            message_id: decided.message_id.clone(),
            length: effect.payload.len(),
            image: decided.image.as_ref().map(ImageHead::of),
        }
    }

    fn with(&self, payload: Bytes, image: Option<Image>) -> Decided {
        Decided {
            planned: PlannedEffect {
                target: self.target.clone(),
                effect: Effect {
                    target: None,
                    entity: self.entity.clone(),
                    operation: self.operation,
                    key: self.key.clone(),
                    precondition: None,
                    content_type: self.content_type.clone(),
                    headers: self.headers.clone(),
                    payload,
                },
                id: self.id.clone(),
            },
            message_id: self.message_id.clone(),
            image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            BTreeMap::from([("crm".to_owned(), 9)]),
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
