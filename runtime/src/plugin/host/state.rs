//! `state`: durable key-value state of a plugin in a pipeline. Optimistic: reads note the revision
//! they saw, writes wait in an overlay and join the event's plan.

use crate::atomic_batch::{Expected, Message};
use crate::event::{KeyAlphabet, StateRead, StateWrite, escape_key};
use crate::last_message::{is_direct, last_message};
use crate::plugin::bindings::state::Host;
use crate::plugin::bindings::types::Error;
use crate::plugin::instance::HostState;
use async_nats::HeaderMap;
use async_nats::header::{NATS_MESSAGE_TTL, NATS_ROLLUP};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, stream::Stream};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Says of an entry that it was deleted.
const OPERATION: &str = "KV-Operation";
/// Where conditions on what was only read are written: every key has more than one token.
const CONDITIONS: &str = "_";
/// How long a deletion can be seen.
const DELETED: Duration = Duration::from_secs(60);

/// Where plugin state is kept.
#[derive(Clone)]
pub enum State {
    /// In this process, for `call` and `test`.
    Memory(Arc<Mutex<Cells>>),
    /// In a stream, the last message of a subject for each key.
    Stream(Arc<Cabinet>),
}

/// A stream that holds state.
pub struct Cabinet {
    /// For publishing with an expected revision.
    pub context: jetstream::Context,
    /// For reading.
    pub stream: Stream,
    /// What stands before a key in its subject.
    pub prefix: String,
    /// What stands before it where it is written.
    pub written: String,
    /// Whether a message has to say that it replaces the earlier ones: the stream keeps all.
    pub rolls_up: bool,
}

/// Keys with revision and value; the last revision given is kept beside them.
#[derive(Debug, Default)]
pub struct Cells {
    last: u64,
    cells: BTreeMap<String, (u64, Option<Bytes>)>,
}

/// Why state could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another event changed the key meanwhile.
    #[error("another event changed the state key `{0}` meanwhile")]
    Conflict(String),
    /// The state's stream does not answer or refuses.
    #[error("the plugin state is unavailable: {0}")]
    Unavailable(String),
}

impl State {
    /// Empty state in memory.
    #[must_use]
    pub fn memory(cells: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let mut state = Cells::default();
        for (key, value) in cells {
            state.put(key, Some(value));
        }
        Self::Memory(Arc::new(Mutex::new(state)))
    }

    /// The revision and value at `key`; revision 0: never written.
    async fn read(&self, key: &str) -> Result<(u64, Option<Bytes>), StateError> {
        match self {
            Self::Memory(cells) => Ok(cells.lock().cells.get(key).cloned().unwrap_or_default()),
            Self::Stream(cabinet) => cabinet.read(key).await,
        }
    }

    /// Checks that every key that was read is still at the revision that was seen.
    ///
    /// # Errors
    /// [`StateError::Conflict`] naming the first key that another event changed.
    pub async fn check(&self, reads: &[StateRead]) -> Result<(), StateError> {
        for read in reads {
            if self.read(&read.key).await?.0 != read.revision {
                return Err(StateError::Conflict(read.key.clone()));
            }
        }
        Ok(())
    }

    /// Writes each key whose revision still holds, in order.
    ///
    /// # Errors
    /// [`StateError::Conflict`] naming the first key that another event changed.
    pub async fn commit(&self, writes: &[StateWrite]) -> Result<(), StateError> {
        for write in writes {
            self.write(write).await?;
        }
        Ok(())
    }

    async fn write(&self, write: &StateWrite) -> Result<(), StateError> {
        match self {
            Self::Memory(cells) => {
                let mut cells = cells.lock();
                let found = cells
                    .cells
                    .get(&write.key)
                    .map_or(0, |(revision, _)| *revision);
                if write.revision.is_some_and(|expected| expected != found) {
                    return Err(StateError::Conflict(write.key.clone()));
                }
                cells.put(write.key.clone(), write.value.clone());
                Ok(())
            }
            Self::Stream(cabinet) => cabinet.publish(write).await,
        }
    }

    /// The writes as messages of one batch of the stream that holds the state, each on the condition
    /// that nobody else has written since; with what was only read as such a condition. None: it lies in no
    /// stream.
    #[must_use]
    pub fn messages(&self, reads: &[StateRead], writes: &[StateWrite]) -> Option<Vec<Message>> {
        let Self::Stream(cabinet) = self else {
            return None;
        };
        let is_written = |read: &&StateRead| writes.iter().any(|write| write.key == read.key);
        let only_read = reads.iter().filter(|read| !is_written(read));
        let conditions = only_read.map(|read| cabinet.condition(read));
        let written = writes.iter().map(|write| cabinet.message(write));
        Some(written.chain(conditions).collect())
    }
}

impl Cells {
    fn put(&mut self, key: String, value: Option<Bytes>) {
        self.last += 1;
        self.cells.insert(key, (self.last, value));
    }
}

impl Cabinet {
    /// The revision and value of an entry as the stream's leader has it: what a follower does not have
    /// yet would be found out only after the effects.
    async fn read(&self, key: &str) -> Result<(u64, Option<Bytes>), StateError> {
        let subject = format!("{}{key}", self.prefix);
        let is_direct = is_direct(&self.stream.cached_info().config);
        let found = last_message(&self.stream, is_direct, &subject).await;
        let Some(message) = found.map_err(StateError::Unavailable)? else {
            return Ok((0, None));
        };
        let is_gone = [OPERATION, "Nats-Marker-Reason"]
            .into_iter()
            .any(|name| message.headers.get(name).is_some());
        Ok((message.sequence, (!is_gone).then_some(message.payload)))
    }

    fn message(&self, write: &StateWrite) -> Message {
        let mut headers = HeaderMap::new();
        if self.rolls_up {
            headers.insert(NATS_ROLLUP, "sub");
        }
        // A bucket's client expects to see that an entry was deleted; here nobody does.
        let gone = (self.rolls_up && write.value.is_none()).then_some(DELETED);
        if let Some(ttl) = write.ttl.or(gone) {
            headers.insert(NATS_MESSAGE_TTL, ttl.as_secs().max(1).to_string());
        }
        if write.value.is_none() {
            headers.insert(OPERATION, "DEL");
        }
        Message {
            subject: format!("{}{}", self.written, write.key).into(),
            headers,
            payload: write.value.clone().unwrap_or_default(),
            expects: write.revision.map(|sequence| Expected {
                other: None,
                sequence,
            }),
        }
    }

    /// A message that says nothing but that a key is still as it was read.
    fn condition(&self, read: &StateRead) -> Message {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_TTL, "1");
        Message {
            subject: format!("{}{CONDITIONS}", self.written).into(),
            headers,
            payload: Bytes::new(),
            expects: Some(Expected {
                other: Some(format!("{}{}", self.written, read.key).into()),
                sequence: read.revision,
            }),
        }
    }

    async fn publish(&self, write: &StateWrite) -> Result<(), StateError> {
        let unavailable = |error: PublishError| match error.kind() {
            PublishErrorKind::WrongLastSequence => StateError::Conflict(write.key.clone()),
            _ => StateError::Unavailable(error.to_string()),
        };
        let message = self.message(write);
        let headers = message.all_headers();
        let sent = self
            .context
            .publish_with_headers(message.subject, headers, message.payload);
        let ack = sent.await.map_err(unavailable)?;
        ack.await.map(|_| ()).map_err(unavailable)
    }
}

/// What one event has read and written of one plugin's state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    seen: BTreeMap<String, (u64, Option<Bytes>)>,
    written: BTreeMap<String, (Option<Bytes>, Option<Duration>)>,
    /// Keys and values in `written`.
    n_written: usize,
}

impl Overlay {
    /// Whether the event touched state at all.
    pub(crate) fn is_used(&self) -> bool {
        !self.seen.is_empty() || !self.written.is_empty()
    }

    /// Writes unless more than `limit` bytes would be written then; false when they would.
    fn write(
        &mut self,
        key: String,
        value: Option<Bytes>,
        ttl: Option<Duration>,
        limit: u64,
    ) -> bool {
        let size = |key: &str, value: Option<&Bytes>| key.len() + value.map_or(0, Bytes::len);
        let before = self.written.get(&key);
        let before = before.map_or(0, |(value, _)| size(&key, value.as_ref()));
        let n_written = self.n_written - before + size(&key, value.as_ref());
        if u64::try_from(n_written).unwrap_or(u64::MAX) > limit {
            return false;
        }
        self.n_written = n_written;
        self.written.insert(key, (value, ttl));
        true
    }

    /// The overlay as its part of a plan.
    pub(crate) fn into_plan(self) -> (Vec<StateRead>, Vec<StateWrite>) {
        let revision_of = |key: &String| self.seen.get(key).map(|(revision, _)| *revision);
        let writes = self.written.iter().map(|(key, (value, ttl))| StateWrite {
            key: key.clone(),
            revision: revision_of(key),
            value: value.clone(),
            ttl: *ttl,
        });
        let writes = writes.collect();
        let reads = self.seen.into_iter();
        (
            reads
                .map(|(key, (revision, _))| StateRead { key, revision })
                .collect(),
            writes,
        )
    }
}

impl Host for HostState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.count_host_call()?;
        Ok(self.state_get(&key).await.map(|value| value.map(Vec::from)))
    }

    async fn get_many(
        &mut self,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<Vec<u8>>>, Error>> {
        let mut values = Vec::with_capacity(keys.len().min(1_024));
        for key in keys {
            self.count_host_call()?;
            match self.state_get(&key).await {
                Ok(value) => values.push(value.map(Vec::from)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(values))
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.count_host_call()?;
        Ok(self.state_put(&key, Some(value.into()), ttl_s))
    }

    async fn put_new(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        self.count_host_call()?;
        Ok(match self.state_get(&key).await {
            Ok(Some(_)) => Ok(false),
            Ok(None) => self
                .state_put(&key, Some(value.into()), ttl_s)
                .map(|()| true),
            Err(error) => Err(error),
        })
    }

    async fn add(&mut self, key: String, delta: i32) -> wasmtime::Result<Result<i64, Error>> {
        self.count_host_call()?;
        let before = match self.state_get(&key).await {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        };
        let Some(before) = before.as_deref().map_or(Some(0), counter) else {
            return Ok(Err(Error::Invalid(format!(
                "the state at `{key}` is not a counter"
            ))));
        };
        let after = before.saturating_add(i64::from(delta));
        let text = Bytes::from(after.to_string());
        Ok(self.state_put(&key, Some(text), None).map(|()| after))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.count_host_call()?;
        Ok(self.state_put(&key, None, None))
    }
}

/// Counters are kept as decimal text, so that anybody can read the bucket.
fn counter(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl HostState {
    fn state_key(&self, key: &str) -> Result<String, Error> {
        if !self.services.grants.state {
            return Err(Error::Denied(
                "the capability `state` is not granted".to_owned(),
            ));
        }
        if key.is_empty() {
            return Err(Error::Invalid("the state key is empty".to_owned()));
        }
        let (pipeline, plugin) = (&self.services.pipeline, &self.services.plugin);
        Ok(format!(
            "{pipeline}.{plugin}.{}",
            escape_key(key, KeyAlphabet::Token)
        ))
    }

    async fn state_get(&mut self, key: &str) -> Result<Option<Bytes>, Error> {
        let key = self.state_key(key)?;
        let written = self.overlay.written.get(&key).map(|(value, _)| value);
        let known = written.or_else(|| self.overlay.seen.get(&key).map(|(_, value)| value));
        let value = match known {
            Some(value) => value.clone(),
            None => self.state_read(key).await?,
        };
        match &value {
            Some(value) if !self.may_read(value.len()) => Err(self.read_too_much()),
            _ => Ok(value),
        }
    }

    async fn state_read(&mut self, key: String) -> Result<Option<Bytes>, Error> {
        let Some(state) = self.services.state.clone() else {
            return Err(Error::Denied("state is not offered here".to_owned()));
        };
        let found = state.read(&key).await;
        let (revision, value) = found.map_err(|error| Error::Unavailable(error.to_string()))?;
        self.overlay.seen.insert(key, (revision, value.clone()));
        Ok(value)
    }

    fn state_put(
        &mut self,
        key: &str,
        value: Option<Bytes>,
        ttl_s: Option<u32>,
    ) -> Result<(), Error> {
        let key = self.state_key(key)?;
        let ttl = ttl_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let limit = self.services.limits.output;
        if self.overlay.write(key, value, ttl, limit.as_u64()) {
            return Ok(());
        }
        let fault = format!("more than {limit} of state written for one event, the limit `output`");
        Err(Error::Invalid(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, revision: Option<u64>, value: &'static str) -> StateWrite {
        StateWrite {
            key: key.into(),
            revision,
            value: Some(value.into()),
            ttl: None,
        }
    }

    #[tokio::test]
    async fn a_changed_key_is_a_conflict() {
        let state = State::memory([("a".to_owned(), Bytes::from("1"))]);
        let read = StateRead {
            key: "a".into(),
            revision: 1,
        };
        assert_eq!(state.check(std::slice::from_ref(&read)).await, Ok(()));
        assert_eq!(state.commit(&[write("a", Some(1), "2")]).await, Ok(()));
        let late = state.commit(&[write("a", Some(1), "3")]).await;
        assert_eq!(late, Err(StateError::Conflict("a".into())));
        assert_eq!(
            state.check(&[read]).await,
            Err(StateError::Conflict("a".into()))
        );
        assert_eq!(state.read("a").await, Ok((2, Some(Bytes::from("2")))));
        assert_eq!(state.read("b").await, Ok((0, None)));
    }

    #[test]
    fn writes_carry_the_revision_they_rest_on() {
        let mut overlay = Overlay::default();
        assert!(!overlay.is_used());
        overlay.seen.insert("read".into(), (7, None));
        overlay
            .written
            .insert("read".into(), (Some("x".into()), None));
        overlay.written.insert("blind".into(), (None, None));
        let (reads, writes) = overlay.into_plan();
        assert_eq!(
            reads,
            vec![StateRead {
                key: "read".into(),
                revision: 7
            }]
        );
        let revisions: Vec<_> = writes
            .iter()
            .map(|w| (w.key.as_str(), w.revision))
            .collect();
        assert_eq!(revisions, vec![("blind", None), ("read", Some(7))]);
    }
}
