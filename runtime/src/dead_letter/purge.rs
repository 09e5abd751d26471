//! Dead letters that nobody needs any more.

use super::record::LetterSummary;
use super::replay::consumer_of;
use super::stream::{DeadLetterError, DeadLetters, failed};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::DeleteMessageErrorKind;
use futures::TryStreamExt as _;

impl DeadLetters {
    /// Deletes a letter and its payload; false when it was gone already, or replayed since it was
    /// found open.
    ///
    /// # Errors
    /// When it is not known to be deleted.
    pub async fn purge(&self, letter: &LetterSummary) -> Result<bool, DeadLetterError> {
        let attempted = format!("cannot delete the dead letter {}", letter.id);
        // Said before it is done: a key that is held by what is gone would be held until the next start.
        let is_ours = match (letter.replayed, letter.holds_key) {
            (true, _) => true,
            (false, true) => self.close_open(letter, &attempted).await?,
            (false, false) => !self.is_requested(letter, &attempted).await?,
        };
        if !is_ours {
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
    /// been handled: by all of its partitions, where it has any.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn handled(&self, pipeline: &str) -> Result<u64, DeadLetterError> {
        let attempted = format!("cannot ask for the consumers {}", consumer_of(pipeline));
        let mut handled: Option<u64> = None;
        for consumer in self.consumers_of(pipeline).await? {
            let found = self.stream().consumer_info(&consumer).await;
            let floor = found.map_err(|error| failed(&attempted, &error))?;
            let floor = floor.ack_floor.stream_sequence;
            handled = Some(handled.map_or(floor, |handled| handled.min(floor)));
        }
        Ok(handled.unwrap_or_default())
    }

    /// Whether a runtime has ever opened the pipeline, so that what is asked of it will be handled.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn is_served(&self, pipeline: &str) -> Result<bool, DeadLetterError> {
        Ok(!self.consumers_of(pipeline).await?.is_empty())
    }

    /// Those of its partitions, where it has any.
    async fn consumers_of(&self, pipeline: &str) -> Result<Vec<String>, DeadLetterError> {
        let whole = consumer_of(pipeline);
        let attempted = format!("cannot ask for the consumers {whole}");
        let of_partitions = format!("{whole}@");
        let names = self.stream().consumer_names();
        let mut names: Vec<String> = names
            .try_collect()
            .await
            .map_err(|error| failed(&attempted, &error))?;
        match names.iter().any(|name| name.starts_with(&of_partitions)) {
            true => names.retain(|name| name.starts_with(&of_partitions)),
            // None when no runtime has opened the pipeline yet.
            false => names.retain(|name| *name == whole),
        }
        Ok(names)
    }
}
