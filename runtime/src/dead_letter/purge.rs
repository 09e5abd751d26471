//! Dead letters that nobody needs any more.

use super::record::LetterSummary;
use super::replay::consumer_of;
use super::stream::{DeadLetterError, DeadLetters, failed};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::DeleteMessageErrorKind;

impl DeadLetters {
    /// Deletes a letter and its payload; false when it was gone already, or replayed since it was
    /// found open.
    ///
    /// # Errors
    /// When it is not known to be deleted.
    pub async fn purge(&self, letter: &LetterSummary) -> Result<bool, DeadLetterError> {
        let attempted = format!("cannot delete the dead letter {}", letter.id);
        if !letter.replayed && self.is_requested(letter, &attempted).await? {
            return Ok(false);
        }
        let deleted = match self.stream().delete_message(letter.sequence).await {
            Ok(deleted) => deleted,
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(refusal)
                    if matches!(
                        refusal.error_code(),
                        ErrorCode::SEQUENCE_NOT_FOUND | ErrorCode::NO_MESSAGE_FOUND
                    ) =>
                {
                    false
                }
                _ => return Err(failed(&attempted, &error)),
            },
        };
        // After the letter: one without its payload could not be read any more.
        if let Some(object) = &letter.payload_object {
            self.delete_payload(object, &attempted).await?;
        }
        Ok(deleted)
    }

    /// Up to which position on the stream every request for a replay of the pipeline's letters has
    /// been handled.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn handled(&self, pipeline: &str) -> Result<u64, DeadLetterError> {
        let consumer = consumer_of(pipeline);
        match self.stream().consumer_info(&consumer).await {
            Ok(found) => Ok(found.ack_floor.stream_sequence),
            // No runtime has opened the pipeline yet.
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(0),
            Err(error) => Err(failed(
                &format!("cannot ask for the consumer {consumer}"),
                &error,
            )),
        }
    }
}
