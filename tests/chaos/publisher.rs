//! Publishes the events of a run while servers come and go, until each is acknowledged.

use super::patiently;
use super::workload::Planned;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream::Stream};
use std::cell::Cell;
use std::time::Duration;

/// Published in one go; all of it again when one is not acknowledged.
const CHUNK: usize = 10;
/// How long the server may take to acknowledge.
const PATIENCE: Duration = Duration::from_secs(1);

/// The publisher, and how far the pipeline is, as it last saw.
pub(super) struct Publisher {
    js: jetstream::Context,
    ended: Cell<u64>,
    allowed: Cell<u64>,
}

impl Publisher {
    /// A publisher on this connection.
    pub(super) fn new(client: async_nats::Client) -> Self {
        let mut js = jetstream::new(client);
        js.set_timeout(PATIENCE);
        Self {
            js,
            ended: Cell::new(0),
            allowed: Cell::new(0),
        }
    }

    /// Publishes all of them, in order, as far as that is allowed.
    pub(super) async fn run(&self, events: &[Planned]) {
        let mut n_published = 0;
        for chunk in events.chunks(CHUNK) {
            n_published += chunk.len() as u64;
            patiently("more events are allowed", async || {
                n_published <= self.allowed.get()
            })
            .await;
            patiently("the source takes events", async || {
                self.publish(chunk).await
            })
            .await;
        }
    }

    /// Lets the first `n_events` be published: were all of them there at once, a blow would find
    /// nothing left to disturb.
    pub(super) fn allow(&self, n_events: u64) {
        self.allowed.set(n_events.max(self.allowed.get()));
    }

    /// How many may be published so far.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed.get()
    }

    /// How many of the first `n_events` come before the others: it publishes by the chunk.
    pub(super) fn whole_chunks(n_events: u64) -> u64 {
        n_events / CHUNK as u64 * CHUNK as u64
    }

    /// Whether everything that is allowed has ended.
    pub(super) async fn has_caught_up(&self) -> bool {
        self.n_ended().await >= Self::whole_chunks(self.allowed.get())
    }

    /// Up to which sequence of the source everything has ended. It does not go back when the server
    /// does, which forgets answers that it had not written down.
    pub(super) async fn n_ended(&self) -> u64 {
        if let Some(floor) = self.floor().await {
            self.ended.set(floor.max(self.ended.get()));
        }
        self.ended.get()
    }

    async fn floor(&self) -> Option<u64> {
        let source: Stream = self.js.get_stream("SRC").await.ok()?;
        let consumer = source.consumer_info("syncline-p").await.ok()?;
        Some(consumer.ack_floor.stream_sequence)
    }

    async fn publish(&self, chunk: &[Planned]) -> bool {
        let mut acks = Vec::with_capacity(chunk.len());
        for event in chunk {
            let message = event.message();
            let message = PublishMessage::build()
                .headers(message.headers())
                .payload(message.data);
            match self.js.send_publish(event.subject(), message).await {
                Ok(ack) => acks.push(ack),
                Err(_) => return false,
            }
        }
        let acks = futures::future::join_all(acks.into_iter().map(IntoFuture::into_future));
        acks.await.iter().all(Result::is_ok)
    }
}
