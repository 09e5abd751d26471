//! What lies on the stream of dead letters, read from its beginning to its end.

use super::stream::{DeadLetterError, DeadLetters, failed};
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{self, DeliverPolicy, pull};
use futures::StreamExt as _;

/// Which messages are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) subjects: Vec<String>,
    /// Of each subject the last one only.
    pub(super) last: bool,
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
        let config = pull::OrderedConfig {
            filter_subjects: reading.subjects,
            deliver_policy: match reading.last {
                true => DeliverPolicy::LastPerSubject,
                false => DeliverPolicy::All,
            },
            headers_only: reading.headers,
            ..Default::default()
        };
        let consumer: consumer::Consumer<pull::OrderedConfig> = self
            .stream()
            .create_consumer(config)
            .await
            .map_err(|error| failed(attempted, &error))?;
        let mut pending = consumer.cached_info().num_pending;
        let mut messages = consumer
            .messages()
            .await
            .map_err(|error| failed(attempted, &error))?;
        while pending > 0 {
            let Some(message) = messages.next().await else {
                return Err(failed(attempted, "the reading ended early"));
            };
            let message = message.map_err(|error| failed(attempted, &error))?;
            let place = message.info().map_err(|error| failed(attempted, &*error))?;
            pending = place.pending;
            each(&message, place.stream_sequence)?;
        }
        Ok(())
    }
}
