//! Dead letters that are handled again: asked for once each, and found by who handles them.
//!
//! A request is a message on `syncline.replay.PIPELINE.K`, on the stream that the letters lie on. A
//! letter is open while no request for its event lies behind it, so that one message is both the
//! request and the mark that it was made; it is published on the condition that no other request
//! came first.

use super::SUBJECT_PREFIX;
use super::record::{Letter, LetterSummary};
use super::stream::{DeadLetterError, DeadLetters, failed};
use crate::event::{Original, Past, Recalled};
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

/// How often a request starts again because another changed what it rests on.
const FRESH_READS: usize = 5;

/// A request as it lies on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    /// Position of the letter on the stream.
    letter: u64,
    /// How often the event will have been replayed then.
    generation: u32,
    /// Whether effects that targets had accepted are sent as well.
    #[serde(default)]
    all: bool,
}

/// What became of the wish to replay a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It is on its way.
    Now,
    /// It was already.
    Before,
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
        let subject = format!("{REPLAY_PREFIX}{}", letter.id);
        for _ in 0..FRESH_READS {
            let (last, generation) = self.last_request(&subject, &attempted).await?;
            if last > letter.sequence {
                return Ok(Replayed::Before);
            }
            let request = Request {
                letter: letter.sequence,
                generation: generation.max(letter.generation) + 1,
                all,
            };
            let body = serde_json::to_vec(&request).map_err(|error| failed(&attempted, &error))?;
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
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
                Err(error) => return Err(failed(&attempted, &error)),
            }
        }
        Err(failed(&attempted, "others keep replaying it"))
    }

    /// Whether the replay of `letter` was asked for.
    pub(super) async fn is_requested(
        &self,
        letter: &LetterSummary,
        attempted: &str,
    ) -> Result<bool, DeadLetterError> {
        let subject = format!("{REPLAY_PREFIX}{}", letter.id);
        let (last, _) = self.last_request(&subject, attempted).await?;
        Ok(last > letter.sequence)
    }

    /// Position and generation of the last request on `subject`; zeroes when there is none. Read from
    /// the stream's leader, since a follower may not have it yet.
    async fn last_request(
        &self,
        subject: &str,
        attempted: &str,
    ) -> Result<(u64, u32), DeadLetterError> {
        match self.stream().get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let request: Request = serde_json::from_slice(&message.payload)
                    .map_err(|error| failed(attempted, &error))?;
                Ok((message.sequence, request.generation))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok((0, 0)),
            Err(error) => Err(failed(attempted, &error)),
        }
    }

    /// The message that a request means, or why it never can be told.
    ///
    /// # Errors
    /// When the letter cannot be read now.
    pub async fn recall(
        &self,
        request: &[u8],
    ) -> Result<Result<Recalled, String>, DeadLetterError> {
        let attempted = "cannot read the dead letter to replay";
        let request: Request = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(format!("the request is none: {error}"))),
        };
        // From the leader: what a follower does not have yet is not gone.
        let message = match self.stream().get_raw_message(request.letter).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(Err("the dead letter is gone".to_owned()));
            }
            Err(error) => return Err(failed(attempted, &error)),
        };
        let letter: Letter = match serde_json::from_slice(&message.payload) {
            Ok(letter) if message.subject.starts_with(SUBJECT_PREFIX) => letter,
            _ => return Ok(Err("what it names is no dead letter".to_owned())),
        };
        let Some(letter) = self.with_payload(letter, attempted).await? else {
            return Ok(Err("the payload of the dead letter is gone".to_owned()));
        };
        Ok(original(letter, request).map_err(|error| format!("its payload is no base64: {error}")))
    }
}

/// The message as it came first, with its story.
fn original(letter: Letter, request: Request) -> Result<Recalled, base64::DecodeError> {
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
        },
    })
}
