//! A target that is a JetStream key-value bucket: each entity is an entry.
//!
//! Every write carries the source and sequence that caused it, so that a redelivery never takes an
//! entry back to an earlier state.

mod list;
mod undo;

use super::answer::of_publish_to;
use super::holder::Holder;
use super::{Answer, Cause, Config, Found, ReadError};
use crate::event::{
    Effect, KeyAlphabet, Operation, OrderingKey, Precondition, encode_hash, escape_key, merge,
    reserved,
};
use crate::provision::Provision;
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// How often a write that another writer overtook starts again from a fresh read.
const FRESH_READS: usize = 5;

#[derive(Debug)]
pub(super) struct Kv {
    context: jetstream::Context,
    stream: Holder,
    /// What the subjects of its entries begin with.
    prefix: String,
    provision: Provision,
}

/// The entry as it is now.
struct Current {
    revision: u64,
    value: Option<Bytes>,
    content_type: Option<String>,
    message_id: Option<String>,
    cause: Option<Source>,
    key: Option<String>,
}

/// The event that a write was caused by: which stream, when that was made, and where in it.
#[derive(PartialEq, Eq)]
struct Source {
    stream: String,
    created: u64,
    sequence: u64,
}

impl Source {
    fn of(cause: &Cause) -> Self {
        Self {
            stream: cause.stream.to_string(),
            created: cause.stream_created,
            sequence: cause.sequence,
        }
    }
}

/// The new value, and the revision that must still hold; none: whatever there is.
struct Change {
    payload: Bytes,
    revision: Option<u64>,
    /// What the entry says of its cause goes on to hold: a later event had written it before.
    keeps: Option<(Source, Option<String>)>,
}

impl Change {
    fn blind(effect: &Effect) -> Self {
        Self {
            payload: effect.payload.clone(),
            revision: None,
            keeps: None,
        }
    }
}

impl Kv {
    pub(super) async fn open(
        context: &jetstream::Context,
        bucket: &str,
        config: &Config,
    ) -> Result<Self, String> {
        Ok(Self {
            context: context.clone(),
            stream: Holder::of_bucket(context, config, bucket).await?,
            prefix: format!("$KV.{bucket}."),
            provision: config.provision.clone(),
        })
    }

    /// The stream of the bucket.
    pub(super) fn stream(&self) -> &Holder {
        &self.stream
    }

    pub(super) async fn apply(&self, effect: &Effect, cause: &Cause) -> Answer {
        let subject = self.subject(effect.entity.as_deref(), &effect.key);
        let is_blind = effect.precondition.is_none() && effect.operation != Operation::Merge;
        if effect.operation == Operation::Append {
            return Answer::Refused("a kv target has no `append`".to_owned());
        }
        if is_blind && !cause.maybe_seen {
            return self
                .write(&subject, effect, Change::blind(effect), cause)
                .await;
        }
        let mut last = Answer::Unknown("the entry keeps changing".to_owned());
        for _ in 0..FRESH_READS {
            let current = match self.current(&subject).await {
                Ok(current) => current,
                Err(error) => return Answer::Unknown(error.to_string()),
            };
            // What other keys wrote later tells nothing of an effect that rests on the entry. Nor does
            // what its own key wrote while the event was a dead letter.
            let had_its_turn = cause.generation == 0 && current.is_of_key(cause);
            let is_later = current.is_later_than(cause);
            let is_overtaken = is_later && (is_blind || had_its_turn);
            if current.is_of(cause) || (cause.maybe_seen && is_overtaken) {
                return Answer::Applied;
            }
            if let Some(fault) = broken(effect.precondition.as_ref(), &current) {
                return Answer::Conflict(fault);
            }
            let payload = match new_value(effect, &current) {
                Ok(payload) => payload,
                Err(fault) => return Answer::Refused(fault),
            };
            let change = Change {
                payload,
                revision: Some(current.revision),
                keeps: match current.cause {
                    Some(source) if is_later => Some((source, current.key)),
                    _ => None,
                },
            };
            last = self.write(&subject, effect, change, cause).await;
            if !matches!(last, Answer::Conflict(_)) {
                return last;
            }
        }
        last
    }

    pub(super) async fn read(
        &self,
        entity: Option<&str>,
        key: &str,
    ) -> Result<Option<Found>, ReadError> {
        let current = self.current(&self.subject(entity, key)).await?;
        Ok(current.value.map(|data| Found {
            content_type: current
                .content_type
                .unwrap_or_else(|| "application/json".to_owned()),
            etag: current.revision.to_string(),
            data,
        }))
    }

    async fn write(&self, subject: &str, effect: &Effect, change: Change, cause: &Cause) -> Answer {
        match self.send(subject, effect, change, cause).await {
            Ok(()) => Answer::Applied,
            Err(error) => of_publish_to(&error, &self.context, Some(&self.stream)).await,
        }
    }

    async fn send(
        &self,
        subject: &str,
        effect: &Effect,
        change: Change,
        cause: &Cause,
    ) -> Result<(), PublishError> {
        let Change {
            payload,
            revision,
            keeps,
        } = change;
        let mut headers = HeaderMap::new();
        if let Some(revision) = revision {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        }
        let payload = if effect.operation == Operation::Delete {
            headers.insert("KV-Operation", "DEL");
            Bytes::new()
        } else {
            payload
        };
        headers.insert(reserved::MESSAGE_ID, &*cause.message_id);
        headers.insert(reserved::EVENT_ID, cause.event_id.as_str());
        let own = || (Source::of(cause), Some(hash_of(&cause.key).to_string()));
        let (source, key) = keeps.unwrap_or_else(own);
        if !source.stream.is_empty() {
            headers.insert(reserved::SOURCE_STREAM, source.stream);
            headers.insert(reserved::SOURCE_CREATED, source.created.to_string());
            headers.insert(reserved::SOURCE_SEQUENCE, source.sequence.to_string());
            headers.insert(reserved::SOURCE_KEY, key.unwrap_or_default());
        }
        if let Some(content_type) = &effect.content_type {
            headers.insert(
                reserved::CONTENT_TYPE,
                content_type.replace(['\r', '\n'], " "),
            );
        }
        let subject = self.provision.written(subject.to_owned());
        let sent = self.context.publish_with_headers(subject, headers, payload);
        sent.await?.await.map(drop)
    }

    /// `KEY`, or `ENTITY.KEY` where the effect names a kind of entity.
    fn subject(&self, entity: Option<&str>, key: &str) -> String {
        let key = escape_key(key, KeyAlphabet::BucketKey);
        let prefix = &self.prefix;
        match entity {
            Some(entity) => format!("{prefix}{}.{key}", escape_key(entity, KeyAlphabet::Token)),
            None => format!("{prefix}{key}"),
        }
    }

    /// Where an entry lies in the bucket.
    pub(super) fn place(&self, entity: Option<&str>, key: &str) -> String {
        let subject = self.subject(entity, key);
        let name = subject.strip_prefix(&self.prefix);
        name.unwrap_or_default().to_owned()
    }

    async fn current(&self, subject: &str) -> Result<Current, ReadError> {
        let message = self.stream.last_message(subject).await?;
        Ok(message.map_or_else(Current::none, Current::of))
    }
}

impl Current {
    fn none() -> Self {
        Self {
            revision: 0,
            value: None,
            content_type: None,
            message_id: None,
            cause: None,
            key: None,
        }
    }

    fn of(message: StreamMessage) -> Self {
        let header = |name: &str| message.headers.get(name).map(ToString::to_string);
        let number = |name| header(name).and_then(|text| text.parse().ok());
        let cause = || {
            Some(Source {
                stream: header(reserved::SOURCE_STREAM)?,
                created: number(reserved::SOURCE_CREATED)?,
                sequence: number(reserved::SOURCE_SEQUENCE)?,
            })
        };
        let is_gone = header("KV-Operation").is_some() || header("Nats-Marker-Reason").is_some();
        Self {
            revision: message.sequence,
            content_type: header(reserved::CONTENT_TYPE),
            message_id: header(reserved::MESSAGE_ID),
            cause: cause(),
            key: header(reserved::SOURCE_KEY),
            value: (!is_gone).then_some(message.payload),
        }
    }

    /// Whether this very effect wrote the entry, in an attempt that was not known to have succeeded.
    fn is_of(&self, cause: &Cause) -> bool {
        self.message_id.as_deref() == Some(&*cause.message_id)
    }

    /// Whether a later event of the same source has written the entry.
    fn is_later_than(&self, cause: &Cause) -> bool {
        self.cause.as_ref().is_some_and(|source| {
            *source.stream == *cause.stream
                && source.created == cause.stream_created
                && source.sequence > cause.sequence
        })
    }
}

impl Current {
    /// Whether an event of the same ordering key has written the entry: then, as keys are handled in
    /// order, every earlier event of that key had come to its end.
    fn is_of_key(&self, cause: &Cause) -> bool {
        self.key.as_deref() == Some(&*hash_of(&cause.key))
    }
}

/// An ordering key may be long and hold anything; a header may not.
fn hash_of(key: &OrderingKey) -> Arc<str> {
    encode_hash(&Sha256::digest(key.as_str()))
}

fn broken(precondition: Option<&Precondition>, current: &Current) -> Option<String> {
    match (precondition?, &current.value) {
        (Precondition::Absent, Some(_)) => Some("the entry exists".to_owned()),
        (Precondition::Present, None) => Some("the entry does not exist".to_owned()),
        (Precondition::Etag(etag), _) if *etag != current.revision.to_string() => Some(format!(
            "the entry is at revision {}, not {etag}",
            current.revision
        )),
        _ => None,
    }
}

fn new_value(effect: &Effect, current: &Current) -> Result<Bytes, String> {
    if effect.operation != Operation::Merge {
        return Ok(effect.payload.clone());
    }
    let patch: Value = serde_json::from_slice(&effect.payload)
        .map_err(|error| format!("the payload of a merge is not JSON: {error}"))?;
    let mut entry = match &current.value {
        None => Value::Null,
        Some(value) => serde_json::from_slice(value)
            .map_err(|error| format!("the entry to merge into is not JSON: {error}"))?,
    };
    merge(&mut entry, patch);
    Ok(Bytes::from(entry.to_string()))
}
