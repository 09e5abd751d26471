//! A target that is a subject: each effect is a message.

use super::answer::of_publish_to;
use super::batches::{Batches, Sent};
use super::holder::Holder;
use super::promise::JOINED;
use super::template::SubjectTemplate;
use super::{Answer, Cause, Config, Found, ReadError};
use crate::atomic_batch::Message;
use crate::event::{Effect, Headers, Operation, PlannedEffect, reserved};
use async_nats::header::NATS_MESSAGE_TTL;
use async_nats::jetstream::{self, message::PublishMessage};
use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use std::borrow::Cow;
use std::time::Duration;

/// How long a message lies on the stream of decisions that is not written with one.
const KEPT: Duration = Duration::from_hours(7 * 24);

#[derive(Debug)]
pub(super) struct Subject {
    context: jetstream::Context,
    client: async_nats::Client,
    template: SubjectTemplate,
    stream: Option<Holder>,
    /// Where the stream allows it.
    batches: Option<Batches>,
    core: bool,
}

impl Subject {
    pub(super) async fn open(
        context: &jetstream::Context,
        config: &Config,
        template: &SubjectTemplate,
        stream: Option<&str>,
        core: bool,
    ) -> Result<Self, String> {
        let stream = match stream {
            Some(name) => {
                Some(Holder::of_subject(context, config, name, &template.pattern()).await?)
            }
            None => None,
        };
        let batches = match &stream {
            Some(stream) if !core && stream.takes_batches(config.timeout) => {
                Some(Batches::open(context.client(), &stream.name, config.timeout).await?)
            }
            _ => None,
        };
        Ok(Self {
            batches,
            context: context.clone(),
            client: context.client(),
            template: template.clone(),
            stream,
            core,
        })
    }

    pub(super) async fn apply(&self, planned: &PlannedEffect, cause: &Cause) -> Answer {
        let effect = &planned.effect;
        if effect.precondition.is_some() {
            return Answer::Refused("a subject target has no preconditions".to_owned());
        }
        let subject = self.subject(effect);
        let (headers, payload) = (self.headers(planned, cause), payload(effect));
        if self.core {
            return self.publish_core(subject, headers, payload).await;
        }
        let mut message = PublishMessage::build().payload(payload).headers(headers);
        if let Some(stream) = &self.stream {
            message = message.expected_stream(&stream.name);
        }
        let published = async { self.context.send_publish(subject, message).await?.await };
        match published.await {
            Ok(ack) => {
                if let Some(stream) = &self.stream {
                    stream.note(ack.sequence);
                }
                Answer::Applied
            }
            Err(error) => {
                Box::pin(of_publish_to(&error, &self.context, self.stream.as_ref())).await
            }
        }
    }

    /// What a message says of itself and of its cause, and what it is known by.
    fn headers(&self, planned: &PlannedEffect, cause: &Cause) -> HeaderMap {
        let mut headers = description(planned, cause);
        let name = HeaderName::from_static(reserved::MESSAGE_ID);
        headers.insert(name, &*cause.message_id);
        // That stream refuses everything once it is full.
        if self.is_on(JOINED) {
            headers.insert(NATS_MESSAGE_TTL, format!("{}s", KEPT.as_secs()));
        }
        headers
    }

    /// Where the message of `effect` is published.
    pub(super) fn subject(&self, effect: &Effect) -> String {
        self.template.expand(effect)
    }

    /// Whether nobody confirms what is published.
    pub(super) fn is_core(&self) -> bool {
        self.core
    }

    /// Whether its messages lie on the stream of this name.
    pub(super) fn is_on(&self, stream: &str) -> bool {
        !self.core
            && self
                .stream
                .as_ref()
                .is_some_and(|known| known.name == stream)
    }

    /// What is published for an effect as part of an atomic batch, and kept for `horizon`. A message id that
    /// the stream knows would refuse the whole batch: there the decision is what is made once.
    pub(super) fn message(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        horizon: Duration,
    ) -> Message {
        let mut headers = description(planned, cause);
        headers.insert(NATS_MESSAGE_TTL, format!("{}s", horizon.as_secs()));
        Message {
            subject: self.subject(&planned.effect).into(),
            headers,
            payload: payload(&planned.effect),
            expects: None,
        }
    }

    /// The stream that takes its messages, where it is named.
    pub(super) fn stream(&self) -> Option<&Holder> {
        self.stream.as_ref()
    }

    /// Sends it together with others, where the stream takes batches.
    pub(super) async fn apply_in_batch(&self, planned: &PlannedEffect, cause: &Cause) -> Sent {
        let effect = &planned.effect;
        let Some(batches) = self.batches.as_ref().filter(|batches| batches.are_taken()) else {
            return Sent::Alone;
        };
        if effect.precondition.is_some() {
            return Sent::Alone;
        }
        let (subject, headers) = (self.subject(effect).into(), self.headers(planned, cause));
        let sent = batches.send(subject, headers, payload(effect)).await;
        if let (Sent::Stored(position), Some(stream)) = (sent, &self.stream) {
            stream.note(position);
        }
        sent
    }

    async fn publish_core(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Answer {
        match self
            .client
            .publish_with_headers(subject, headers, payload)
            .await
        {
            Ok(()) => Answer::Applied,
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    pub(super) async fn read(
        &self,
        entity: Option<&str>,
        key: &str,
    ) -> Result<Option<Found>, ReadError> {
        let Some(stream) = &self.stream else {
            return Err(ReadError::Invalid(
                "a subject target is read only where its `stream` is configured".to_owned(),
            ));
        };
        let subject = self.template.expand(&Effect {
            target: None,
            entity: entity.map(str::to_owned),
            operation: Operation::Upsert,
            key: key.to_owned(),
            precondition: None,
            content_type: None,
            headers: Headers::default(),
            payload: Bytes::new(),
        });
        let message = stream.last_message(&subject).await?;
        Ok(message.and_then(found))
    }
}

fn payload(effect: &Effect) -> Bytes {
    match effect.operation {
        Operation::Delete => Bytes::new(),
        Operation::Upsert | Operation::Merge | Operation::Append => effect.payload.clone(),
    }
}

/// A message is an entity unless it says that the entity was deleted.
fn found(message: jetstream::message::StreamMessage) -> Option<Found> {
    let header = |name: &str| message.headers.get(name).map(ToString::to_string);
    if header(reserved::OPERATION).as_deref() == Some(Operation::Delete.as_str()) {
        return None;
    }
    Some(Found {
        content_type: header(reserved::CONTENT_TYPE)
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        etag: message.sequence.to_string(),
        data: message.payload,
    })
}

/// What every published effect says of itself and of its cause.
fn description(planned: &PlannedEffect, cause: &Cause) -> HeaderMap {
    let effect = &planned.effect;
    let mut headers = HeaderMap::new();
    for (name, value) in effect.headers.iter() {
        headers.append(name, value);
    }
    // A name that is known beforehand is not copied.
    let mut set = |name, value: &str| headers.insert(HeaderName::from_static(name), value);
    set(reserved::OPERATION, effect.operation.as_str());
    set(reserved::KEY, &one_line(&effect.key));
    set(reserved::EVENT_ID, cause.event_id.as_str());
    set(reserved::EFFECT_ID, &planned.id);
    if let Some(entity) = &effect.entity {
        set(reserved::ENTITY, &one_line(entity));
    }
    if let Some(content_type) = &effect.content_type {
        set(reserved::CONTENT_TYPE, &one_line(content_type));
    }
    if let Some(traceparent) = &cause.traceparent {
        set(reserved::TRACEPARENT, &one_line(traceparent));
    }
    headers
}

/// A header value ends at a line break: what comes from outside must not begin another header.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) {
        text.replace(['\r', '\n'], " ").into()
    } else {
        text.into()
    }
}
