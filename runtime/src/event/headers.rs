//! Message headers as plain values, and every header name that Syncline gives a meaning to.

use serde::{Deserialize, Serialize};

/// Header names that Syncline writes, reads or keeps for NATS.
pub mod reserved {
    /// Headers that steer the NATS server.
    pub const NATS_PREFIX: &str = "Nats-";
    /// Headers that steer Syncline.
    pub const SYNCLINE_PREFIX: &str = "Syncline-";
    /// The message id that JetStream deduplicates by.
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    /// What an effect does: `upsert`, `merge`, `delete` or `append`.
    pub const OPERATION: &str = "Syncline-Operation";
    /// The key of the entity that an effect is about, unescaped.
    pub const KEY: &str = "Syncline-Key";
    /// The kind of entity, when the effect names one.
    pub const ENTITY: &str = "Syncline-Entity";
    /// Identity `k` of the event that caused an effect.
    pub const EVENT_ID: &str = "Syncline-Event-Id";
    /// Identity of the effect: the same again when the event is thought again.
    pub const EFFECT_ID: &str = "Syncline-Effect-Id";
    /// The source stream of the event that caused a write.
    pub const SOURCE_STREAM: &str = "Syncline-Source-Stream";
    /// When that stream was made, in nanoseconds since 1970.
    pub const SOURCE_CREATED: &str = "Syncline-Source-Created";
    /// The sequence, in that stream, of the event that caused a write.
    pub const SOURCE_SEQUENCE: &str = "Syncline-Source-Sequence";
    /// Hash of the ordering key of the event that caused a write.
    pub const SOURCE_KEY: &str = "Syncline-Source-Key";
    /// What a message of the source was, where it was copied to its partition.
    pub const ORIGINAL: &str = "Syncline-Original";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// Media type of a message body.
    pub const CONTENT_TYPE: &str = "content-type";
    /// What names of CloudEvents attributes begin with in binary mode.
    pub const CLOUD_EVENT_PREFIX: &str = "ce-";
}

/// Message headers: names as received, repeats kept, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Adds a value, keeping those already there.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Name and value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Whether `name` steers the server or Syncline: removed on intake, refused in effects.
#[must_use]
pub(crate) fn is_reserved(name: &str) -> bool {
    starts_with_ignoring_case(name, reserved::NATS_PREFIX)
        || starts_with_ignoring_case(name, reserved::SYNCLINE_PREFIX)
}

/// Why a header cannot be sent, if it cannot: NATS headers are lines of text.
#[must_use]
pub(crate) fn header_fault(name: &str, value: &str) -> Option<&'static str> {
    if is_reserved(name) {
        return Some("names that begin with `Nats-` or `Syncline-` are reserved");
    }
    let name_is_token = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !name_is_token {
        return Some("a header name is one or more visible ASCII characters without `:`");
    }
    if value.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
        return Some("a header value holds no line break");
    }
    None
}

/// The rest of `text` after `prefix`, whatever its case.
#[must_use]
pub(crate) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    if starts_with_ignoring_case(text, prefix) {
        text.get(prefix.len()..)
    } else {
        None
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_known_in_any_case() {
        for name in ["Nats-Msg-Id", "nats-rollup", "SYNCLINE-KEY"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["nat", "ce-id", "X-Nats-Msg-Id", ""] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn a_header_that_would_break_the_protocol_is_refused() {
        assert!(header_fault("x", "a\r\nNats-Msg-Id: 1").is_some());
        assert!(header_fault("x:y", "a").is_some());
        assert!(header_fault("", "a").is_some());
        assert!(header_fault("x y", "a").is_some());
        assert!(header_fault("x-y", "a b").is_none());
    }
}
