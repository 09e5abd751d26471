//! A core NATS subscription. Nothing is sent again: what is lost before it ends is lost.

use super::budget::Budget;
use super::config::Config;
use super::decode::{Before, Stream, decode, original};
use super::jetstream::Surroundings;
use super::pull::size;
use super::{IntakeError, Pause};
use crate::event::{Delivery, Disposition, Receipt, Settle, SubjectPattern};
use async_nats::{Client, Message, Subscriber};
use futures::StreamExt as _;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{info, warn};

/// How long the last messages may take when it is paused.
const LAST: Duration = Duration::from_secs(2);

pub(super) struct Core {
    client: Client,
    subject: String,
    queue: Option<String>,
    /// None while it is paused.
    subscriber: Option<Subscriber>,
}

/// Nobody is answered; the place in flight becomes free. A ticket is the size of its message.
struct InFlight {
    n_free: AtomicUsize,
    budget: Arc<Budget>,
}

impl Settle for InFlight {
    fn settle(&self, ticket: u64, _disposition: Disposition) {
        self.n_free.fetch_add(1, Ordering::AcqRel);
        self.budget.give_back(ticket);
    }
}

impl InFlight {
    /// Whether a message of this size may be begun while so many bytes are free.
    fn has_room(&self, n_bytes: u64, free: u64) -> bool {
        let fits = free >= n_bytes || free == self.budget.limit();
        fits && self.n_free.load(Ordering::Acquire) > 0
    }

    fn begin(&self, n_bytes: u64) {
        self.n_free.fetch_sub(1, Ordering::AcqRel);
        self.budget.take(n_bytes);
    }
}

/// Messages that came while there was no room. The client would keep any number of bytes.
#[derive(Default)]
struct Backlog {
    messages: VecDeque<Message>,
    n_bytes: u64,
}

impl Backlog {
    /// Keeps a message; false when that would make more than `limit`.
    fn push(&mut self, message: Message, limit: u64) -> bool {
        let n_bytes = self.n_bytes + size(&message);
        if n_bytes > limit && !self.messages.is_empty() {
            return false;
        }
        self.n_bytes = n_bytes;
        self.messages.push_back(message);
        true
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.n_bytes -= size(&message);
        Some(message)
    }

    /// The size of the next one.
    fn next(&self) -> Option<u64> {
        self.messages.front().map(size)
    }
}

impl Core {
    pub(super) async fn open(
        client: Client,
        config: &Config,
        (subject, queue): (&SubjectPattern, &Option<String>),
        pause: &Pause,
    ) -> Result<Self, IntakeError> {
        let mut core = Self {
            client,
            subject: subject.as_str().to_owned(),
            queue: queue.clone(),
            subscriber: None,
        };
        if pause.is_wished() {
            return Ok(core);
        }
        let subscribed = core.subscribe().await;
        subscribed.map_err(|cause| IntakeError::Unreachable {
            pipeline: config.pipeline.clone(),
            attempted: format!("cannot subscribe to `{}`", core.subject),
            cause,
        })?;
        Ok(core)
    }

    async fn subscribe(&mut self) -> Result<(), String> {
        let subject = self.subject.clone();
        let subscribed = match &self.queue {
            Some(queue) => self.client.queue_subscribe(subject, queue.clone()).await,
            None => self.client.subscribe(subject).await,
        };
        self.subscriber = Some(subscribed.map_err(|error| error.to_string())?);
        Ok(())
    }

    pub(super) async fn run(mut self, at: Surroundings<'_>) {
        let in_flight = Arc::new(InFlight {
            n_free: AtomicUsize::new(at.config.max_events),
            budget: at.budget.clone(),
        });
        let (mut backlog, mut held) = (Backlog::default(), None);
        loop {
            let next = backlog.next();
            let room = at.budget.until(|free| {
                let has_room = next.is_some_and(|n_bytes| in_flight.has_room(n_bytes, free));
                has_room.then_some(())
            });
            let takes = self.subscriber.is_some();
            if !takes && backlog.messages.is_empty() {
                held.get_or_insert_with(|| at.pause.hold());
            }
            tokio::select! {
                biased;
                () = at.shutdown.begun() => break,
                () = at.pause.until(takes) => {
                    held = None;
                    self.turn(&mut backlog, &at).await;
                }
                () = room => {
                    if let Some(message) = backlog.pop() {
                        self.deliver(message, &in_flight, &at);
                    }
                }
                message = next_of(&mut self.subscriber) => match message {
                    Some(message) => keep(&mut backlog, message, &at),
                    None => break,
                }
            }
        }
        if let Some(mut subscriber) = self.subscriber {
            drop(subscriber.unsubscribe().await);
        }
    }

    /// Takes no more, or again.
    async fn turn(&mut self, backlog: &mut Backlog, at: &Surroundings<'_>) {
        let pipeline = &at.config.pipeline;
        let Some(mut subscriber) = self.subscriber.take() else {
            match self.subscribe().await {
                Ok(()) => info!(%pipeline, "resumed"),
                Err(error) => {
                    warn!(%pipeline, %error, "not resumed, trying again");
                    at.shutdown.pause(LAST).await;
                }
            }
            return;
        };
        info!(%pipeline, "paused: what is published now is lost to it");
        if subscriber.drain().await.is_err() {
            return;
        }
        // What is on its way was taken already.
        while let Ok(Some(message)) = tokio::time::timeout(LAST, subscriber.next()).await {
            keep(backlog, message, at);
        }
    }

    fn deliver(&self, mut message: Message, in_flight: &Arc<InFlight>, at: &Surroundings<'_>) {
        let n_bytes = size(&message);
        in_flight.begin(n_bytes);
        if message
            .headers
            .as_ref()
            .is_none_or(|headers| headers.get("Nats-Msg-Id").is_none())
        {
            // Two raw messages that are alike are two events: name each.
            let headers = message.headers.get_or_insert_default();
            headers.insert("Nats-Msg-Id", self.client.new_inbox().as_str());
        }
        let before = Before {
            maybe_seen: false,
            generation: 0,
        };
        let stream = Stream {
            name: "".into(),
            created: 0,
        };
        let original = original(message, &stream, 0);
        let (envelope, fault) = decode(&original, before, at.config, at.metrics);
        let key = envelope.origin.key.clone();
        let receipt = Receipt::new(in_flight.clone(), n_bytes);
        at.lanes.push(
            key,
            Delivery {
                original,
                envelope,
                fault,
                past: None,
                receipt,
            },
        );
    }
}

/// The next message, if any are to come.
async fn next_of(subscriber: &mut Option<Subscriber>) -> Option<Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => std::future::pending().await,
    }
}

/// Keeps a message until there is room. Nobody would send it again.
fn keep(backlog: &mut Backlog, message: Message, at: &Surroundings<'_>) {
    if backlog.push(message, at.config.max_bytes) {
        return;
    }
    if at.metrics.overrun.get().is_power_of_two() || at.metrics.overrun.get() == 0 {
        warn!(pipeline = %at.config.pipeline, lost = at.metrics.overrun.get() + 1,
            "more comes than can be kept: messages are lost; raise `limits.bytes`, or use a stream");
    }
    at.metrics.overrun.increment();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n_bytes: usize) -> Message {
        Message {
            subject: "a".into(),
            reply: None,
            payload: vec![0; n_bytes].into(),
            headers: None,
            status: None,
            description: None,
            length: n_bytes,
        }
    }

    #[test]
    fn a_backlog_holds_no_more_than_its_limit_or_one_message() {
        let mut backlog = Backlog::default();
        let kept = [4, 6, 1].map(|n_bytes| backlog.push(message(n_bytes), 10));
        assert_eq!((kept, backlog.next()), ([true, true, false], Some(4)));
        while backlog.pop().is_some() {}
        assert_eq!(backlog.n_bytes, 0);
        assert!(backlog.push(message(20), 10), "one alone is kept");
        assert!(!backlog.push(message(1), 10));
    }
}
