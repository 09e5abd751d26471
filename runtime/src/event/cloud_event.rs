//! CloudEvents 1.0: binary mode (`ce-` headers), structured mode (JSON format), and raw messages.
//!
//! Source: the CloudEvents specification 1.0.2 and its NATS protocol binding and JSON format.

use super::headers::{Headers, is_reserved, reserved, strip_prefix_ignoring_case};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Media type of a structured event.
const STRUCTURED: &str = "application/cloudevents+json";
/// Type given to a message that is no CloudEvent.
const RAW_TYPE: &str = "nats.message";

/// The attributes of a CloudEvents 1.0 event in their canonical string form, and the other headers
/// of the message it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `id`: unique within `source`.
    pub id: String,
    /// `source`: a URI reference.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`: RFC 3339, as received.
    pub time: Option<String>,
    /// `datacontenttype`.
    pub data_content_type: Option<String>,
    /// `dataschema`.
    pub data_schema: Option<String>,
    /// Extension attributes, names in lower case.
    pub attributes: Vec<(String, String)>,
    /// Message headers that are no attribute and not reserved.
    pub headers: Headers,
}

/// Why a message that says it is a CloudEvent is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// A required attribute is absent or empty.
    #[error("the CloudEvent has no `{0}`")]
    Missing(&'static str),
    /// The specification version is not 1.0.
    #[error("the CloudEvent has specversion `{0}`: only 1.0 is known")]
    Version(String),
    /// An attribute has a value that its type does not allow.
    #[error("the CloudEvent's `{name}` is not {expected}: `{value}`")]
    Attribute {
        /// The attribute.
        name: String,
        /// What it should have been.
        expected: &'static str,
        /// What it was, shortened.
        value: String,
    },
    /// The message is longer than the pipeline takes.
    #[error("the payload has {size} bytes, the limit `limits.payload` is {limit}")]
    TooLarge {
        /// Its length.
        size: usize,
        /// The limit.
        limit: u64,
    },
    /// The structured form is no JSON object.
    #[error("the structured CloudEvent is not a JSON object: {0}")]
    Json(String),
}

/// What a raw message is named after when it brings no identity of its own.
#[derive(Debug, Clone, Copy)]
pub struct RawOrigin<'a> {
    /// The stream, empty for core NATS.
    pub stream: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// Position in the stream.
    pub sequence: u64,
}

impl Event {
    /// Decodes a message: structured when its content type says so, binary when it has
    /// `ce-specversion`, else raw.
    ///
    /// # Errors
    /// [`InvalidEvent`] when the message says that it is a CloudEvent and is none.
    pub fn decode(
        headers: &Headers,
        payload: &Bytes,
        raw: RawOrigin<'_>,
    ) -> Result<(Self, Bytes), InvalidEvent> {
        let content_type = headers.get(reserved::CONTENT_TYPE).unwrap_or_default();
        if is_media_type(content_type, STRUCTURED) {
            let (mut event, data) = Self::from_json(payload)?;
            event.headers = other_headers(headers);
            return Ok((event, data));
        }
        let has_attributes = headers
            .iter()
            .any(|(name, _)| strip_prefix_ignoring_case(name, "ce-").is_some());
        if has_attributes {
            return Ok((Self::from_headers(headers)?, payload.clone()));
        }
        Ok((Self::raw(headers, raw), payload.clone()))
    }

    /// Decodes the JSON format: one object with the attributes and `data` or `data_base64`.
    ///
    /// # Errors
    /// [`InvalidEvent`] saying which part is missing or of the wrong type.
    pub fn from_json(text: &[u8]) -> Result<(Self, Bytes), InvalidEvent> {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_slice(text).map_err(|error| InvalidEvent::Json(error.to_string()))?;
        let mut event = Self::default();
        let mut version = None;
        let (mut json, mut binary) = (None, None);
        for (name, raw) in fields {
            match name.as_str() {
                "data" if raw.get() == "null" => {}
                "data" => json = Some(raw),
                "data_base64" => binary = Some(decode_base64(raw)?),
                _ => event.set_json(&name, raw, &mut version)?,
            }
        }
        let event = event.checked(version)?;
        let data = match (json, binary) {
            (Some(_), Some(_)) => {
                return Err(InvalidEvent::Json(
                    "both `data` and `data_base64`".to_owned(),
                ));
            }
            (Some(raw), None) => event.json_data(raw),
            (None, binary) => binary.unwrap_or_default(),
        };
        Ok((event, data))
    }

    /// JSON data is kept byte for byte; of another type, a JSON string stands for its text.
    fn json_data(&self, raw: &RawValue) -> Bytes {
        let is_text = self
            .data_content_type
            .as_deref()
            .is_some_and(|kind| !is_json(kind));
        match serde_json::from_str::<String>(raw.get()) {
            Ok(text) if is_text => Bytes::from(text),
            _ => Bytes::copy_from_slice(raw.get().as_bytes()),
        }
    }

    fn from_headers(headers: &Headers) -> Result<Self, InvalidEvent> {
        let mut event = Self {
            headers: other_headers(headers),
            ..Self::default()
        };
        let mut version = None;
        for (name, value) in headers.iter() {
            if let Some(attribute) = strip_prefix_ignoring_case(name, reserved::CLOUD_EVENT_PREFIX)
            {
                let attribute = attribute.to_ascii_lowercase();
                event.set(&attribute, percent_decode(value), &mut version)?;
            }
        }
        if let Some(content_type) = headers.get(reserved::CONTENT_TYPE) {
            event.data_content_type = Some(content_type.to_owned());
        }
        event.checked(version)
    }

    pub(crate) fn raw(headers: &Headers, origin: RawOrigin<'_>) -> Self {
        let id = headers.get(reserved::MESSAGE_ID).map_or_else(
            || format!("{}:{}", origin.stream, origin.sequence),
            str::to_owned,
        );
        Self {
            id,
            source: format!("nats://{}/{}", origin.stream, origin.subject),
            kind: RAW_TYPE.to_owned(),
            data_content_type: headers.get(reserved::CONTENT_TYPE).map(str::to_owned),
            headers: other_headers(headers),
            ..Self::default()
        }
    }

    /// Whether the event is a raw message that brought no identity of its own.
    pub(crate) fn is_named_by_position(&self, headers: &Headers) -> bool {
        self.kind == RAW_TYPE && headers.get(reserved::MESSAGE_ID).is_none()
    }

    fn set_json(
        &mut self,
        name: &str,
        raw: &RawValue,
        version: &mut Option<String>,
    ) -> Result<(), InvalidEvent> {
        match attribute_text(name, raw)? {
            Some(value) => self.set(name, value, version),
            None => Ok(()),
        }
    }

    fn set(
        &mut self,
        name: &str,
        value: String,
        version: &mut Option<String>,
    ) -> Result<(), InvalidEvent> {
        match name {
            "specversion" => *version = Some(value),
            "id" => self.id = value,
            "source" => self.source = value,
            "type" => self.kind = value,
            "subject" => self.subject = Some(value),
            "time" => self.time = Some(value),
            "datacontenttype" => self.data_content_type = Some(value),
            "dataschema" => self.data_schema = Some(value),
            _ if is_attribute_name(name) => self.attributes.push((name.to_owned(), value)),
            _ => {
                return Err(InvalidEvent::Attribute {
                    name: shorten(name),
                    expected: "an attribute name of lower-case letters and digits",
                    value: shorten(name),
                });
            }
        }
        Ok(())
    }

    fn checked(self, version: Option<String>) -> Result<Self, InvalidEvent> {
        match version.as_deref() {
            Some("1.0") => {}
            Some(other) => return Err(InvalidEvent::Version(shorten(other))),
            None => return Err(InvalidEvent::Missing("specversion")),
        }
        for (name, value) in [
            ("id", &self.id),
            ("source", &self.source),
            ("type", &self.kind),
        ] {
            if value.is_empty() {
                return Err(InvalidEvent::Missing(name));
            }
        }
        if let Some(time) = &self.time
            && OffsetDateTime::parse(time, &Rfc3339).is_err()
        {
            return Err(InvalidEvent::Attribute {
                name: "time".to_owned(),
                expected: "an RFC 3339 timestamp",
                value: shorten(time),
            });
        }
        Ok(self)
    }

    /// A message header, or with `ce-NAME` an attribute of the event in either mode.
    #[must_use]
    pub fn header_or_attribute(&self, name: &str) -> Option<&str> {
        match strip_prefix_ignoring_case(name, reserved::CLOUD_EVENT_PREFIX) {
            Some(attribute) => self.attribute(&attribute.to_ascii_lowercase()),
            None => self.headers.get(name),
        }
    }

    /// An attribute by its CloudEvents name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "specversion" => Some("1.0"),
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.kind),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.data_content_type.as_deref(),
            "dataschema" => self.data_schema.as_deref(),
            _ => self
                .attributes
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str()),
        }
    }

    /// Every attribute that is set, by its CloudEvents name, `specversion` first.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        const NAMES: [&str; 8] = [
            "specversion",
            "id",
            "source",
            "type",
            "subject",
            "time",
            "datacontenttype",
            "dataschema",
        ];
        let own = NAMES
            .into_iter()
            .filter_map(|name| Some((name, self.attribute(name)?)));
        own.chain(
            self.attributes
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }

    /// The event in the JSON format. Data that is JSON by its content type, or without one, and
    /// parses as JSON goes to `data`; text of a `text/` type too; anything else to `data_base64`.
    #[must_use]
    pub fn to_json(&self, data: &[u8]) -> Value {
        let mut object = Map::new();
        for (name, value) in self.attributes() {
            object.insert(name.to_owned(), Value::String(value.to_owned()));
        }
        if !data.is_empty() {
            let (name, value) = data_to_json(self.data_content_type.as_deref(), data);
            object.insert(name.replace("payload", "data"), value);
        }
        Value::Object(object)
    }

    /// The event as `ce-` headers; the data goes in the body.
    #[must_use]
    pub fn to_headers(&self) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in self.attributes() {
            match name {
                "datacontenttype" => headers.push(reserved::CONTENT_TYPE, value),
                _ => headers.push(format!("ce-{name}"), percent_encode(value)),
            }
        }
        headers.0.extend(self.headers.0.iter().cloned());
        headers
    }

    /// The headers of a message that carries the event on: those of [`Event::to_headers`] but the
    /// content type, and for a raw message only its own.
    #[must_use]
    pub fn to_message_headers(&self) -> Headers {
        if self.kind == RAW_TYPE {
            return self.headers.clone();
        }
        let mut headers = self.to_headers();
        headers.0.retain(|(name, _)| name != reserved::CONTENT_TYPE);
        headers
    }

    /// W3C trace context, from the distributed tracing extension or the header of that name.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.attribute(reserved::TRACEPARENT)
            .or_else(|| self.headers.get(reserved::TRACEPARENT))
    }
}

/// A body as JSON where its content type is JSON (or unsaid) and it parses, else as text or base64.
/// Returns the member's name (`payload` or `payload_base64`) with its value.
#[must_use]
pub fn data_to_json(content_type: Option<&str>, data: &[u8]) -> (&'static str, Value) {
    if content_type.is_none_or(is_json)
        && let Ok(value) = serde_json::from_slice(data)
    {
        return ("payload", value);
    }
    if content_type.is_some_and(|kind| kind.starts_with("text/"))
        && let Ok(text) = std::str::from_utf8(data)
    {
        return ("payload", Value::String(text.to_owned()));
    }
    ("payload_base64", Value::String(STANDARD.encode(data)))
}

/// Whether a media type is JSON: `application/json` or any `+json`.
#[must_use]
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("text/json")
        || essence.to_ascii_lowercase().ends_with("+json")
}

fn is_media_type(content_type: &str, expected: &str) -> bool {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case(expected)
}

/// Whether an extension attribute may have this name.
#[must_use]
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn other_headers(headers: &Headers) -> Headers {
    let others = headers.iter().filter(|(name, _)| {
        !is_reserved(name)
            && strip_prefix_ignoring_case(name, reserved::CLOUD_EVENT_PREFIX).is_none()
            && !name.eq_ignore_ascii_case(reserved::CONTENT_TYPE)
    });
    Headers(
        others
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

/// An attribute's canonical string: strings as they are, booleans and integers in text.
fn attribute_text(name: &str, raw: &RawValue) -> Result<Option<String>, InvalidEvent> {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) => Ok(Some(text)),
        Ok(Value::Bool(flag)) => Ok(Some(flag.to_string())),
        Ok(Value::Number(number)) if number.is_i64() => Ok(Some(number.to_string())),
        _ => Err(InvalidEvent::Attribute {
            name: shorten(name),
            expected: "a string, a boolean or an integer",
            value: shorten(raw.get()),
        }),
    }
}

fn decode_base64(raw: &RawValue) -> Result<Bytes, InvalidEvent> {
    let fault = || InvalidEvent::Attribute {
        name: "data_base64".to_owned(),
        expected: "a base64 string",
        value: shorten(raw.get()),
    };
    let text: String = serde_json::from_str(raw.get()).map_err(|_| fault())?;
    STANDARD.decode(text).map(Bytes::from).map_err(|_| fault())
}

/// The protocol binding percent-encodes what a header cannot hold.
fn percent_decode(value: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let pair = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if first == b'%' => {
                decoded.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}

fn percent_encode(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '%' | '"') || c == ' ';
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut encoded = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        if plain(c) {
            encoded.push(c);
        } else {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    encoded
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}…")
}

#[cfg(test)]
#[path = "cloud_event_tests.rs"]
mod tests;
