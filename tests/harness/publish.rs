//! Events on their way in.

use super::TestEnv;
use super::check::PATIENCE;
use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// A CloudEvent to publish.
#[derive(Debug, Clone)]
pub(crate) struct Ce {
    /// `id`.
    pub(crate) id: String,
    /// `type`.
    pub(crate) kind: String,
    /// `source`.
    pub(crate) source: String,
    /// The data.
    pub(crate) data: Bytes,
    headers: Vec<(String, String)>,
}

impl Ce {
    /// An event of type `test.event` from `/test`, without data.
    pub(crate) fn new(id: impl ToString) -> Self {
        Self {
            id: id.to_string(),
            kind: "test.event".to_owned(),
            source: "/test".to_owned(),
            data: Bytes::new(),
            headers: Vec::new(),
        }
    }

    /// Its type.
    pub(crate) fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.to_owned();
        self
    }

    /// Its data: for the probe, what to do.
    pub(crate) fn data(mut self, data: Value) -> Self {
        self.data = data.to_string().into();
        self
    }

    /// A further header of the message.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Binary mode: attributes in headers, data in the body.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", self.id.as_str());
        headers.insert("ce-source", self.source.as_str());
        headers.insert("ce-type", self.kind.as_str());
        headers.insert("content-type", "application/json");
        for (name, value) in &self.headers {
            headers.append(name.as_str(), value.as_str());
        }
        headers
    }

    /// Structured mode: all of it one JSON object.
    pub(crate) fn structured(&self) -> Value {
        let data: Value = serde_json::from_slice(&self.data).unwrap_or(Value::Null);
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.kind,
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

impl TestEnv {
    /// Publishes in binary mode and waits for the stream to hold it. Gives its sequence.
    pub(crate) async fn send(&self, subject: &str, event: &Ce) -> u64 {
        self.publish(subject, event.headers(), event.data.clone())
            .await
    }

    /// Publishes in binary mode, again and again until a stream holds it; once, by its id.
    pub(crate) async fn send_surely(&self, subject: &str, event: &Ce) {
        let event = event.clone().header("Nats-Msg-Id", &event.id);
        // Not `eventually`, whose closure no task can take along.
        let stored = async {
            while !self.try_send(subject, &event).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let stored = tokio::time::timeout(PATIENCE, stored).await;
        stored.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {subject} is stored"));
    }

    async fn try_send(&self, subject: &str, event: &Ce) -> bool {
        let (headers, data) = (event.headers(), event.data.clone());
        let sent = self
            .js
            .publish_with_headers(subject.to_owned(), headers, data);
        match sent.await {
            Ok(ack) => ack.await.is_ok(),
            Err(_) => false,
        }
    }

    /// Publishes many, in order, and waits until the stream holds all of them.
    pub(crate) async fn send_all(&self, events: impl IntoIterator<Item = (String, Ce)>) {
        let mut acks = Vec::new();
        for (subject, event) in events {
            let message = PublishMessage::build()
                .headers(event.headers())
                .payload(event.data);
            acks.push(self.js.send_publish(subject, message).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Publishes in structured mode.
    pub(crate) async fn send_structured(&self, subject: &str, event: &Ce) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        );
        let body = event.structured().to_string();
        self.publish(subject, headers, body.into()).await
    }

    /// Publishes a message that is no event.
    pub(crate) async fn send_raw(&self, subject: &str, payload: impl Into<Bytes>) -> u64 {
        self.publish(subject, HeaderMap::new(), payload.into())
            .await
    }

    /// Publishes any message and waits for the stream to hold it. Gives its sequence.
    pub(crate) async fn publish(&self, subject: &str, headers: HeaderMap, body: Bytes) -> u64 {
        let mut message = PublishMessage::build().payload(body);
        if !headers.is_empty() {
            message = message.headers(headers);
        }
        let ack = self
            .js
            .send_publish(subject.to_owned(), message)
            .await
            .unwrap();
        ack.await.unwrap().sequence
    }
}
