//! Events that are handed to one pipeline as replays are, without ever having been a dead letter.
//!
//! They lie on `syncline.replay.PIPELINE.backfill`, each with all that it takes to go on behind it: the last one is
//! the position. A page of them is stored together or not at all, on the condition that the one before it is still
//! the last, so that whoever goes on after a kill leaves nothing out and sends nothing twice.

use super::replay::REPLAY_PREFIX;
use super::stream::{DeadLetterError, DeadLetters, failed};
use super::{Asked, STREAM};
use crate::atomic_batch::{self, BatchError, Expected, LARGEST, Message};
use crate::event::{Headers, Original, Past, Recalled};
use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The last token of their subjects. No identity of an event is that short.
const LAST_TOKEN: &str = "backfill";
/// How long the server may take to say that a page is stored.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for the headers that a batch adds.
const MARGIN: usize = 1_024;

/// How far a backfill is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Which run it is: later ones have higher numbers.
    pub run: u32,
    /// What it is about: a run goes on with the same only.
    pub goal: String,
    /// How many events it has handed over.
    pub n_events: u64,
    /// How many it left out, as no message can hold them.
    pub n_left_out: u64,
    /// Where it goes on; none: everything is handed over.
    pub next: Option<String>,
    /// Whether all of it was handled.
    pub done: bool,
}

/// An event that is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The subject that it seems to come from.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
    /// Where it lies; none: nowhere.
    pub place: Option<Place>,
}

/// Where a message lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The stream.
    pub stream: String,
    /// When that was made, in nanoseconds since 1970.
    pub created: u64,
    /// The position in it.
    pub sequence: u64,
}

/// The first line of a message; what is behind it is the body of the event.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    stand: Stand,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    event: Option<Head>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    subject: String,
    headers: Headers,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    place: Option<Place>,
}

/// Why a page was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// Somebody else has handed over a page meanwhile.
    #[error("another backfill of the pipeline has gone on meanwhile")]
    Overtaken,
    /// It is not known to be handed over.
    #[error(transparent)]
    Failed(#[from] DeadLetterError),
}

fn subject_of(pipeline: &str) -> String {
    format!("{REPLAY_PREFIX}{pipeline}.{LAST_TOKEN}")
}

/// Whether what lies on `syncline.replay.ID` is a backfill and no request.
pub(super) fn is_backfill(id: &str) -> bool {
    id.rsplit('.').next() == Some(LAST_TOKEN)
}

impl DeadLetters {
    /// How far the last backfill of a pipeline is, and where that lies.
    ///
    /// # Errors
    /// When the stream's leader does not say.
    pub async fn stand(&self, pipeline: &str) -> Result<Option<(u64, Stand)>, DeadLetterError> {
        let attempted = format!("cannot read how far the backfill of `{pipeline}` is");
        let subject = subject_of(pipeline);
        match self
            .stream()
            .get_last_raw_message_by_subject(&subject)
            .await
        {
            Ok(message) => {
                let (line, _) = split(&message.payload).map_err(|why| failed(&attempted, &why))?;
                Ok(Some((message.sequence, line.stand)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(&attempted, &error)),
        }
    }

    /// Lets the stream store pages together.
    ///
    /// # Errors
    /// When the server does not let it.
    pub async fn prepare_for_pages(&self) -> Result<(), DeadLetterError> {
        let mut config = self.stream().cached_info().config.clone();
        if config.allow_atomic_publish {
            return Ok(());
        }
        config.allow_atomic_publish = true;
        let updated = self.context().update_stream(&config).await;
        let attempted = format!("cannot let the stream {STREAM} take batches (`allow_atomic`)");
        updated
            .map(drop)
            .map_err(|error| failed(&attempted, &error))
    }

    /// Hands a page over, behind the message at `expected` (0: there is none), and gives the position of its last
    /// message. `stand` is how far the backfill is then; a page without events is only that.
    ///
    /// # Errors
    /// [`HandError`]. After one that is no [`HandError::Overtaken`] it may be handed over all the same:
    /// [`DeadLetters::stand`] tells.
    pub async fn hand_over(
        &self,
        pipeline: &str,
        expected: u64,
        (events, stand): (Vec<Handed>, &Stand),
    ) -> Result<u64, HandError> {
        let attempted = format!("cannot hand events over to `{pipeline}`");
        let messages = messages(pipeline, expected, (events, stand));
        let messages = messages.map_err(|error| failed(&attempted, &error))?;
        let messages: Vec<&Message> = messages.iter().collect();
        let client = self.context().client();
        let published = Box::pin(atomic_batch::publish(&client, &messages, PATIENCE)).await;
        published.map_err(|error| match error {
            BatchError::Conflict(_) => HandError::Overtaken,
            other => failed(&attempted, &other).into(),
        })
    }

    /// Whether a message can hold this event.
    #[must_use]
    pub fn can_hold(&self, handed: &Handed) -> bool {
        let headers = handed.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        let size = handed.payload.len() + 2 * headers + handed.subject.len() + MARGIN;
        size <= self.context().client().server_info().max_payload
    }

    /// Forgets what was handled of a backfill; how far it is stays known.
    ///
    /// # Errors
    /// When it is not known to be forgotten.
    pub async fn forget_handled(
        &self,
        pipeline: &str,
        (handled, last): (u64, u64),
    ) -> Result<(), DeadLetterError> {
        let purge = self.stream().purge().filter(subject_of(pipeline));
        let purged = purge.sequence((handled + 1).min(last)).await;
        let attempted = format!("cannot forget what `{pipeline}` has handled");
        purged.map(drop).map_err(|error| failed(&attempted, &error))
    }

    /// What a message of a backfill at this position means.
    pub(super) fn recall_handed(&self, message: &Bytes, sequence: u64) -> Asked {
        let (line, payload) = match split(message) {
            Ok(split) => split,
            Err(why) => return Asked::Lost(None, why),
        };
        let Some(Head {
            subject,
            headers,
            place,
        }) = line.event
        else {
            return Asked::Nothing;
        };
        let made = self.stream().cached_info().created.unix_timestamp_nanos();
        let place = place.unwrap_or_else(|| Place {
            stream: STREAM.to_owned(),
            created: u64::try_from(made).unwrap_or_default(),
            sequence,
        });
        Asked::Recalled(Box::new(Recalled {
            original: Original {
                subject,
                headers,
                payload,
                stream: place.stream.into(),
                stream_created: place.created,
                sequence: place.sequence,
            },
            generation: line.stand.run,
            past: Past::default(),
        }))
    }
}

fn messages(
    pipeline: &str,
    expected: u64,
    (events, stand): (Vec<Handed>, &Stand),
) -> Result<Vec<Message>, String> {
    let n_events = events.len();
    if n_events > LARGEST {
        return Err(format!("a page has {LARGEST} events at most"));
    }
    let mut events = events.into_iter();
    let mut messages = Vec::new();
    loop {
        let (event, payload) = match events.next() {
            Some(handed) => {
                let head = Head {
                    subject: handed.subject,
                    headers: handed.headers,
                    place: handed.place,
                };
                (Some(head), handed.payload)
            }
            None if messages.is_empty() => (None, Bytes::new()),
            None => return Ok(messages),
        };
        let line = Line {
            stand: stand.clone(),
            event,
        };
        let mut body = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
        body.push(b'\n');
        body.extend_from_slice(&payload);
        let is_first = messages.is_empty();
        messages.push(Message {
            subject: subject_of(pipeline).into(),
            headers: HeaderMap::new(),
            payload: body.into(),
            expects: is_first.then_some(Expected {
                other: None,
                sequence: expected,
            }),
        });
    }
}

/// The first line, and the rest.
fn split(message: &Bytes) -> Result<(Line, Bytes), String> {
    let end = message.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or("it has no first line")?;
    let line = serde_json::from_slice(message.get(..end).unwrap_or_default());
    let line = line.map_err(|error| format!("its first line is none: {error}"))?;
    Ok((line, message.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand() -> Stand {
        Stand {
            run: 7,
            goal: "g".to_owned(),
            n_events: 2,
            n_left_out: 0,
            next: Some("n".to_owned()),
            done: false,
        }
    }

    #[test]
    fn a_page_depends_on_what_lies_before_it_and_keeps_the_bytes_of_its_events() {
        let handed = |payload: &'static str| Handed {
            subject: "a".to_owned(),
            headers: Headers(vec![("ce-id".to_owned(), "1".to_owned())]),
            payload: payload.into(),
            place: None,
        };
        let made = messages("p", 9, (vec![handed("1\n2"), handed("")], &stand())).unwrap();
        let expects: Vec<_> = made
            .iter()
            .map(|one| one.depends_on().map(|(_, at)| at))
            .collect();
        assert_eq!(expects, [Some(9), None]);
        let (line, payload) = split(&made[0].payload).unwrap();
        assert_eq!((line.stand, &payload[..]), (stand(), &b"1\n2"[..]));
        assert_eq!(line.event.unwrap().headers.get("ce-id"), Some("1"));
        let empty = messages("p", 9, (Vec::new(), &stand())).unwrap();
        assert_eq!(empty.len(), 1);
        assert!(split(&empty[0].payload).unwrap().0.event.is_none());
    }

    #[test]
    fn a_backfill_is_told_from_a_request() {
        assert!(is_backfill("p.backfill"));
        let id = crate::event::EventId::of("a", "b");
        assert!(!is_backfill(&format!("p.{id}")));
        assert!(!is_backfill(&format!("backfill.{id}.abc")));
    }
}
