//! The last message of a subject, as the stream's leader has it.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{self, DirectGetErrorKind, LastRawMessageErrorKind, Stream};

/// Whether no follower can answer a direct get: one that does may not have the last message yet, and
/// where there is none this is the cheaper way.
#[must_use]
pub fn is_direct(stream: &stream::Config) -> bool {
    stream.allow_direct && stream.num_replicas <= 1
}

/// The last message of `subject`, if there is one; read directly where that `is_direct`.
///
/// # Errors
/// When the server does not say.
pub async fn last_message<I>(
    stream: &Stream<I>,
    is_direct: bool,
    subject: &str,
) -> Result<Option<StreamMessage>, String> {
    if is_direct {
        return match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
    }
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
