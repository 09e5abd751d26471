//! The event as an author reads and changes it.

use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::syncline::plugin::types;
use crate::{Error, Result};

pub use types::Delivery;

/// One event: its CloudEvents attributes, its data and how it got here.
///
/// To hand on a changed event, answer with what one of the `with_` methods returns, or clone it and
/// set fields; data that was not replaced is not copied back to the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Unique together with `source`.
    pub id: String,
    /// Who published it, a URI reference.
    pub source: String,
    /// What happened, the CloudEvents `type`.
    pub type_: String,
    /// What it happened to, within the source.
    pub subject: Option<String>,
    /// When it happened, RFC 3339 as received.
    pub time: Option<String>,
    /// Media type of the data.
    pub data_content_type: Option<String>,
    /// Schema the data claims to follow.
    pub data_schema: Option<String>,
    /// CloudEvents extension attributes, names in lower case.
    pub attributes: Vec<(String, String)>,
    /// Other headers of the message, in their order.
    pub headers: Vec<(String, String)>,
    /// How this copy reached the host. Ignored in an event that is handed on.
    pub delivery: Delivery,
    data: Rc<Vec<u8>>,
}

impl Event {
    /// The data as it came, empty when there is none.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Reads the data as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.data).map_err(unreadable)
    }

    /// Reads what an RFC 6901 pointer addresses in the JSON data. For several values, read the whole
    /// with [`json`](Self::json) once instead.
    ///
    /// ```
    /// # use syncline_sdk::{prelude::*, testing};
    /// let event = testing::event("order.paid", json!({ "total": { "amount": 12.5 } }));
    /// assert_eq!(event.get::<f64>("/total/amount"), Ok(12.5));
    /// assert_eq!(event.get::<f64>("/tax"), Err(Error::reject("data: nothing at /tax")));
    /// ```
    pub fn get<T: DeserializeOwned>(&self, pointer: &str) -> Result<T> {
        let missing = || Error::reject(format!("data: nothing at {pointer}"));
        self.find(pointer)?.ok_or_else(missing)
    }

    /// As [`get`](Self::get), with `None` where there is nothing.
    pub fn find<T: DeserializeOwned>(&self, pointer: &str) -> Result<Option<T>> {
        let mut data: Value = self.json()?;
        let Some(found) = data.pointer_mut(pointer) else {
            return Ok(None);
        };
        let wrong = |error| Error::from(error).context(format!("data: {pointer}"));
        serde_json::from_value(found.take())
            .map(Some)
            .map_err(wrong)
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    }

    /// A CloudEvents extension attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let named = |(attribute, _): &&(String, String)| attribute == name;
        self.attributes
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    }

    /// The same event with other data, as JSON.
    pub fn with_json<T: Serialize + ?Sized>(&self, data: &T) -> Result<Self> {
        let kept = self
            .data_content_type
            .as_deref()
            .filter(|media_type| is_json(media_type));
        let media_type = kept.unwrap_or("application/json").to_owned();
        Ok(self.with_data(&media_type, serde_json::to_vec(data)?))
    }

    /// The same event with other data.
    #[must_use]
    pub fn with_data(&self, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        let mut changed = self.clone();
        changed.data_content_type = Some(content_type.to_owned());
        changed.data = Rc::new(data.into());
        changed
    }

    /// The same event under another id, for the parts of a split.
    #[must_use]
    pub fn with_id(&self, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..self.clone()
        }
    }

    /// The same event under another type.
    #[must_use]
    pub fn with_type(&self, type_: impl Into<String>) -> Self {
        Self {
            type_: type_.into(),
            ..self.clone()
        }
    }

    /// The same event about another subject.
    #[must_use]
    pub fn with_subject(&self, subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self.clone()
        }
    }

    pub(crate) fn from_wit(incoming: types::Incoming) -> Self {
        let types::Incoming {
            event,
            data,
            delivery,
        } = incoming;
        Self {
            id: event.id,
            source: event.source,
            type_: event.type_,
            subject: event.subject,
            time: event.time,
            data_content_type: event.data_content_type,
            data_schema: event.data_schema,
            attributes: event.attributes,
            headers: event.headers,
            delivery,
            data: Rc::new(data),
        }
    }

    /// What the host is told of an event derived from `incoming`.
    pub(crate) fn into_wit(self, incoming: &Self) -> types::Forwarded {
        let untouched = Rc::ptr_eq(&self.data, &incoming.data);
        types::Forwarded {
            data: (!untouched).then(|| Rc::unwrap_or_clone(self.data)),
            event: types::Event {
                id: self.id,
                source: self.source,
                type_: self.type_,
                subject: self.subject,
                time: self.time,
                data_content_type: self.data_content_type,
                data_schema: self.data_schema,
                attributes: self.attributes,
                headers: self.headers,
            },
        }
    }
}

/// Whether a media type says JSON, with or without parameters or a structured-syntax suffix.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::from(error).context("data")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[test]
    fn only_replaced_data_goes_back_to_the_host() {
        let event = testing::event("a.b", json!({ "n": 1 }));
        let renamed = event.with_type("a.c").into_wit(&event);
        assert_eq!((renamed.event.type_.as_str(), renamed.data), ("a.c", None));
        let changed = event.with_json(&json!(2)).unwrap().into_wit(&event);
        assert_eq!(changed.data.as_deref(), Some(b"2".as_slice()));
    }

    #[test]
    fn json_keeps_a_json_content_type_and_replaces_any_other() {
        let content_type = |before: &str| {
            let event = testing::event("a.b", json!(1)).with_data(before, "1");
            event
                .with_json(&json!(2))
                .unwrap()
                .data_content_type
                .unwrap()
        };
        assert_eq!(
            content_type("application/vnd.crm+json; v=2"),
            "application/vnd.crm+json; v=2"
        );
        assert_eq!(content_type("text/plain"), "application/json");
    }

    #[test]
    fn a_pointer_tells_missing_from_wrong() {
        let event = testing::event("a.b", json!({ "n": "x", "none": null }));
        assert_eq!(event.find::<Value>("/m"), Ok(None));
        assert_eq!(event.get::<Option<u8>>("/none"), Ok(None));
        let wrong = event.get::<u8>("/n").unwrap_err().to_string();
        assert_eq!(wrong, "data: /n: invalid type: string \"x\", expected u8");
    }

    #[test]
    fn header_names_ignore_case() {
        let mut event = testing::event("a.b", json!(1));
        event.headers = vec![("Trace".into(), "1".into()), ("trace".into(), "2".into())];
        assert_eq!(event.header("TRACE"), Some("1"));
        assert_eq!(event.attribute("tenant"), None);
    }
}
