//! What came out: messages of streams, entries of buckets, dead letters.

use super::{TestEnv, eventually};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::SystemTime;
use syncline::dead_letter::{DeadLetters, Letter, Selection};
use syncline::provision::Provision;

/// A message as a stream holds it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its subject.
    pub(crate) subject: String,
    /// Its body.
    pub(crate) payload: Bytes,
    /// When it was stored, of one that a stream was read for.
    pub(crate) stored: Option<SystemTime>,
    headers: Vec<(String, String)>,
}

impl Message {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    pub(crate) fn of(message: &async_nats::Message) -> Self {
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let headers = headers.flat_map(|(name, values)| {
            let pair = |value: &async_nats::HeaderValue| (name.to_string(), value.to_string());
            values.iter().map(pair).collect::<Vec<_>>()
        });
        Self {
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            stored: None,
            headers: headers.collect(),
        }
    }
}

impl TestEnv {
    /// How many messages a stream holds.
    pub(crate) async fn n_messages(&self, stream: &str) -> u64 {
        let stream = self.js.get_stream(stream).await.unwrap();
        stream.cached_info().state.messages
    }

    /// How many messages a stream holds on the subjects of a pattern.
    pub(crate) async fn n_messages_on(&self, stream: &str, subjects: &str) -> u64 {
        let stream = self.js.get_stream(stream).await.unwrap();
        let counts = stream.info_with_subjects(subjects).await.unwrap();
        let counts: Vec<_> = counts.map(Result::unwrap).collect().await;
        counts.iter().map(|(_, count)| *count as u64).sum()
    }

    /// Everything that a stream holds, oldest first.
    pub(crate) async fn messages(&self, stream: &str) -> Vec<Message> {
        let stream = self.js.get_stream(stream).await.unwrap();
        let n_messages = usize::try_from(stream.cached_info().state.messages).unwrap();
        if n_messages == 0 {
            return Vec::new();
        }
        // A cluster that has just lost a server may give the consumer to that one.
        let mut all = Vec::new();
        eventually("the stream is read", async || {
            let read = read(&stream, n_messages).await;
            read.map(|read| all = read).is_ok()
        })
        .await;
        all
    }

    /// The last message of each subject of a pattern, where messages expire while they are read: subject and
    /// payload.
    pub(crate) async fn last_on(&self, stream: &str, subjects: &str) -> Vec<(String, Bytes)> {
        let stream = self.js.get_stream(stream).await.unwrap();
        let counts = stream.info_with_subjects(subjects).await.unwrap();
        let counts: Vec<_> = counts.map(Result::unwrap).collect().await;
        let mut last = Vec::new();
        for (subject, _) in counts {
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => last.push((subject, message.payload)),
                Err(error) => {
                    let is_gone = error.kind() == LastRawMessageErrorKind::NoMessageFound;
                    assert!(is_gone, "{subject}: {error}");
                }
            }
        }
        last
    }

    /// A bucket's entries: escaped key to text.
    pub(crate) async fn kv(&self, bucket: &str) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        for message in self.messages(&format!("KV_{bucket}")).await {
            let prefix = format!("$KV.{bucket}.");
            let key = message.subject.strip_prefix(&prefix).unwrap().to_owned();
            if message.header("KV-Operation").is_some() {
                entries.remove(&key);
            } else {
                entries.insert(key, String::from_utf8_lossy(&message.payload).into_owned());
            }
        }
        entries
    }

    /// One entry of a bucket, as JSON.
    pub(crate) async fn entry(&self, bucket: &str, key: &str) -> Option<Value> {
        let store = self.js.get_key_value(bucket).await.unwrap();
        let value = store.get(key).await.unwrap();
        value.map(|value| serde_json::from_slice(&value).unwrap())
    }

    /// The dead letters, their stream made when it is missing.
    pub(crate) async fn dead_letters(&self) -> DeadLetters {
        let opened = DeadLetters::open(&self.js, &Provision::default()).await;
        opened.unwrap()
    }

    /// Every dead letter whole, oldest first.
    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let store = self.dead_letters().await;
        let mut letters = Vec::new();
        for line in store.list(&Selection::default()).await.unwrap() {
            letters.push(store.get(&line.id).await.unwrap().unwrap());
        }
        letters
    }

    /// What a durable consumer of a stream has not acknowledged: being worked on, and not sent yet.
    pub(crate) async fn unacked(&self, stream: &str, durable: &str) -> (usize, u64) {
        self.try_unacked(stream, durable).await.unwrap()
    }

    /// The same; none while nobody answers.
    pub(crate) async fn try_unacked(&self, stream: &str, durable: &str) -> Option<(usize, u64)> {
        let stream = self.js.get_stream(stream).await.ok()?;
        let info = stream.consumer_info(durable).await.ok()?;
        Some((info.num_ack_pending, info.num_pending))
    }
}

async fn read(stream: &Stream, n_messages: usize) -> anyhow::Result<Vec<Message>> {
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let messages = consumer.messages().await?.take(n_messages);
    let read = messages.map(|message| {
        message.map(|message| Message {
            stored: message.info().ok().map(|info| info.published.into()),
            ..Message::of(&message)
        })
    });
    Ok(read.try_collect().await?)
}
