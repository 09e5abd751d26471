//! An entity as it was before an effect, and what the effect makes of it.

use crate::event::{Effect, Headers, Operation, Precondition, merge, reserved};
use crate::target;
use bytes::Bytes;
use serde_json::Value;

/// An entity as it was before an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::target) struct Image {
    /// Its version, where the module has versions.
    pub(super) etag: Option<String>,
    /// What it held; none: it was not there.
    pub(super) content: Option<String>,
    /// Media type of the content.
    pub(super) content_type: Option<String>,
}

impl From<Image> for target::Image {
    fn from(image: Image) -> Self {
        let mut headers = Headers::default();
        if let Some(content_type) = image.content_type {
            headers.push(reserved::CONTENT_TYPE, content_type);
        }
        Self {
            etag: image.etag.unwrap_or_default(),
            headers,
            data: image.content.map(Bytes::from),
        }
    }
}

impl From<&target::Image> for Image {
    fn from(image: &target::Image) -> Self {
        let text = |data: &Bytes| String::from_utf8_lossy(data).into_owned();
        Self {
            etag: Some(image.etag.clone()).filter(|etag| !etag.is_empty()),
            content: image.data.as_ref().map(text),
            content_type: image.headers.get(reserved::CONTENT_TYPE).map(str::to_owned),
        }
    }
}

impl Image {
    /// Why the effect does not go with it, if it does not.
    pub(super) fn breaks(&self, effect: &Effect) -> Option<String> {
        match (effect.precondition.as_ref()?, &self.content) {
            (Precondition::Absent, Some(_)) => Some("the entity exists".to_owned()),
            (Precondition::Present | Precondition::Etag(_), None) => {
                Some("the entity does not exist".to_owned())
            }
            (Precondition::Etag(etag), _) if self.etag.as_ref() != Some(etag) => Some(format!(
                "the entity is not at version {}",
                etag.escape_debug()
            )),
            _ => None,
        }
    }

    /// Whether both hold the same.
    pub(super) fn holds_same(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Some(one), Some(other)) => one == other || parsed(one) == parsed(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Whether both are the same version of something.
    pub(super) fn is_version(&self, other: &Self) -> bool {
        self.etag.is_some() && self.etag == other.etag
    }

    /// Whether `now` is what the effect makes of it. What the module adds of its own does not count.
    pub(super) fn becomes(&self, effect: &Effect, now: &Self) -> bool {
        let payload = String::from_utf8_lossy(&effect.payload);
        let wanted = match effect.operation {
            Operation::Delete => return now.content.is_none(),
            Operation::Merge => {
                let mut wanted = self.content.as_deref().map_or(Value::Null, parsed);
                merge(&mut wanted, parsed(&payload));
                wanted
            }
            Operation::Upsert | Operation::Append => parsed(&payload),
        };
        now.content
            .as_deref()
            .is_some_and(|now| holds(&parsed(now), &wanted))
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Whether every member of `wanted` is in `found`.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let found = found.get(name).unwrap_or(&Value::Null);
            holds(found, wanted)
        }),
        (found, wanted) => found == wanted,
    }
}
