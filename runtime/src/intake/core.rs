//! A core NATS subscription: what comes is handled once, and nobody sends it again.

use super::decode::{Before, Stream, decode, original};
use super::jetstream::Surroundings;
use super::pending::{LOOK, Pending};
use super::requests::{Requests, TurnedAway};
use super::{Config, IntakeError, Pause, Source};
use crate::event::{Delivery, Receipt};
use crate::shutdown::Tasks;
use async_nats::{Client, Message, Subscriber};
use futures::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{info, warn};

/// How long the last messages may take when it is paused.
const LAST: Duration = Duration::from_secs(2);
/// How long the last answers may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

pub(super) struct Core {
    client: Client,
    subject: String,
    queue: Option<String>,
    /// None while it is paused.
    subscriber: Option<Subscriber>,
    /// How often the client had connected.
    connects: u64,
}

/// Whether and how those who sent requests are answered.
struct Asked {
    requests: Arc<Requests>,
    reply: bool,
    ticket: u64,
}

impl Core {
    pub(super) async fn open(
        client: Client,
        config: &Config,
        pause: &Pause,
    ) -> Result<Self, IntakeError> {
        let (subject, queue) = match &config.source {
            Source::Core { subject, queue, .. } => (subject.as_str().to_owned(), queue.clone()),
            Source::JetStream { stream, .. } => (stream.clone(), None),
        };
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        let mut core = Self {
            client,
            subject,
            queue,
            subscriber: None,
            connects,
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

    /// Takes messages in until the shutdown begins, then waits for those at work, at most `grace`.
    /// Returns whether all of them ended.
    pub(super) async fn run(
        mut self,
        at: Surroundings<'_>,
        tasks: &Tasks,
        grace: Duration,
    ) -> bool {
        let (reply, limit) = match at.config.source {
            Source::Core { reply, pending, .. } => (reply, pending),
            Source::JetStream { .. } => (false, 0),
        };
        let (requests, outgoing) = Requests::new(at.config, limit, at.budget.clone());
        let answers = Tasks::new();
        answers.spawn(outgoing.send(self.client.clone()));
        let mut pending = Pending::new(limit, at.config.max_bytes);
        let mut asked = Asked {
            requests,
            reply,
            ticket: 0,
        };
        self.take_in(&at, &mut asked, &mut pending).await;
        if let Some(mut subscriber) = self.subscriber.take() {
            drop(subscriber.unsubscribe().await);
        }
        self.count_interruptions(&at);
        while let Some(message) = pending.pop() {
            asked.turn_away(message, TurnedAway::Ending);
        }
        let drained = tasks.finish(grace).await;
        drop(asked);
        answers.finish(LAST_ANSWERS).await && drained
    }

    async fn take_in(&mut self, at: &Surroundings<'_>, asked: &mut Asked, pending: &mut Pending) {
        let mut look = tokio::time::interval(LOOK);
        let mut held = None;
        loop {
            let next = pending.next();
            let room = at.budget.until(|free| {
                let has_room = next.is_some_and(|n_bytes| asked.requests.has_room(n_bytes, free));
                has_room.then_some(())
            });
            let takes = self.subscriber.is_some();
            if !takes && next.is_none() {
                held.get_or_insert_with(|| at.pause.hold());
            }
            tokio::select! {
                biased;
                () = at.shutdown.begun() => return,
                () = at.pause.until(takes) => {
                    held = None;
                    self.turn(pending, asked, at).await;
                }
                () = room => {
                    if let Some(message) = pending.pop() {
                        self.deliver(message, asked, at);
                    }
                }
                _ = look.tick() => self.count_interruptions(at),
                message = next_of(&mut self.subscriber) => match message {
                    Some(message) => asked.keep(message, pending, at),
                    None => return,
                },
            }
        }
    }

    /// Takes no more, or again.
    async fn turn(&mut self, pending: &mut Pending, asked: &Asked, at: &Surroundings<'_>) {
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
            asked.keep(message, pending, at);
        }
    }

    fn deliver(&self, mut message: Message, asked: &mut Asked, at: &Surroundings<'_>) {
        let ticket = asked.begin(&message);
        let whom = message.reply.take().filter(|_| asked.reply);
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
        if let Some(whom) = whom {
            asked.requests.open(ticket, whom, &envelope);
        }
        let key = envelope.origin.key.clone();
        let receipt = Receipt::new(asked.requests.clone(), ticket);
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

    /// What was sent while there was no connection is lost, and nobody knows how much that was.
    fn count_interruptions(&mut self, at: &Surroundings<'_>) {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        let n_new = connects.saturating_sub(self.connects);
        if n_new > 0 {
            self.connects = connects;
            at.metrics.interrupted.add(n_new);
            warn!(pipeline = %at.config.pipeline, interrupted = at.metrics.interrupted.get(),
                "the connection was gone for a while: what was sent meanwhile is lost, core NATS \
                 sends nothing again");
        }
    }
}

impl Asked {
    /// Takes a place in flight for the message.
    fn begin(&mut self, message: &Message) -> u64 {
        self.ticket += 1;
        self.requests.begin(self.ticket, super::pull::size(message));
        self.ticket
    }

    /// Keeps the message until there is room. Nobody would send it again.
    fn keep(&self, message: Message, pending: &mut Pending, at: &Surroundings<'_>) {
        if let Some(message) = pending.push(message) {
            pending.miss(at);
            self.turn_away(message, TurnedAway::TooMany);
        }
    }

    fn turn_away(&self, message: Message, why: TurnedAway) {
        if let Some(whom) = message.reply.filter(|_| self.reply) {
            self.requests.turn_away(whom, why);
        }
    }
}

/// The next message, if any are to come.
async fn next_of(subscriber: &mut Option<Subscriber>) -> Option<Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => std::future::pending().await,
    }
}
