//! Effects for one stream, sent together and acknowledged together: batches of the server's fast
//! ingest (NATS ADR-50), where the stream allows it. See ADR 0023.
//!
//! A batch is what waited when the one before had left, so a lone effect leaves at once. It says of
//! all of its messages that they are stored, or nothing: then each is published by itself, gets an
//! answer of its own, and is dropped by the server as a duplicate where it had arrived.

use crate::shutdown::Tasks;
use async_nats::{Client, HeaderMap, Message, Subject, Subscriber, connection::State, header};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::debug;

/// Messages of one batch, at most.
const LARGEST: usize = 256;
/// Batches that may wait for their answer at once: more, and they become smaller, not faster.
const OPEN: usize = 4;
/// Messages that may wait to be sent.
const QUEUE: usize = 1_024;
/// How often it is looked whether the connection is another one, and whether a batch is overdue.
const LOOK: Duration = Duration::from_millis(250);
/// How long messages are sent one by one after a batch was not taken.
const PAUSE: Duration = Duration::from_secs(1);
/// How many messages of a batch the server may take without a word: more than it holds.
const FLOW: usize = 1_000;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The stream holds it, at this position or before it.
    Stored(u64),
    /// The batch was not taken as a whole: it is to be published by itself.
    Alone,
    /// Nobody answered in time.
    Silent,
}

/// The way of one target's messages into its stream, in batches.
#[derive(Debug)]
pub(super) struct Batches {
    queue: mpsc::Sender<Waiting>,
    /// Whether messages are sent one by one for a while.
    paused: Arc<AtomicBool>,
}

/// A message, and who waits for what becomes of it.
#[derive(Debug)]
struct Waiting {
    subject: Subject,
    headers: HeaderMap,
    payload: Bytes,
    sent: oneshot::Sender<Sent>,
}

impl Batches {
    /// Batches for `stream`. One that nobody answers within `patience` is given up.
    pub(super) async fn open(
        client: Client,
        stream: &str,
        patience: Duration,
    ) -> Result<Self, String> {
        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.>")).await;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let paused = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            names: Names::new(&inbox, stream),
            replies: replies.map_err(|error| format!("subscribing to an inbox: {error}"))?,
            n_connects: n_connects(&client),
            client,
            patience,
            open: BTreeMap::new(),
            n_batches: 0,
            paused: paused.clone(),
            resume: Instant::now(),
        };
        // Ends with the last of those who send.
        Tasks::new().spawn(sender.run(waiting));
        Ok(Self { queue, paused })
    }

    /// Whether the stream takes them now, as far as is known.
    pub(super) fn are_taken(&self) -> bool {
        !self.paused.load(Ordering::Relaxed)
    }

    /// Sends a message in the next batch.
    pub(super) async fn send(&self, subject: Subject, headers: HeaderMap, payload: Bytes) -> Sent {
        let (sent, answer) = oneshot::channel();
        let waiting = Waiting {
            subject,
            headers,
            payload,
            sent,
        };
        if self.queue.send(waiting).await.is_err() {
            return Sent::Alone;
        }
        answer.await.unwrap_or(Sent::Alone)
    }
}

/// What the messages of batches and their replies are called.
struct Names {
    stream: String,
    /// What every reply begins with, up to the number of its batch.
    prefix: String,
}

impl Names {
    fn new(inbox: &str, stream: &str) -> Self {
        // The last token names the batch, for all clients of the stream.
        let unique = inbox.rsplit('.').next().unwrap_or_default();
        Self {
            stream: stream.to_owned(),
            prefix: format!("{inbox}.{unique}-"),
        }
    }

    /// Where the server replies to a message, and what tells it the message's place in its batch.
    fn reply(&self, batch: u64, place: usize, step: Step) -> Subject {
        let (prefix, step) = (&self.prefix, step as u8);
        format!("{prefix}{batch}.{FLOW}.fail.{place}.{step}.$FI").into()
    }

    /// The batch that a reply is for.
    fn batch_of(&self, reply: &str) -> Option<u64> {
        let rest = reply.strip_prefix(&self.prefix)?;
        rest.split('.').next()?.parse().ok()
    }

    /// What a reply says about its batch of `n_messages`; none: nothing yet.
    fn read(&self, message: &Message, n_messages: usize) -> Option<Sent> {
        if message.status.is_some() {
            return Some(Sent::Alone);
        }
        match serde_json::from_slice(&message.payload) {
            Ok(Reply {
                kind: Some("ack"), ..
            }) => None,
            Ok(Reply {
                kind: None,
                stream: Some(stream),
                seq: Some(last),
                count: Some(count),
                error: None,
            }) if count == n_messages && stream == self.stream => Some(Sent::Stored(last)),
            _ => Some(Sent::Alone),
        }
    }
}

/// What a message does to its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Begins it.
    Begin = 0,
    /// Goes on.
    Append = 1,
    /// Ends it as its last.
    Commit = 2,
}

impl Step {
    /// Of the message at `place`, from 1, of so many.
    fn of(place: usize, n_messages: usize) -> Self {
        match place {
            last if last == n_messages => Self::Commit,
            1 => Self::Begin,
            _ => Self::Append,
        }
    }
}

/// The server's word on a batch: while it lasts (`type`), and when it has ended.
#[derive(Debug, Deserialize)]
struct Reply<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    stream: Option<&'a str>,
    /// The last that was stored; 0: each was known already.
    seq: Option<u64>,
    count: Option<usize>,
    error: Option<serde::de::IgnoredAny>,
}

/// A batch that waits for its answer.
struct Open {
    begun: Instant,
    waiting: Vec<oneshot::Sender<Sent>>,
}

impl Open {
    fn answer(self, sent: Sent) {
        for waiting in self.waiting {
            // Whoever waited may have been given up.
            let _gone = waiting.send(sent);
        }
    }
}

/// The one who sends batches and hears what becomes of them.
struct Sender {
    names: Names,
    client: Client,
    replies: Subscriber,
    /// How often the connection was made. What was sent on an earlier one may be lost.
    n_connects: u64,
    patience: Duration,
    open: BTreeMap<u64, Open>,
    n_batches: u64,
    paused: Arc<AtomicBool>,
    /// Until when it is paused.
    resume: Instant,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(LARGEST);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(reply) = self.replies.next() => self.hear(&reply),
                n_messages = queue.recv_many(&mut batch, LARGEST), if self.open.len() < OPEN => {
                    if n_messages == 0 {
                        return;
                    }
                    self.send(&mut batch).await;
                }
                _ = look.tick() => self.look(),
            }
        }
    }

    async fn send(&mut self, batch: &mut Vec<Waiting>) {
        self.n_batches += 1;
        let mut open = Open {
            begun: Instant::now(),
            waiting: Vec::with_capacity(batch.len()),
        };
        let publishing = tokio::time::timeout(self.patience, self.publish(batch, &mut open));
        let published = match publishing.await {
            Ok(true) => {
                self.open.insert(self.n_batches, open);
                return;
            }
            Ok(false) => Sent::Alone,
            Err(_) => Sent::Silent,
        };
        open.waiting.extend(batch.drain(..).map(|left| left.sent));
        open.answer(published);
    }

    /// Hands a batch to the connection; false when that cannot take it as a whole.
    async fn publish(&self, batch: &mut Vec<Waiting>, open: &mut Open) -> bool {
        // While there is no connection, what is published by itself is told so in time.
        let is_connected = self.client.connection_state() == State::Connected;
        if self.paused.load(Ordering::Relaxed) || !is_connected {
            return false;
        }
        let n_messages = batch.len();
        for mut message in batch.drain(..) {
            open.waiting.push(message.sent);
            let place = open.waiting.len();
            if place == 1 {
                // A batch is known to one stream: another one refuses the rest of it.
                let stream = self.names.stream.as_str();
                message.headers.insert(header::NATS_EXPECTED_STREAM, stream);
            }
            let reply = (self.names).reply(self.n_batches, place, Step::of(place, n_messages));
            let (subject, headers, payload) = (message.subject, message.headers, message.payload);
            let published = self
                .client
                .publish_with_reply_and_headers(subject, reply, headers, payload);
            if published.await.is_err() {
                return false;
            }
        }
        true
    }

    fn hear(&mut self, reply: &Message) {
        let Some(number) = self.names.batch_of(&reply.subject) else {
            return;
        };
        // Of one that was answered for, more may be said.
        let Some(open) = self.open.get(&number) else {
            return;
        };
        let Some(sent) = self.names.read(reply, open.waiting.len()) else {
            return;
        };
        if sent == Sent::Alone {
            self.pause(&String::from_utf8_lossy(&reply.payload));
        }
        if let Some(open) = self.open.remove(&number) {
            open.answer(sent);
        }
    }

    /// Gives up what is overdue or was sent on a connection that is gone.
    fn look(&mut self) {
        if self.paused.load(Ordering::Relaxed) && Instant::now() >= self.resume {
            self.paused.store(false, Ordering::Relaxed);
        }
        let n_connects = n_connects(&self.client);
        if std::mem::replace(&mut self.n_connects, n_connects) != n_connects {
            for (_, open) in std::mem::take(&mut self.open) {
                open.answer(Sent::Alone);
            }
        }
        while let Some(oldest) = self.open.first_entry() {
            if oldest.get().begun.elapsed() < self.patience {
                return;
            }
            oldest.remove().answer(Sent::Silent);
        }
    }

    fn pause(&mut self, said: &str) {
        if !self.paused.swap(true, Ordering::Relaxed) {
            debug!(stream = %self.names.stream, said, "a batch was not taken: one by one for a while");
        }
        self.resume = Instant::now() + PAUSE;
    }
}

fn n_connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::StatusCode;

    fn reply(payload: &'static str) -> Message {
        Message {
            subject: "_INBOX.a.a-7.1000.fail.3.2.$FI".into(),
            reply: None,
            payload: payload.into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn a_reply_names_its_batch_and_is_of_use_to_the_server() {
        let names = Names::new("_INBOX.app.x7", "OUT");
        let subject = names.reply(12, 3, Step::of(3, 3));
        assert_eq!(subject.as_str(), "_INBOX.app.x7.x7-12.1000.fail.3.2.$FI");
        assert_eq!(names.batch_of(&subject), Some(12));
        assert_eq!(
            names.batch_of("_INBOX.app.x8.x8-12.1000.fail.3.2.$FI"),
            None
        );
        let steps: Vec<_> = (1..=3).map(|place| Step::of(place, 3)).collect();
        assert_eq!(steps, [Step::Begin, Step::Append, Step::Commit]);
        assert_eq!(Step::of(1, 1), Step::Commit);
    }

    #[test]
    fn only_the_last_word_on_a_whole_batch_means_that_it_is_stored() {
        let names = Names::new("_INBOX.a", "OUT");
        let read = |payload| names.read(&reply(payload), 3);
        assert_eq!(read(r#"{"type":"ack","seq":0,"msgs":500}"#), None);
        let stored = r#"{"stream":"OUT","seq":9,"batch":"a-7","count":3}"#;
        assert_eq!(read(stored), Some(Sent::Stored(9)));
        let others = [
            r#"{"stream":"OUT","seq":9,"batch":"a-7","count":2}"#,
            r#"{"stream":"ELSE","seq":9,"batch":"a-7","count":3}"#,
            r#"{"type":"gap","last_seq":2,"seq":3}"#,
            r#"{"type":"err","seq":3,"error":{"code":400,"err_code":10060,"description":"no"}}"#,
            r#"{"error":{"code":400,"err_code":10208,"description":"unknown"},"stream":"OUT","seq":0}"#,
            // What a server without batches says of each message.
            r#"{"stream":"OUT","seq":9}"#,
            "",
        ];
        for other in others {
            assert_eq!(read(other), Some(Sent::Alone), "{other}");
        }
        let nobody = Message {
            status: Some(StatusCode::NO_RESPONDERS),
            ..reply(stored)
        };
        assert_eq!(names.read(&nobody, 3), Some(Sent::Alone));
    }
}
