//! From a NATS message to an envelope.

use super::config::Config;
use crate::event::{
    Envelope, Event, EventId, Headers, InvalidEvent, OrderingKey, Origin, Original, RawOrigin,
};
use crate::telemetry::PipelineMetrics;
use async_nats::Message;
use std::sync::Arc;

/// Where in its source a message stands.
pub(super) struct Place<'a> {
    pub(super) stream: &'a Arc<str>,
    pub(super) sequence: u64,
    pub(super) maybe_seen: bool,
}

/// The message whole, the envelope it makes, and why it is no event, if it is none.
pub(super) fn decode(
    message: Message,
    place: &Place<'_>,
    config: &Config,
    metrics: &PipelineMetrics,
) -> (Original, Envelope, Option<InvalidEvent>) {
    let original = Original {
        subject: message.subject.to_string(),
        headers: headers_of(message.headers.as_ref()),
        payload: message.payload,
        stream: place.stream.clone(),
        sequence: place.sequence,
    };
    let raw = RawOrigin {
        stream: place.stream,
        subject: &original.subject,
        sequence: place.sequence,
    };
    let decoded = within_limit(&original, config)
        .and_then(|()| Event::decode(&original.headers, &original.payload, raw));
    let (event, data, fault) = match decoded {
        Ok((event, data)) => (event, data, None),
        Err(fault) => (
            Event::raw(&original.headers, raw),
            original.payload.clone(),
            Some(fault),
        ),
    };
    let id = EventId::of(&event.source, &event.id);
    let key = if fault.is_none() {
        config.key.derive(&original.subject, &event, &data)
    } else {
        None
    };
    let key = key.unwrap_or_else(|| {
        metrics.unkeyed.increment();
        OrderingKey::from(id.as_str())
    });
    let origin = Origin {
        id,
        address: original.subject.clone(),
        stream: place.stream.clone(),
        sequence: place.sequence,
        key,
        maybe_seen: place.maybe_seen,
    };
    let envelope = Envelope {
        event: Arc::new(event),
        data,
        origin: Arc::new(origin),
    };
    (original, envelope, fault)
}

fn within_limit(original: &Original, config: &Config) -> Result<(), InvalidEvent> {
    let size = original.payload.len();
    if u64::try_from(size).unwrap_or(u64::MAX) > config.max_payload {
        return Err(InvalidEvent::TooLarge {
            size,
            limit: config.max_payload,
        });
    }
    Ok(())
}

fn headers_of(headers: Option<&async_nats::HeaderMap>) -> Headers {
    let Some(headers) = headers else {
        return Headers::default();
    };
    let mut list: Vec<(String, String)> = Vec::with_capacity(headers.len());
    for (name, values) in headers.iter() {
        list.extend(
            values
                .iter()
                .map(|value| (name.to_string(), value.to_string())),
        );
    }
    // The client keeps headers in a hash map: without an order of our own each run differs.
    list.sort_by(|a, b| a.0.cmp(&b.0));
    Headers(list)
}
