//! Dead letters on their JetStream stream: stored, listed, read.

use super::backfill::is_backfill;
use super::hold::HEADER;
use super::reading::Reading;
use super::record::{Letter, LetterSummary};
use super::replay::{REPLAY_PREFIX, Request};
use super::{STREAM, SUBJECT_PREFIX, Selection};
use crate::event::DeadLetter;
use crate::provision::Provision;
use async_nats::HeaderMap;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::{self, stream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncReadExt as _;

/// Payloads that do not fit beside their context lie here.
const BUCKET: &str = "SYNCLINE_DLQ_PAYLOADS";
/// Room for the headers that publishing adds.
const MARGIN: usize = 1_024;

/// Why a dead letter could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct DeadLetterError {
    attempted: String,
    cause: String,
}

/// A letter as it will be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `PIPELINE.K`.
    pub id: String,
    /// What it is known by: the same for every attempt at storing one failure of one copy.
    pub message_id: String,
    /// What it says of itself in a header, where it holds its key.
    pub hold: Option<String>,
    /// The letter in JSON.
    pub body: Bytes,
}

/// The dead letters of every pipeline.
#[derive(Clone)]
pub struct DeadLetters {
    context: jetstream::Context,
    stream: stream::Stream,
    provision: Provision,
}

impl DeadLetters {
    /// Opens the stream, making it when it is missing.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub async fn open(
        context: &jetstream::Context,
        provision: &Provision,
    ) -> Result<Self, DeadLetterError> {
        let config = stream::Config {
            name: STREAM.to_owned(),
            description: Some("Events that Syncline gave up".to_owned()),
            subjects: vec![format!("{SUBJECT_PREFIX}>"), format!("{REPLAY_PREFIX}>")],
            // A letter that does not fit must be refused, never push out another.
            discard: stream::DiscardPolicy::New,
            allow_direct: true,
            allow_atomic_publish: true,
            num_replicas: provision.replicas,
            ..Default::default()
        };
        let attempted = format!("cannot open the stream {STREAM}");
        let mut stream = context
            .get_or_create_stream(config.clone())
            .await
            .map_err(|error| failed(&attempted, &error))?;
        let mut found = stream.cached_info().config.clone();
        provision.compare(STREAM, found.num_replicas);
        // Made by a version that knew no replays.
        if found.subjects != config.subjects {
            found.subjects = config.subjects;
            context
                .update_stream(&found)
                .await
                .map_err(|error| failed(&attempted, &error))?;
            stream = context
                .get_stream(STREAM)
                .await
                .map_err(|error| failed(&attempted, &error))?;
        }
        Ok(Self {
            context: context.clone(),
            stream,
            provision: provision.clone(),
        })
    }

    /// Opens the stream when there is one, and makes nothing.
    ///
    /// # Errors
    /// When JetStream does not answer.
    pub async fn find(context: &jetstream::Context) -> Result<Option<Self>, DeadLetterError> {
        match context.get_stream(STREAM).await {
            Ok(stream) => Ok(Some(Self {
                context: context.clone(),
                stream,
                provision: Provision::default(),
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed(&format!("cannot open the stream {STREAM}"), &error)),
        }
    }

    pub(super) fn context(&self) -> &jetstream::Context {
        &self.context
    }

    pub(super) fn stream(&self) -> &stream::Stream {
        &self.stream
    }

    /// Whether the connection to NATS stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.context.client().connection_state() == async_nats::connection::State::Connected
    }

    /// Stores a letter, once: the same letter again within the stream's window is no second one.
    ///
    /// # Errors
    /// When it is not known to be stored.
    pub async fn store(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let draft = self.draft(letter, MARGIN).await?;
        self.put(&draft).await
    }

    /// Writes a letter out, so that `room` bytes more fit into a message with it. A payload that is
    /// too large for that is stored now.
    ///
    /// # Errors
    /// When such a payload is not known to be stored.
    pub async fn draft(&self, letter: &DeadLetter, room: usize) -> Result<Draft, DeadLetterError> {
        let at = OffsetDateTime::now_utc()
            .format(&Rfc3339)
            .unwrap_or_default();
        let mut record = Letter::of(letter, at);
        let attempted = format!("cannot store the dead letter {}", record.id);
        let hold = record.line().map(|line| serde_json::to_string(&line));
        let hold = hold
            .transpose()
            .map_err(|error| failed(&attempted, &error))?;
        let mut body = encode(&record, &attempted)?;
        let room = room + hold.as_ref().map_or(0, String::len);
        let largest = self
            .context
            .client()
            .server_info()
            .max_payload
            .saturating_sub(room);
        if body.len() > largest {
            // Each letter's own: another of the same event must not lose it when this one is deleted.
            let object = format!("{}.{}", record.id, message_id(letter));
            self.store_payload(&object, &letter.original.payload)
                .await?;
            record.payload_base64 = None;
            record.payload_object = Some(object);
            body = encode(&record, &attempted)?;
        }
        Ok(Draft {
            id: record.id,
            message_id: message_id(letter),
            hold,
            body,
        })
    }

    /// Stores a letter that is written out.
    ///
    /// # Errors
    /// When it is not known to be stored.
    pub async fn put(&self, draft: &Draft) -> Result<(), DeadLetterError> {
        let attempted = format!("cannot store the dead letter {}", draft.id);
        let subject = format!("{SUBJECT_PREFIX}{}", draft.id);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", draft.message_id.as_str());
        headers.insert("content-type", "application/json");
        if let Some(hold) = &draft.hold {
            headers.insert(HEADER, hold.as_str());
        }
        let published = self
            .context
            .publish_with_headers(subject, headers, draft.body.clone())
            .await;
        let ack = published.map_err(|error| failed(&attempted, &error))?;
        ack.await
            .map_err(|error| failed(&attempted, &error))
            .map(|_| ())
    }

    /// Whether a letter that is written out is stored: as the last one of its event.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn holds(&self, draft: &Draft) -> Result<bool, DeadLetterError> {
        let subject = format!("{SUBJECT_PREFIX}{}", draft.id);
        let last = self.stream.get_last_raw_message_by_subject(&subject).await;
        match last {
            Ok(last) => {
                let id = last.headers.get("Nats-Msg-Id");
                Ok(id.is_some_and(|id| id.as_str() == draft.message_id))
            }
            Err(error) if error.kind() == stream::LastRawMessageErrorKind::NoMessageFound => {
                Ok(false)
            }
            Err(error) => {
                let attempted = format!("cannot look for the dead letter {}", draft.id);
                Err(failed(&attempted, &error))
            }
        }
    }

    async fn store_payload(&self, name: &str, payload: &Bytes) -> Result<(), DeadLetterError> {
        let attempted = format!("cannot store the payload of the dead letter {name}");
        let store = self.payloads(&attempted).await?;
        let mut reader: &[u8] = payload;
        store
            .put(name, &mut reader)
            .await
            .map_err(|error| failed(&attempted, &error))?;
        Ok(())
    }

    pub(super) async fn delete_payload(
        &self,
        name: &str,
        attempted: &str,
    ) -> Result<(), DeadLetterError> {
        let deleted = self.payloads(attempted).await?.delete(name).await;
        match deleted {
            Err(error) if error.kind() != object_store::DeleteErrorKind::NotFound => {
                Err(failed(attempted, &error))
            }
            _ => Ok(()),
        }
    }

    async fn payloads(&self, attempted: &str) -> Result<ObjectStore, DeadLetterError> {
        if let Ok(store) = self.context.get_object_store(BUCKET).await {
            return Ok(store);
        }
        let config = object_store::Config {
            bucket: BUCKET.to_owned(),
            num_replicas: self.provision.replicas,
            ..Default::default()
        };
        self.context
            .create_object_store(config)
            .await
            .map_err(|error| failed(attempted, &error))
    }

    /// The letters that are meant, oldest first.
    ///
    /// # Errors
    /// When the stream cannot be read to its end.
    pub async fn list(&self, selection: &Selection) -> Result<Vec<LetterSummary>, DeadLetterError> {
        let attempted = "cannot list the dead letters";
        let filter = selection
            .pipeline
            .as_ref()
            .map_or_else(|| ">".to_owned(), |pipeline| format!("{pipeline}.>"));
        let reading = Reading {
            subjects: vec![
                format!("{SUBJECT_PREFIX}{filter}"),
                format!("{REPLAY_PREFIX}{filter}"),
            ],
            ..Reading::default()
        };
        let mut listed: Vec<LetterSummary> = Vec::new();
        let mut by_id: HashMap<String, Vec<usize>> = HashMap::new();
        let each = |message: &jetstream::Message, sequence| {
            if let Some(id) = message.subject.strip_prefix(REPLAY_PREFIX) {
                if is_backfill(id) {
                    return Ok(());
                }
                let asked = Request::decode(&message.payload, attempted)?;
                for index in by_id.get(id).into_iter().flatten() {
                    if let Some(letter) = listed.get_mut(*index)
                        && letter.sequence <= asked.letter
                        && !letter.replayed
                    {
                        (letter.replayed, letter.request) = (true, Some(sequence));
                    }
                }
                return Ok(());
            }
            let letter: Letter = decode(&message.payload, attempted)?;
            if selection.holds(&letter) {
                let open = by_id.entry(letter.id.clone()).or_default();
                open.push(listed.len());
                listed.push(letter.summary(sequence));
            }
            Ok(())
        };
        self.read(reading, attempted, each).await?;
        listed.retain(|letter| letter.replayed == selection.replayed);
        listed.truncate(selection.limit.unwrap_or(usize::MAX));
        Ok(listed)
    }

    /// One letter whole, its payload included, or `None` when there is none of this id.
    ///
    /// # Errors
    /// When the stream or the payload cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Letter>, DeadLetterError> {
        let attempted = format!("cannot read the dead letter {id}");
        let subject = format!("{SUBJECT_PREFIX}{id}");
        let message = match self.stream.direct_get_last_for_subject(subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&attempted, &error)),
        };
        self.whole(&message.payload, &attempted).await.map(Some)
    }

    /// The letter with its payload.
    pub(super) async fn whole(
        &self,
        body: &[u8],
        attempted: &str,
    ) -> Result<Letter, DeadLetterError> {
        let letter: Letter = decode(body, attempted)?;
        let whole = self.with_payload(letter, attempted).await?;
        whole.ok_or_else(|| failed(attempted, "its payload is gone"))
    }

    /// The letter with its payload, or `None` when that was deleted.
    pub(super) async fn with_payload(
        &self,
        mut letter: Letter,
        attempted: &str,
    ) -> Result<Option<Letter>, DeadLetterError> {
        if let Some(object) = letter.payload_object.take() {
            letter.payload_base64 = match self.read_payload(&object, attempted).await? {
                Some(payload) => Some(payload),
                None => return Ok(None),
            };
        }
        Ok(Some(letter))
    }

    async fn read_payload(
        &self,
        name: &str,
        attempted: &str,
    ) -> Result<Option<String>, DeadLetterError> {
        let store = self.payloads(attempted).await?;
        let mut object = match store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(attempted, &error)),
        };
        let mut payload = Vec::new();
        object
            .read_to_end(&mut payload)
            .await
            .map_err(|error| failed(attempted, &error))?;
        Ok(Some(STANDARD.encode(payload)))
    }
}

/// Whether the server answered that there is no such stream.
fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

/// The same for every attempt at storing one failure of one copy of the event.
fn message_id(letter: &DeadLetter) -> String {
    let mut hash = Sha256::new();
    for part in [
        letter.pipeline.as_str(),
        letter.id.as_str(),
        &letter.original.stream,
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(letter.original.stream_created.to_le_bytes());
    hash.update(letter.original.sequence.to_le_bytes());
    hash.update(letter.generation.to_le_bytes());
    format!("dead-{}", crate::event::encode_hash(&hash.finalize()))
}

fn encode(letter: &Letter, attempted: &str) -> Result<Bytes, DeadLetterError> {
    serde_json::to_vec(letter)
        .map(Bytes::from)
        .map_err(|error| failed(attempted, &error))
}

fn decode(body: &[u8], attempted: &str) -> Result<Letter, DeadLetterError> {
    serde_json::from_slice(body).map_err(|error| failed(attempted, &error))
}

pub(super) fn failed(
    attempted: &str,
    error: &(impl std::fmt::Display + ?Sized),
) -> DeadLetterError {
    DeadLetterError {
        attempted: attempted.to_owned(),
        cause: error.to_string(),
    }
}
