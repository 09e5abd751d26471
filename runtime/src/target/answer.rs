//! What a target answers. Four answers, never two: unknown is not no.

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use std::error::Error as _;

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
pub(super) fn of_publish_error(error: &PublishError) -> Answer {
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
    use jetstream::ErrorCode;
    let code = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    matches!(
        code,
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_NOT_MATCH)
    )
}

fn cause(error: &PublishError) -> String {
    error
        .source()
        .map_or_else(String::new, |source| format!(": {source}"))
}
