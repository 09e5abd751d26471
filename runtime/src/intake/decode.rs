//! From a NATS message to an envelope.

use super::config::Config;
use crate::event::{
    Envelope, Event, EventId, Headers, InvalidEvent, OrderingKey, Origin, Original, RawOrigin,
};
use crate::telemetry::PipelineMetrics;
use async_nats::Message;
use bytes::Bytes;
use std::sync::Arc;

/// What an earlier run may have done with a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// Whether it may have applied some of its effects.
    pub(super) maybe_seen: bool,
    /// How often it was replayed.
    pub(super) generation: u32,
}

/// A stream that messages come from.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// Empty for core NATS.
    pub(super) name: Arc<str>,
    /// See [`Origin::stream_created`].
    pub(super) created: u64,
}

/// A message of a source, at this position in it, as it is kept.
pub(super) fn original(message: Message, stream: &Stream, sequence: u64) -> Original {
    Original {
        subject: message.subject.to_string(),
        headers: headers_of(message.headers.as_ref()),
        payload: message.payload,
        stream: stream.name.clone(),
        stream_created: stream.created,
        sequence,
    }
}

/// What a message holds, before anything is said of its delivery.
struct Decoded {
    event: Event,
    data: Bytes,
    fault: Option<InvalidEvent>,
    id: EventId,
    /// None: what the key is to be taken from is not there.
    key: Option<OrderingKey>,
}

impl Decoded {
    fn of(original: &Original, config: &Config) -> Self {
        let raw = RawOrigin {
            stream: &original.stream,
            subject: &original.subject,
            sequence: original.sequence,
        };
        let decoded = within_limit(original, config)
            .and_then(|()| Event::decode(&original.headers, &original.payload, raw));
        let (event, data, fault) = match decoded {
            Ok((event, data)) => (event, data, None),
            Err(fault) => (
                Event::raw(&original.headers, raw),
                original.payload.clone(),
                Some(fault),
            ),
        };
        let id = if event.is_named_by_position(&original.headers) {
            // A stream that was made anew gives others the same names.
            let created = original.stream_created;
            EventId::of(&event.source, &format!("{}@{created}", event.id))
        } else {
            EventId::of(&event.source, &event.id)
        };
        let key = if fault.is_none() {
            config.key.derive(&original.subject, &event, &data)
        } else {
            None
        };
        Self {
            event,
            data,
            fault,
            id,
            key,
        }
    }
}

/// What the event in a message is ordered by.
pub(super) fn key_of(original: &Original, config: &Config) -> OrderingKey {
    let Decoded { id, key, .. } = Decoded::of(original, config);
    key.unwrap_or_else(|| OrderingKey::from(id.as_str()))
}

/// The envelope that a message makes, and why it is no event, if it is none.
pub(super) fn decode(
    original: &Original,
    before: Before,
    config: &Config,
    metrics: &PipelineMetrics,
) -> (Envelope, Option<InvalidEvent>) {
    let Decoded {
        event,
        data,
        fault,
        id,
        key,
    } = Decoded::of(original, config);
    let key = key.unwrap_or_else(|| {
        metrics.unkeyed.increment();
        OrderingKey::from(id.as_str())
    });
    let origin = Origin {
        id,
        address: original.subject.clone(),
        stream: original.stream.clone(),
        stream_created: original.stream_created,
        sequence: original.sequence,
        key,
        maybe_seen: before.maybe_seen,
        generation: before.generation,
    };
    let envelope = Envelope {
        event: Arc::new(event),
        data,
        origin: Arc::new(origin),
    };
    (envelope, fault)
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
