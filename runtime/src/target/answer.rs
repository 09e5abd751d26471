//! What a target answers. Four answers, never two: unknown is not no.

use super::holder::{Holder, is_missing};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use std::error::Error as _;
use std::time::Duration;

/// The answer to one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The target holds the effect.
    Applied,
    /// It will never take it, for this reason.
    Refused(String),
    /// A precondition does not hold: think again from fresh reads.
    Conflict(String),
    /// It may or may not hold the effect, or cannot take it now: asking again is safe.
    Unknown(String),
    /// It is there and nobody speaks for it now: a cluster chooses a leader. Asking again is safe.
    Away(String),
}

/// How long the server may take to say who leads a stream.
const LEADER: Duration = Duration::from_secs(2);

/// What a failed publish to `stream` means: when nobody takes the message, whether that passes.
pub(super) async fn of_publish_to(
    error: &PublishError,
    context: &jetstream::Context,
    stream: Option<&Holder>,
) -> Answer {
    match stream {
        Some(stream) if is_unled(error, context, stream).await => {
            Answer::Away(format!("the stream `{}` has no leader now", stream.name))
        }
        _ => of_publish_error(error),
    }
}

/// Whether the stream is there without a leader. One that is not there, or leads and does not take
/// the subject, is another matter; of one that is adopted nobody asks.
async fn is_unled(error: &PublishError, context: &jetstream::Context, stream: &Holder) -> bool {
    if error.kind() != PublishErrorKind::StreamNotFound {
        return code_of(error) == Some(ErrorCode::CLUSTER_NOT_AVAILABLE);
    }
    if stream.is_adopted() {
        return true;
    }
    match tokio::time::timeout(LEADER, context.get_stream(&stream.name)).await {
        Ok(Ok(found)) => {
            let cluster = found.cached_info().cluster.as_ref();
            cluster.is_some_and(|cluster| cluster.leader.is_none())
        }
        Ok(Err(error)) => !is_missing(&error),
        Err(_) => true,
    }
}

/// Said when nothing is there that could take an effect.
const NOBODY: &str = "no stream takes this subject";

impl Answer {
    /// Whether nothing was heard from the target, or that it cannot now. That nobody is there is told
    /// by a server, at once.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Unknown(error) if error != NOBODY)
    }
}

/// What a failed JetStream publish means.
fn of_publish_error(error: &PublishError) -> Answer {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => Answer::Conflict(error.to_string()),
        PublishErrorKind::MaxPayloadExceeded => Answer::Refused(format!("{error}{}", cause(error))),
        PublishErrorKind::StreamNotFound => Answer::Unknown(NOBODY.to_owned()),
        _ if is_permanent(error) => Answer::Refused(format!("{error}{}", cause(error))),
        _ => Answer::Unknown(format!("{error}{}", cause(error))),
    }
}

/// Refusals that no second try can cure: too large, or not for this stream.
fn is_permanent(error: &PublishError) -> bool {
    matches!(
        code_of(error),
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_NOT_MATCH)
    )
}

/// Whether a server said that it did not take the message. Otherwise it may have.
pub(super) fn is_answer(error: &PublishError) -> bool {
    let is_told = matches!(
        error.kind(),
        PublishErrorKind::StreamNotFound
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxPayloadExceeded
    );
    is_told || code_of(error).is_some()
}

/// The number of the server's refusal.
fn code_of(error: &PublishError) -> Option<ErrorCode> {
    error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code)
}

fn cause(error: &PublishError) -> String {
    error
        .source()
        .map_or_else(String::new, |source| format!(": {source}"))
}
