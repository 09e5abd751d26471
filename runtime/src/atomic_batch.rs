//! Messages that a stream stores together or not at all: the server's atomic batches (NATS ADR-50).
//! Nothing of one can be read before the whole of it is there.

use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
};
use async_nats::jetstream::ErrorCode;
use async_nats::{Client, HeaderMap, Request, Subject};
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;

/// Messages of one batch, at most: what a server takes that was not told otherwise.
pub const LARGEST: usize = 1_000;

/// The subject whose last message is expected at a position, where it is another than the message's own.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// Bytes of the headers of a condition, but for the subject in them.
const CONDITION: usize = 110;

/// A message of a batch. It must have no message id: one that is known would refuse the whole batch.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it is published.
    pub subject: Subject,
    /// What it says of itself.
    pub headers: HeaderMap,
    /// What it holds.
    pub payload: Bytes,
    /// What it depends on.
    pub expects: Option<Expected>,
}

/// Where the last message of a subject is to lie; 0: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// None: of the message's own.
    pub other: Option<Subject>,
    /// The position.
    pub sequence: u64,
}

impl Message {
    /// The subject that it depends on, and where the last message of that is to lie.
    #[must_use]
    pub fn depends_on(&self) -> Option<(&str, u64)> {
        let expected = self.expects.as_ref()?;
        let subject = expected.other.as_ref().unwrap_or(&self.subject);
        Some((subject.as_str(), expected.sequence))
    }

    /// What it depends on, of one that is there for nothing else.
    #[must_use]
    pub fn guard(&self) -> Option<(&str, u64)> {
        let is_guard = self.expects.as_ref()?.other.is_some();
        self.depends_on().filter(|_| is_guard)
    }

    /// All that the server is told of it.
    #[must_use]
    pub fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(Expected { other, sequence }) = &self.expects {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
            if let Some(other) = other {
                headers.insert(EXPECTED_SUBJECT, other.as_str());
            }
        }
        headers
    }

    /// Bytes that it is for the server, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, values)| {
            let values = values.iter().map(|value| value.as_str().len() + 4);
            values
                .map(|value| AsRef::<str>::as_ref(name).len() + value)
                .sum::<usize>()
        });
        let expects = self.expects.as_ref().map_or(0, |expected| {
            CONDITION + expected.other.as_ref().map_or(0, |other| other.len())
        });
        self.subject.len() + self.payload.len() + expects + headers.sum::<usize>()
    }
}

/// Why a batch is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// One of its messages depends on what is not so: nothing is stored.
    #[error("{0}")]
    Conflict(String),
    /// It has more messages than the server takes at once: nothing is stored.
    #[error("{0}")]
    TooLarge(String),
    /// The server refused it: nothing is stored.
    #[error("{0}")]
    Refused(String),
    /// Nobody said: it may be stored, now or later.
    #[error("{0}")]
    Unknown(String),
}

/// What the server says of a batch.
#[derive(Deserialize)]
struct Committed {
    seq: Option<u64>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    err_code: u64,
    description: String,
}

/// Publishes `messages`, and gives the position of the last one; the others lie right before it.
///
/// # Errors
/// [`BatchError`], which says whether it may be there all the same.
pub async fn publish(
    client: &Client,
    messages: &[&Message],
    patience: Duration,
) -> Result<u64, BatchError> {
    // Whoever knew the name could go on with the batch.
    let inbox = client.new_inbox();
    let id = inbox.rsplit('.').next().unwrap_or_default();
    let n_messages = messages.len();
    let mut answer = None;
    for (index, message) in messages.iter().enumerate() {
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let mut headers = message.all_headers();
        headers.insert(NATS_BATCH_ID, id);
        headers.insert(NATS_BATCH_SEQUENCE, (index + 1).to_string());
        if index + 1 < n_messages {
            let sent = client.publish_with_headers(subject, headers, payload);
            sent.await.map_err(|error| unknown(&error))?;
            continue;
        }
        headers.insert(NATS_BATCH_COMMIT, "1");
        let request = Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(Some(patience));
        let answered = client.send_request(subject, request).await;
        answer = Some(answered.map_err(|error| unknown(&error))?);
    }
    let answer = answer.ok_or_else(|| BatchError::Refused("it is empty".to_owned()))?;
    read(&answer.payload)
}

fn unknown(error: &dyn std::fmt::Display) -> BatchError {
    BatchError::Unknown(error.to_string())
}

/// What the server's answer means.
fn read(answer: &[u8]) -> Result<u64, BatchError> {
    let committed: Committed = serde_json::from_slice(answer)
        .map_err(|error| BatchError::Unknown(format!("the server's answer is none: {error}")))?;
    match committed {
        Committed {
            error: Some(refusal),
            ..
        } => Err(refusal.into()),
        Committed { seq: Some(at), .. } => Ok(at),
        Committed { .. } => Err(BatchError::Unknown(
            "the server does not say where".to_owned(),
        )),
    }
}

impl From<Refusal> for BatchError {
    fn from(refusal: Refusal) -> Self {
        let why = refusal.description;
        match ErrorCode(refusal.err_code) {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
            | ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE => Self::Conflict(why),
            ErrorCode::ATOMIC_PUBLISH_TOO_LARGE_BATCH => Self::TooLarge(why),
            _ => Self::Refused(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_where_or_why_not() {
        let stored = br#"{"stream":"TX","seq":12,"batch":"b","count":3}"#;
        assert_eq!(read(stored), Ok(12));
        let refused = |code: u64| {
            let error =
                format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"why"}}}}"#);
            read(error.as_bytes())
        };
        for code in [10_071, 10_164, 10_201] {
            assert_eq!(refused(code), Err(BatchError::Conflict("why".to_owned())));
        }
        assert_eq!(refused(10_199), Err(BatchError::TooLarge("why".to_owned())));
        for code in [10_176, 10_077, 10_210] {
            assert_eq!(refused(code), Err(BatchError::Refused("why".to_owned())));
        }
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        for answer in [&b""[..], b"{}", b"no JSON"] {
            assert!(matches!(read(answer), Err(BatchError::Unknown(_))));
        }
    }
}
