//! Records of the stream `TX`, read from one position to the end that it had when the reading began.

use super::record::Record;
use super::stream::{TxStream, in_time};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy, pull};
use futures::StreamExt as _;
use std::fmt::Display;
use std::time::Duration;
use time::OffsetDateTime;

/// After so long without a message it is looked whether there is one more.
const QUIET: Duration = Duration::from_millis(500);

/// A reading that goes on.
pub(super) struct Reading {
    stream: TxStream,
    subjects: String,
    messages: pull::Ordered,
    pending: u64,
    /// Where the last record lay.
    reached: u64,
}

/// A record, and where it lies.
pub(super) struct Entry {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// When it was stored.
    pub(super) at: OffsetDateTime,
    pub(super) record: Record,
}

impl Reading {
    /// Begins to read what `subjects` match. The server looks at all that comes later with the eyes of the
    /// consumer for a while after that: for what is asked again and again there is [`Entry::first_from`].
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn begin(
        stream: &TxStream,
        subjects: String,
        deliver_policy: DeliverPolicy,
    ) -> Result<Self, String> {
        let reached = match deliver_policy {
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence.saturating_sub(1),
            _ => 0,
        };
        let config = pull::OrderedConfig {
            filter_subject: subjects.clone(),
            deliver_policy,
            ..Default::default()
        };
        let consumer = stream.stream().create_consumer(config).await;
        let consumer: Consumer<pull::OrderedConfig> = consumer.map_err(|error| failed(&error))?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.map_err(|error| failed(&error))?;
        Ok(Self {
            stream: stream.clone(),
            subjects,
            messages,
            pending,
            reached,
        })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// When the server does not say, or what lies there is no record.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, String> {
        if self.pending == 0 {
            return Ok(None);
        }
        let message = loop {
            match tokio::time::timeout(QUIET, self.messages.next()).await {
                Ok(Some(message)) => break message.map_err(|error| failed(&error))?,
                Ok(None) => return Err(failed(&"the reading ended early")),
                // What expires meanwhile has been counted, and never comes.
                Err(_) => {
                    let next = self.reached + 1;
                    let more = self.stream.first_from(&self.subjects, next);
                    if in_time(more).await?.is_none() {
                        return Ok(None);
                    }
                }
            }
        };
        let place = message.info().map_err(|error| failed(&error))?;
        (self.pending, self.reached) = (place.pending, place.stream_sequence);
        let record = Record::decode(&message.payload);
        Ok(Some(Entry {
            subject: message.subject.to_string(),
            sequence: place.stream_sequence,
            at: place.published,
            record: record.map_err(|error| failed(&format!("{}: {error}", message.subject)))?,
        }))
    }
}

impl Entry {
    /// The first record that `subjects` match at `position` or after it.
    ///
    /// # Errors
    /// When the server does not say, or what lies there is no record.
    pub(super) async fn first_from(
        stream: &TxStream,
        subjects: &str,
        position: u64,
    ) -> Result<Option<Self>, String> {
        let Some(message) = in_time(stream.first_from(subjects, position)).await? else {
            return Ok(None);
        };
        let record = Record::decode(&message.payload);
        Ok(Some(Self {
            sequence: message.sequence,
            at: message.time,
            record: record.map_err(|error| failed(&format!("{}: {error}", message.subject)))?,
            subject: message.subject.to_string(),
        }))
    }
}

fn failed(error: &dyn Display) -> String {
    format!("reading the records of transactions: {error}")
}
