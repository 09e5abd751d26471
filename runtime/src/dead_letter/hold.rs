//! Letters that hold their ordering key: known without being read, let go, and closed.
//!
//! Each copy of an event has a chain of its own, on `syncline.dlq.PIPELINE.K.COPY` and
//! `syncline.replay.PIPELINE.K.COPY`: a letter, a request for its replay, the letter that the replay became
//! or the word that it is closed, and so on. So what holds a key is told by the last of each, and two copies
//! of one event never answer for each other.

use super::SUBJECT_PREFIX;
use super::reading::Reading;
use super::record::LetterSummary;
use super::replay::{REPLAY_PREFIX, Replayed, Request};
use super::stream::{DeadLetterError, DeadLetters, failed};
use crate::event::{EventId, Hold, OrderingKey, Rank};
use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// What a letter says of itself beside its body.
pub(super) const HEADER: &str = "Syncline-Hold";
/// Characters of the name of a copy: two copies of one event with one name are not to be expected.
const COPY: usize = 8;

/// Whether the events of a subject and a key belong to a share of a pipeline.
pub type Takes<'a> = dyn Fn(&str, &OrderingKey) -> bool + Sync + 'a;

/// The header of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    #[serde(flatten)]
    pub(super) rank: Rank,
    pub(super) generation: u32,
    pub(super) waits: bool,
    /// The original subject.
    pub(super) subject: String,
}

impl Line {
    pub(super) fn of(headers: Option<&HeaderMap>) -> Result<Self, String> {
        let line = headers.and_then(|headers| headers.get(HEADER));
        let line = line.ok_or_else(|| format!("it has no header {HEADER}"))?;
        serde_json::from_str(line.as_str()).map_err(|error| format!("its header {HEADER}: {error}"))
    }

    fn hold(self, letter: u64) -> Hold {
        Hold {
            rank: self.rank,
            letter,
            generation: self.generation,
            waits: self.waits,
        }
    }
}

/// What a letter about this copy of an event is called where it holds its key.
#[must_use]
pub fn id_of(pipeline: &str, event: &EventId, rank: &Rank) -> String {
    let mut hash = Sha256::new();
    hash.update(rank.stream_created.to_le_bytes());
    hash.update(rank.sequence.to_le_bytes());
    let copy = crate::event::encode_hash(&hash.finalize());
    let copy = copy.get(..COPY).unwrap_or_default();
    format!("{pipeline}.{event}.{copy}")
}

impl DeadLetters {
    /// The letters of `pipeline` that hold their keys, of events whose subjects and keys a share `takes`, each
    /// with whether its replay was asked for.
    ///
    /// # Errors
    /// When the stream cannot be read to its end.
    pub async fn holds_of(
        &self,
        pipeline: &str,
        takes: &Takes<'_>,
    ) -> Result<Vec<(Hold, bool)>, DeadLetterError> {
        let attempted = format!("cannot find the held keys of pipeline `{pipeline}`");
        let mut letters: HashMap<String, Hold> = HashMap::new();
        let reading = |prefix: &str| Reading {
            subjects: vec![format!("{prefix}{pipeline}.*.*")],
            headers: prefix == SUBJECT_PREFIX,
        };
        let letter = |message: &async_nats::jetstream::Message, sequence| {
            let line = Line::of(message.headers.as_ref());
            let line = line.map_err(|error| failed(&attempted, &error))?;
            if takes(&line.subject, &line.rank.key) {
                let id = message.subject.strip_prefix(SUBJECT_PREFIX);
                letters.insert(id.unwrap_or_default().to_owned(), line.hold(sequence));
            }
            Ok(())
        };
        self.read(reading(SUBJECT_PREFIX), &attempted, letter)
            .await?;
        let mut asked: HashMap<String, Request> = HashMap::new();
        // After the letters: what was closed meanwhile is seen to be.
        let request = |message: &async_nats::jetstream::Message, _| {
            let id = message.subject.strip_prefix(REPLAY_PREFIX);
            let id = id.unwrap_or_default();
            // Of letters that are gone the requests may still be there.
            if letters.contains_key(id) {
                let request = Request::decode(&message.payload, &attempted)?;
                asked.insert(id.to_owned(), request);
            }
            Ok(())
        };
        self.read(reading(REPLAY_PREFIX), &attempted, request)
            .await?;
        let holds = letters.into_iter().filter_map(|(id, hold)| {
            let asked = asked.get(&id).filter(|asked| asked.letter >= hold.letter);
            match asked {
                Some(asked) if asked.closed => None,
                asked => Some((hold, asked.is_some())),
            }
        });
        Ok(holds.collect())
    }

    /// The last letter of this name, where it holds its key; none: it is closed, or gone.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn find_hold(&self, id: &str) -> Result<Option<Hold>, DeadLetterError> {
        let attempted = format!("cannot look for the dead letter {id}");
        let (subject, requests) = (
            format!("{SUBJECT_PREFIX}{id}"),
            format!("{REPLAY_PREFIX}{id}"),
        );
        let (letter, asked) = futures::join!(
            self.stream().get_last_raw_message_by_subject(&subject),
            self.last_request(&requests, &attempted)
        );
        let hold = match letter {
            Ok(letter) => {
                let line = Line::of(Some(&letter.headers));
                let line = line.map_err(|error| failed(&attempted, &error))?;
                line.hold(letter.sequence)
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&attempted, &error)),
        };
        let is_closed = |(_, asked): (u64, Request)| asked.closed && asked.letter >= hold.letter;
        let is_closed = asked?.is_some_and(is_closed);
        Ok((!is_closed).then_some(hold))
    }

    /// Asks for the replay of the letter at this position, whose event waits for nobody any more; false when
    /// it is closed or gone.
    ///
    /// # Errors
    /// When it is not known to be asked for. Asking again is safe.
    pub async fn let_go(&self, letter: u64) -> Result<bool, DeadLetterError> {
        let attempted = format!("cannot let go the dead letter at {letter}");
        let message = match self.stream().get_raw_message(letter).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(false);
            }
            Err(error) => return Err(failed(&attempted, &error)),
        };
        let line = Line::of(Some(&message.headers)).map_err(|error| failed(&attempted, &error))?;
        let id = message.subject.strip_prefix(SUBJECT_PREFIX);
        let request = Request::of(letter, line.generation, Some(line.rank));
        let asked = self.ask(id.unwrap_or_default(), request, &attempted).await;
        Ok(asked? != Replayed::Closed)
    }

    /// Keeps in mind that the event of `hold`, whose letter is called `id`, was replayed and has ended, or
    /// that its letter is lost.
    ///
    /// # Errors
    /// When it is not known to be kept. Closing again is safe.
    pub async fn close(&self, id: &str, hold: &Hold) -> Result<(), DeadLetterError> {
        let attempted = format!("cannot close the dead letter {id}");
        let request = Request::of(hold.letter, hold.generation, Some(hold.rank.clone()));
        self.ask(id, request.closing(), &attempted).await.map(drop)
    }

    /// Keeps in mind that the letter holds its key no more; false when its replay was asked for before:
    /// then it is not ours to delete.
    pub(super) async fn close_open(
        &self,
        letter: &LetterSummary,
        attempted: &str,
    ) -> Result<bool, DeadLetterError> {
        let subject = format!("{REPLAY_PREFIX}{}", letter.id);
        let last = self.last_request(&subject, attempted).await?;
        if last.is_some_and(|(_, last)| last.letter >= letter.sequence && !last.closed) {
            return Ok(false);
        }
        let request = Request::of(letter.sequence, letter.generation, letter.rank());
        let closed = self.ask(&letter.id, request.closing(), attempted).await;
        closed.map(|_| true)
    }
}
