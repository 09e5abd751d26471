//! One line of input as an event: a CloudEvent in the JSON format, or what is completed to one.

use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use syncline::event::{Envelope, Event, EventId, InvalidEvent, Origin};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An event with its data.
#[derive(Debug)]
pub(super) struct EventLine {
    /// Its attributes.
    pub(super) event: Event,
    /// Its data.
    pub(super) data: Bytes,
}

/// What a completed event gets where the line says nothing.
#[derive(Debug)]
pub(super) struct Completion<'a> {
    /// Its `source`.
    pub(super) source: &'a str,
    /// Its `type`.
    pub(super) kind: &'a str,
    /// Its `id`; none: a random one.
    pub(super) id: Option<&'a str>,
    /// Its `time`; none: it gets none.
    pub(super) time: Option<OffsetDateTime>,
}

/// Reads a CloudEvent that is complete.
///
/// # Errors
/// [`InvalidEvent`] saying which part is missing or wrong.
pub(super) fn strict(line: &[u8]) -> Result<EventLine, InvalidEvent> {
    let (event, data) = Event::from_json(line)?;
    Ok(EventLine { event, data })
}

/// Reads an event and adds what it lacks. A JSON value without `specversion` is the data of a new
/// event.
///
/// # Errors
/// [`InvalidEvent`] when the line is no JSON, or says that it is a CloudEvent and is none.
pub(super) fn complete(line: &[u8], with: &Completion<'_>) -> Result<EventLine, InvalidEvent> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| InvalidEvent::Json(error.to_string()))?;
    let mut fields = match value {
        Value::Object(fields) if fields.contains_key("specversion") => {
            // As it came where nothing is missing, so that the data keeps its bytes.
            if ["id", "source", "type"]
                .iter()
                .all(|name| fields.contains_key(*name))
            {
                return strict(line);
            }
            fields
        }
        data => Map::from_iter([("data".to_owned(), data)]),
    };
    fill(&mut fields, with);
    strict(Value::Object(fields).to_string().as_bytes())
}

fn fill(fields: &mut Map<String, Value>, with: &Completion<'_>) {
    let mut add = |name: &str, value: &dyn Fn() -> String| {
        if !fields.contains_key(name) {
            fields.insert(name.to_owned(), Value::String(value()));
        }
    };
    add("specversion", &|| "1.0".to_owned());
    add("id", &|| with.id.map_or_else(random_id, str::to_owned));
    add("source", &|| with.source.to_owned());
    add("type", &|| with.kind.to_owned());
    if let Some(time) = with.time.and_then(|time| time.format(&Rfc3339).ok()) {
        add("time", &|| time.clone());
    }
}

/// An id that no other event has: the time and a random number.
fn random_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    // Each RandomState is keyed by the operating system's randomness and a counter.
    format!(
        "{:012x}{:016x}",
        now / 1_000_000,
        RandomState::new().hash_one(now)
    )
}

impl EventLine {
    /// The event as if it had arrived on `address`. Without a `key` it is ordered by its id.
    pub(super) fn envelope(self, address: &str, sequence: u64, key: Option<&str>) -> Envelope {
        let Self { event, data } = self;
        let origin = Origin {
            id: EventId::of(&event.source, &event.id),
            address: address.to_owned(),
            stream: "".into(),
            sequence,
            key: key.unwrap_or(&event.id).into(),
            stream_created: 0,
            maybe_seen: false,
            generation: 0,
        };
        Envelope {
            event: Arc::new(event),
            data,
            origin: Arc::new(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH: Completion<'_> = Completion {
        source: "/here",
        kind: "event",
        id: None,
        time: None,
    };

    #[test]
    fn a_bare_value_becomes_the_data_of_a_new_event() {
        for bare in [r#"{"id":"42"}"#, "[1,2]", "7", r#""text""#] {
            let line = complete(bare.as_bytes(), &WITH).unwrap();
            assert_eq!(line.data, bare.as_bytes());
            assert_eq!(
                (line.event.source.as_str(), line.event.kind.as_str()),
                ("/here", "event")
            );
            assert_ne!(line.event.id, "42");
            assert!(!line.event.id.is_empty());
        }
    }

    #[test]
    fn two_bare_values_get_two_ids() {
        let ids = [(); 2].map(|()| complete(b"{}", &WITH).unwrap().event.id);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn what_a_cloud_event_lacks_is_added_and_what_it_has_is_kept() {
        let time = Some(OffsetDateTime::UNIX_EPOCH);
        let with = Completion { time, ..WITH };
        let text = br#"{"specversion":"1.0","id":"a","type":"order.created","data":{"n":1.50}}"#;
        let line = complete(text, &with).unwrap();
        assert_eq!(
            (line.event.id.as_str(), line.event.kind.as_str()),
            ("a", "order.created")
        );
        assert_eq!(line.event.source, "/here");
        assert_eq!(line.event.time.as_deref(), Some("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn a_complete_event_keeps_the_bytes_of_its_data() {
        let text = br#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data":{"b": 1.50}}"#;
        assert_eq!(complete(text, &WITH).unwrap().data, &br#"{"b": 1.50}"#[..]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for wrong in ["", "{", "not json", r#"{"specversion":"0.3","type":"t"}"#] {
            assert!(complete(wrong.as_bytes(), &WITH).is_err(), "{wrong}");
        }
        assert!(strict(br#"{"id":"42"}"#).is_err());
    }
}
