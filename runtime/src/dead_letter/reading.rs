//! What lies on the stream of dead letters, read from its beginning to its end.

use super::stream::{DeadLetterError, DeadLetters, failed};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{self, DeliverPolicy, pull};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::StreamExt as _;
use std::time::Duration;

/// After so long without a message it is looked whether there is one more.
const QUIET: Duration = Duration::from_millis(500);

/// Which messages are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) subjects: Vec<String>,
    /// Without what they hold.
    pub(super) headers: bool,
}

impl DeadLetters {
    /// Gives `each` message that is there now, oldest first, with its position.
    ///
    /// # Errors
    /// When the stream cannot be read to its end, and those of `each`.
    pub(super) async fn read(
        &self,
        reading: Reading,
        attempted: &str,
        mut each: impl FnMut(&Message, u64) -> Result<(), DeadLetterError>,
    ) -> Result<(), DeadLetterError> {
        let subjects = reading.subjects;
        let config = pull::OrderedConfig {
            filter_subjects: subjects.clone(),
            // `LastPerSubject` stops half-way when some of what it lists is deleted meanwhile.
            deliver_policy: DeliverPolicy::All,
            headers_only: reading.headers,
            ..Default::default()
        };
        let made = Box::pin(self.stream().create_consumer(config)).await;
        let consumer: consumer::Consumer<pull::OrderedConfig> =
            made.map_err(|error| failed(attempted, &error))?;
        let mut pending = consumer.cached_info().num_pending;
        let mut messages = consumer
            .messages()
            .await
            .map_err(|error| failed(attempted, &error))?;
        let mut reached = 0;
        while pending > 0 {
            let message = match tokio::time::timeout(QUIET, messages.next()).await {
                Ok(Some(message)) => message.map_err(|error| failed(attempted, &error))?,
                Ok(None) => return Err(failed(attempted, "the reading ended early")),
                // What is purged meanwhile has been counted, and never comes.
                Err(_) => {
                    let more = self.has_from(&subjects, reached + 1, attempted);
                    match Box::pin(more).await? {
                        true => continue,
                        false => return Ok(()),
                    }
                }
            };
            let place = message.info().map_err(|error| failed(attempted, &*error))?;
            (pending, reached) = (place.pending, place.stream_sequence);
            each(&message, place.stream_sequence)?;
        }
        Ok(())
    }

    /// Whether there is a message on one of `subjects` at `position` or after it.
    async fn has_from(
        &self,
        subjects: &[String],
        position: u64,
        attempted: &str,
    ) -> Result<bool, DeadLetterError> {
        for subject in subjects {
            let found = self
                .stream()
                .get_first_raw_message_by_subject(subject, position);
            match found.await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(failed(attempted, &error)),
            }
        }
        Ok(false)
    }
}
