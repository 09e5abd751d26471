//! Dead letters that are handled again: asked for once each, and found by who handles them.
//!
//! A request is a message on `syncline.replay.PIPELINE.K`, on the stream that the letters lie on. A
//! letter is open while no request names it or a later one of its event, so that one message is both the
//! request and the mark that it was made; it is published on the condition that no other request
//! came first.

use super::SUBJECT_PREFIX;
use super::backfill::is_backfill;
use super::record::{Letter, LetterSummary};
use super::stream::{DeadLetterError, DeadLetters, failed};
use crate::event::{Hold, Original, Past, Rank, Recalled};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Subjects are `syncline.replay.PIPELINE.K`.
pub(super) const REPLAY_PREFIX: &str = "syncline.replay.";

const RECALL: &str = "cannot read the dead letter to replay";

/// How often a request starts again because another changed what it rests on.
const FRESH_READS: usize = 5;

/// A request as it lies on the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Position of the letter on the stream.
    pub(super) letter: u64,
    /// How often the event will have been replayed then.
    generation: u32,
    /// Whether effects that targets had accepted are sent as well.
    #[serde(default)]
    all: bool,
    /// Where the event of a letter that holds its key stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rank: Option<Rank>,
    /// It asks for nothing: the letter holds its key no more.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) closed: bool,
}

/// What became of the wish to replay a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is on its way.
    Now,
    /// It was already.
    Before,
    /// It held its key, and was handled or deleted.
    Closed,
}

/// What a message on the subjects of requests means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// This message is to be handled again.
    Recalled(Box<Recalled>),
    /// The letter at this position, about an event that stands here, holds its key no more.
    Closed(Rank, u64),
    /// Nothing is to be done.
    Nothing,
    /// A letter that cannot be read any more: where its event stands when it held its key, and why.
    Lost(Option<(Rank, u64)>, String),
}

impl Request {
    /// A request for the replay of the letter at this position, whose event had been replayed so often.
    pub(super) fn of(letter: u64, generation: u32, rank: Option<Rank>) -> Self {
        Self {
            letter,
            generation: generation + 1,
            all: false,
            rank,
            closed: false,
        }
    }

    /// The word that the letter holds its key no more, in place of the request.
    pub(super) fn closing(self) -> Self {
        Self {
            closed: true,
            ..self
        }
    }

    pub(super) fn decode(body: &[u8], attempted: &str) -> Result<Self, DeadLetterError> {
        serde_json::from_slice(body).map_err(|error| failed(attempted, &error))
    }
}

/// The subjects of the requests for a pipeline, as a pattern.
#[must_use]
pub fn requests_for(pipeline: &str) -> String {
    format!("{REPLAY_PREFIX}{pipeline}.>")
}

/// The consumer that hands the requests for a pipeline to the runtime.
#[must_use]
pub fn consumer_of(pipeline: &str) -> String {
    format!("replay-{pipeline}")
}

impl DeadLetters {
    /// Asks the pipeline to handle the event of `letter` again, once however often it is asked.
    /// Effects that targets had accepted are left out unless `all` of them are wanted.
    ///
    /// # Errors
    /// When it is not known to be asked for. Asking again is safe.
    pub async fn replay(
        &self,
        letter: &LetterSummary,
        all: bool,
    ) -> Result<Replayed, DeadLetterError> {
        let attempted = format!("cannot replay the dead letter {}", letter.id);
        let request = Request {
            all,
            ..Request::of(letter.sequence, letter.generation, letter.rank())
        };
        self.ask(&letter.id, request, &attempted).await
    }

    /// Publishes `request` about the letter called `id`, on the condition that nobody did, or asked for a
    /// later one.
    pub(super) async fn ask(
        &self,
        id: &str,
        mut request: Request,
        attempted: &str,
    ) -> Result<Replayed, DeadLetterError> {
        let subject = format!("{REPLAY_PREFIX}{id}");
        for _ in 0..FRESH_READS {
            let last = self.last_request(&subject, attempted).await?;
            if let Some((_, last)) = &last {
                if last.letter >= request.letter && last.closed {
                    return Ok(Replayed::Closed);
                }
                let is_late = last.letter > request.letter;
                if is_late || (last.letter == request.letter && !request.closed) {
                    return Ok(Replayed::Before);
                }
                request.generation = request.generation.max(last.generation + 1);
            }
            let expected = last.map_or(0, |(sequence, _)| sequence);
            let body = serde_json::to_vec(&request).map_err(|error| failed(attempted, &error))?;
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
            headers.insert("content-type", "application/json");
            let published = self
                .context()
                .publish_with_headers(subject.clone(), headers, body.into())
                .await;
            let answer = match published {
                Ok(ack) => ack.await.map(drop),
                Err(error) => Err(error),
            };
            match answer {
                Ok(()) => return Ok(Replayed::Now),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
                Err(error) => return Err(failed(attempted, &error)),
            }
        }
        Err(failed(attempted, "others keep replaying it"))
    }

    /// Whether the replay of `letter` was asked for.
    pub(super) async fn is_requested(
        &self,
        letter: &LetterSummary,
        attempted: &str,
    ) -> Result<bool, DeadLetterError> {
        let subject = format!("{REPLAY_PREFIX}{}", letter.id);
        let last = self.last_request(&subject, attempted).await?;
        Ok(last.is_some_and(|(_, last)| last.letter >= letter.sequence))
    }

    /// The last request on `subject`, and its position. Read from the stream's leader, since a follower may
    /// not have it yet.
    pub(super) async fn last_request(
        &self,
        subject: &str,
        attempted: &str,
    ) -> Result<Option<(u64, Request)>, DeadLetterError> {
        match self.stream().get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let request = Request::decode(&message.payload, attempted)?;
                Ok(Some((message.sequence, request)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(attempted, &error)),
        }
    }

    /// What a request on `subject` means, which lies at this position. One whose letter is lost holds its key no
    /// more.
    ///
    /// # Errors
    /// When the letter cannot be read now.
    pub async fn recall(
        &self,
        subject: &str,
        (request, sequence): (&Bytes, u64),
    ) -> Result<Asked, DeadLetterError> {
        let id = subject.strip_prefix(REPLAY_PREFIX).unwrap_or_default();
        if is_backfill(id) {
            return Ok(self.recall_handed(request, sequence));
        }
        let request: Request = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => return Ok(Asked::Lost(None, format!("the request is none: {error}"))),
        };
        let closed = |rank: &Rank| Ok(Asked::Closed(rank.clone(), request.letter));
        if let Some(rank) = &request.rank {
            if request.closed {
                return closed(rank);
            }
            let last = self.last_request(subject, RECALL).await?;
            if last.is_some_and(|(_, last)| last.closed && last.letter >= request.letter) {
                return closed(rank);
            }
        }
        let why = match self.recall_letter(&request).await? {
            Ok(recalled) => return Ok(Asked::Recalled(Box::new(recalled))),
            Err(why) => why,
        };
        if let Some(hold) = request.hold() {
            self.close(id, &hold).await?;
        }
        let rank = request.rank.clone().map(|rank| (rank, request.letter));
        Ok(Asked::Lost(rank, why))
    }

    async fn recall_letter(
        &self,
        request: &Request,
    ) -> Result<Result<Recalled, String>, DeadLetterError> {
        // From the leader: what a follower does not have yet is not gone.
        let message = match self.stream().get_raw_message(request.letter).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(Err("the dead letter is gone".to_owned()));
            }
            Err(error) => return Err(failed(RECALL, &error)),
        };
        let letter: Letter = match serde_json::from_slice(&message.payload) {
            Ok(letter) if message.subject.starts_with(SUBJECT_PREFIX) => letter,
            _ => return Ok(Err("what it names is no dead letter".to_owned())),
        };
        let Some(letter) = self.with_payload(letter, RECALL).await? else {
            return Ok(Err("the payload of the dead letter is gone".to_owned()));
        };
        Ok(original(letter, request).map_err(|error| format!("its payload is no base64: {error}")))
    }
}

impl Request {
    /// The letter that it names, where that held its key.
    fn hold(&self) -> Option<Hold> {
        self.rank.clone().map(|rank| Hold {
            rank,
            letter: self.letter,
            generation: self.generation.saturating_sub(1),
            waits: true,
        })
    }
}

/// The message as it came first, with its story.
fn original(letter: Letter, request: &Request) -> Result<Recalled, base64::DecodeError> {
    let hold = letter.hold(request.letter);
    let payload = STANDARD.decode(letter.payload_base64.unwrap_or_default())?;
    let accepted = if request.all {
        Vec::new()
    } else {
        letter.accepted
    };
    Ok(Recalled {
        original: Original {
            subject: letter.subject,
            headers: letter.headers,
            payload: Bytes::from(payload),
            stream: letter.stream.into(),
            stream_created: letter.stream_created,
            sequence: letter.sequence,
        },
        generation: request.generation,
        past: Past {
            history: letter.history,
            accepted,
            hold,
        },
    })
}
