//! What an event is ordered by, and what identifies it.

use super::cloud_event::Event;
use super::subject::nth_token;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Identity of an event: `base64url(sha256(source, 0, id))`. Safe in any NATS subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The identity of the event with this `source` and `id`.
    #[must_use]
    pub fn of(source: &str, id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(source.as_bytes());
        hash.update([0]);
        hash.update(id.as_bytes());
        Self(encode(&hash.finalize()))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must stay in order: events of one key are handled one at a time, in stream order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderingKey(Arc<str>);

impl OrderingKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for OrderingKey {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for OrderingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a pipeline takes the ordering key from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeySpec {
    /// The whole subject.
    #[default]
    WholeSubject,
    /// `subject:N`: the N-th token of the subject, counted from 1.
    SubjectToken(usize),
    /// `header:NAME`: a message header; `header:ce-NAME` a CloudEvents attribute in both modes.
    Header(String),
    /// `json:/pointer`: an RFC 6901 pointer into the decoded data.
    JsonPointer(String),
}

impl KeySpec {
    /// The key of an event, or `None` when it is missing, null or not a scalar: then the event's
    /// identity is its key.
    #[must_use]
    pub fn derive(&self, subject: &str, event: &Event, data: &[u8]) -> Option<OrderingKey> {
        match self {
            Self::WholeSubject => Some(subject.into()),
            Self::SubjectToken(n) => nth_token(subject, *n).map(Into::into),
            Self::Header(name) => event.header_or_attribute(name).map(Into::into),
            Self::JsonPointer(pointer) => scalar_at(data, pointer).map(Into::into),
        }
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeSubject => f.write_str("subject"),
            Self::SubjectToken(token) => write!(f, "subject:{token}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::JsonPointer(pointer) => write!(f, "json:{pointer}"),
        }
    }
}

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "a key is `subject:N`, `header:NAME` or `json:/pointer`";
        let (kind, rest) = text.split_once(':').ok_or_else(|| known.to_owned())?;
        match kind {
            "subject" => match rest.parse::<usize>() {
                Ok(n) if n > 0 => Ok(Self::SubjectToken(n)),
                _ => Err(format!(
                    "`{rest}` is not a token number: tokens are counted from 1"
                )),
            },
            "header" if rest.is_empty() => Err("`header:` names no header".to_owned()),
            "header" => Ok(Self::Header(rest.to_owned())),
            "json" if rest.starts_with('/') => Ok(Self::JsonPointer(rest.to_owned())),
            "json" => Err(format!(
                "`{rest}` is not a JSON pointer: it begins with `/`"
            )),
            _ => Err(known.to_owned()),
        }
    }
}

/// The scalar at `pointer`: strings as they are, numbers and booleans in JSON text.
pub(crate) fn scalar_at(data: &[u8], pointer: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(data).ok()?;
    match value.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A hash as text without padding, safe in subjects, headers and file names.
pub(crate) fn encode(hash: &[u8]) -> Arc<str> {
    let mut buffer = [0_u8; 64];
    match URL_SAFE_NO_PAD.encode_slice(hash, &mut buffer) {
        Ok(length) => {
            let text = buffer
                .get(..length)
                .and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.unwrap_or_default().into()
        }
        Err(_) => URL_SAFE_NO_PAD.encode(hash).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_tells_source_from_id() {
        assert_ne!(EventId::of("a", "bc"), EventId::of("ab", "c"));
        assert_eq!(EventId::of("a", "b").as_str().len(), 43);
    }

    #[test]
    fn keys_are_scalars_in_their_json_text() {
        let data = br#"{"id":"c-1","n":7,"f":1.5,"t":true,"z":null,"o":{},"a/b":{"c":"x"}}"#;
        let cases = [
            ("/id", Some("c-1")),
            ("/n", Some("7")),
            ("/f", Some("1.5")),
            ("/t", Some("true")),
            ("/z", None),
            ("/o", None),
            ("/missing", None),
            ("/a~1b/c", Some("x")),
        ];
        for (pointer, expected) in cases {
            assert_eq!(scalar_at(data, pointer).as_deref(), expected, "{pointer}");
        }
        assert_eq!(scalar_at(b"not json", "/id"), None);
    }

    #[test]
    fn key_settings_are_read_or_refused() {
        assert_eq!("subject:3".parse(), Ok(KeySpec::SubjectToken(3)));
        assert_eq!("header:ce-id".parse(), Ok(KeySpec::Header("ce-id".into())));
        assert_eq!("json:/a/b".parse(), Ok(KeySpec::JsonPointer("/a/b".into())));
        for wrong in [
            "",
            "subject",
            "subject:0",
            "subject:x",
            "header:",
            "json:id",
            "path:/x",
        ] {
            assert!(wrong.parse::<KeySpec>().is_err(), "{wrong}");
        }
    }
}
