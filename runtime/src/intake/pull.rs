//! Pull requests to a consumer, one at a time, each for no more than there is room for.
//!
//! The client's own stream of messages asks ahead of its reader, so that what it holds is neither
//! known nor kept alive while the reader holds back. Here a message is asked for only when it can be
//! taken at once: nothing lies in between.

use super::Gate;
use super::budget::Budget;
use crate::shutdown::Shutdown;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Client, Message, StatusCode, Subscriber, connection::State};
use futures::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often the server says that it holds the request open.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without a word for so long, the request is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// How often that is looked at, and whether the connection is another one.
const LOOK: Duration = Duration::from_millis(250);
/// How long the last messages may take when nothing more is asked for.
const LAST: Duration = Duration::from_secs(2);
/// The part of the budget that has to be free before more is asked for: asking for each byte that
/// becomes free would only ask often.
const LEAST: u64 = 8;

/// What one request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// So many bytes, at least 1.
    Bytes(u64),
    /// One message, however large it is.
    One,
}

/// What the next request may ask for. Pure.
#[derive(Debug)]
struct Demand {
    limit: u64,
    /// Free bytes below which nothing is asked for.
    least: u64,
    /// The next message is larger than the limit.
    alone: bool,
}

impl Demand {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            least: (limit / LEAST).max(1),
            alone: false,
        }
    }

    /// What to ask for while so many bytes are `free`; none: more has to become free.
    fn ask(&self, free: u64) -> Option<Ask> {
        if self.alone {
            return (free == self.limit).then_some(Ask::One);
        }
        (free >= self.least).then_some(Ask::Bytes(free))
    }

    /// The next message is larger than the `n_bytes` that were left of a request.
    fn too_large(&mut self, n_bytes: u64) {
        self.alone = n_bytes >= self.limit;
        self.least = self.least.max(n_bytes.saturating_mul(2)).min(self.limit);
    }

    /// A message came.
    fn met(&mut self) {
        *self = Self::new(self.limit);
    }
}

/// The request that the server holds open.
#[derive(Debug)]
struct Open {
    inbox: String,
    /// Messages and bytes that it may still bring.
    n_messages: usize,
    n_bytes: u64,
    /// When the server was last heard of.
    heard: Instant,
}

/// What a status means that came in place of a message.
#[derive(Debug, PartialEq, Eq)]
enum Status {
    /// The request is open.
    Alive,
    /// It is done with.
    Ended,
    /// It is done with: the next message is larger than what was asked for.
    TooLarge,
    /// No other request will do better.
    Broken(String),
}

/// What came while waiting.
enum Waited {
    /// A message; none: the subscription has ended.
    Message(Option<Message>),
    /// Something else.
    Nothing,
}

/// How messages are asked for.
pub(super) struct Asking {
    /// Messages of one request.
    pub(super) batch: usize,
    /// How long the server holds a request open when it has nothing to give.
    pub(super) expires: Duration,
    /// What may be in flight.
    pub(super) budget: Arc<Budget>,
    /// Nothing is asked for while it is closed.
    pub(super) gate: Arc<dyn Gate>,
}

/// The messages of one consumer, as far as there is room for them.
pub(super) struct Pull {
    client: Client,
    consumer: Consumer<pull::Config>,
    subscriber: Subscriber,
    inbox: String,
    n_requests: u64,
    batch: usize,
    expires: Duration,
    budget: Arc<Budget>,
    gate: Arc<dyn Gate>,
    demand: Demand,
    open: Option<Open>,
    n_connects: u64,
    look: Interval,
    is_drained: bool,
}

impl Pull {
    /// Pulls from `consumer` as `asking` says.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(super) async fn begin(
        client: Client,
        consumer: Consumer<pull::Config>,
        asking: Asking,
    ) -> Result<Self, String> {
        let Asking {
            batch,
            expires,
            budget,
            gate,
        } = asking;
        let inbox = client.new_inbox();
        let n_connects = n_connects(&client);
        let subscriber = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| error.to_string())?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            demand: Demand::new(budget.limit()),
            client,
            consumer,
            subscriber,
            inbox,
            n_requests: 0,
            batch,
            expires,
            budget,
            gate,
            open: None,
            n_connects,
            look,
            is_drained: false,
        })
    }

    /// The next message; none once the shutdown has begun.
    ///
    /// # Errors
    /// When the consumer has to be opened again.
    pub(super) async fn next(&mut self, shutdown: &Shutdown) -> Result<Option<Message>, String> {
        loop {
            if shutdown.has_begun() {
                return Ok(None);
            }
            let message = match self.subscriber.next().now_or_never() {
                Some(message) => message,
                None => match self.wait(shutdown).await? {
                    Waited::Message(message) => message,
                    Waited::Nothing => continue,
                },
            };
            let Some(message) = message else {
                return Err("the subscription has ended".to_owned());
            };
            if let Some(message) = self.sort(message)? {
                return Ok(Some(message));
            }
        }
    }

    /// A message that is here already, if one is.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(super) fn ready(&mut self) -> Result<Option<Message>, String> {
        while let Some(message) = self.subscriber.next().now_or_never() {
            let Some(message) = message else {
                return Err("the subscription has ended".to_owned());
            };
            if let Some(message) = self.sort(message)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// A message that was on its way when nothing more was asked for; none when there is no more. What
    /// takes longer comes again, in its order.
    pub(super) async fn last(&mut self) -> Option<Message> {
        if !std::mem::replace(&mut self.is_drained, true) {
            // Without a request there is nothing on its way.
            self.open.take()?;
            self.subscriber.drain().await.ok()?;
        }
        loop {
            let message = tokio::time::timeout(LAST, self.subscriber.next());
            let message = message.await.ok()??;
            if message.status.is_none_or(|status| status == StatusCode::OK) {
                return Some(message);
            }
        }
    }

    /// Waits for a message, with a request open as soon as there is room.
    async fn wait(&mut self, shutdown: &Shutdown) -> Result<Waited, String> {
        if self.open.is_none() {
            let gate = self.gate.clone();
            if !gate.is_open() {
                tokio::select! {
                    () = shutdown.begun() => return Ok(Waited::Nothing),
                    message = self.subscriber.next() => return Ok(Waited::Message(message)),
                    opened = gate.opened() => if !opened {
                        shutdown.begun().await;
                        return Ok(Waited::Nothing);
                    },
                }
            }
            let demand = &self.demand;
            let asked = tokio::select! {
                () = shutdown.begun() => return Ok(Waited::Nothing),
                message = self.subscriber.next() => return Ok(Waited::Message(message)),
                asked = self.budget.until(|free| demand.ask(free)) => asked,
            };
            // It may have taken long until there was room.
            if !self.gate.is_open() {
                return Ok(Waited::Nothing);
            }
            self.request(asked).await?;
        }
        tokio::select! {
            () = shutdown.begun() => Ok(Waited::Nothing),
            message = self.subscriber.next() => Ok(Waited::Message(message)),
            _ = self.look.tick() => self.check_alive().map(|()| Waited::Nothing),
        }
    }

    async fn request(&mut self, asked: Ask) -> Result<(), String> {
        let (n_messages, n_bytes, max_bytes) = match asked {
            Ask::Bytes(n) => (self.batch, n, usize::try_from(n).unwrap_or(usize::MAX)),
            // Zero: any.
            Ask::One => (1, u64::MAX, 0),
        };
        self.n_requests += 1;
        let inbox = format!("{}.{}", self.inbox, self.n_requests);
        let batch = pull::BatchConfig {
            batch: n_messages,
            expires: Some(self.expires),
            max_bytes: max_bytes.min(i64::MAX as usize),
            idle_heartbeat: HEARTBEAT.min(self.expires / 2),
            ..Default::default()
        };
        self.consumer
            .request_batch(batch, inbox.as_str().into())
            .await
            .map_err(|error| error.to_string())?;
        self.open = Some(Open {
            inbox,
            n_messages,
            n_bytes,
            heard: Instant::now(),
        });
        Ok(())
    }

    /// Keeps the books on what came; gives it back when it is a message.
    fn sort(&mut self, message: Message) -> Result<Option<Message>, String> {
        let Some(status) = message.status.filter(|status| *status != StatusCode::OK) else {
            self.demand.met();
            if let Some(open) = &mut self.open {
                open.heard = Instant::now();
                open.n_messages = open.n_messages.saturating_sub(1);
                open.n_bytes = open.n_bytes.saturating_sub(size(&message));
                // The server says nothing when a request ends with its last byte.
                if open.n_messages == 0 || open.n_bytes == 0 {
                    self.open = None;
                }
            }
            return Ok(Some(message));
        };
        let status = meaning(status, message.description.as_deref().unwrap_or_default());
        if let Status::Broken(why) = status {
            return Err(why);
        }
        // An earlier request may still be spoken of.
        let current = |open: &Open| open.inbox == message.subject.as_str();
        if !self.open.as_ref().is_some_and(current) {
            return Ok(None);
        }
        match status {
            Status::Alive => {
                if let Some(open) = &mut self.open {
                    open.heard = Instant::now();
                }
            }
            Status::TooLarge => {
                if let Some(open) = self.open.take() {
                    self.demand.too_large(open.n_bytes);
                }
            }
            Status::Ended | Status::Broken(_) => self.open = None,
        }
        Ok(None)
    }

    fn check_alive(&self) -> Result<(), String> {
        // Until it is back, nothing can be said and nothing is lost.
        if self.client.connection_state() != State::Connected {
            return Ok(());
        }
        if n_connects(&self.client) != self.n_connects {
            return Err("the connection to the server was made anew".to_owned());
        }
        let silent = |open: &Open| open.heard.elapsed() > SILENCE;
        if self.open.as_ref().is_some_and(silent) {
            return Err(format!("no word from the server for {SILENCE:?}"));
        }
        Ok(())
    }
}

/// The bytes of a message as the server counts them: subject, reply, headers and payload.
pub(super) fn size(message: &Message) -> u64 {
    u64::try_from(message.length).unwrap_or(u64::MAX)
}

/// How often the connection was made. A request that was open on an earlier one is lost, and so may
/// be messages.
fn n_connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

fn meaning(status: StatusCode, description: &str) -> Status {
    match status {
        StatusCode::IDLE_HEARTBEAT => Status::Alive,
        StatusCode::TIMEOUT => Status::Ended,
        StatusCode::REQUEST_TERMINATED => match description {
            "Message Size Exceeds MaxBytes" => Status::TooLarge,
            "Batch Completed" | "Server Shutdown" | "Leadership Change" => Status::Ended,
            _ => Status::Broken(format!("the server ended the request: {description}")),
        },
        StatusCode::NO_RESPONDERS => {
            Status::Broken("no server answers for the consumer".to_owned())
        }
        status => Status::Broken(format!("the server answers {status} {description}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What a server gives to a request, and how much was left of it when the next one was too large.
    fn serve(asked: Ask, left: &mut VecDeque<u64>, batch: usize) -> (Vec<u64>, Option<u64>) {
        let (mut room, batch) = match asked {
            Ask::Bytes(n) => (n, batch),
            Ask::One => (u64::MAX, 1),
        };
        let mut given = Vec::new();
        while given.len() < batch && room > 0 {
            match left.front() {
                Some(size) if *size <= room => {
                    room -= size;
                    given.extend(left.pop_front());
                }
                Some(_) => return (given, Some(room)),
                None => break,
            }
        }
        (given, None)
    }

    proptest! {
        #[test]
        fn every_message_comes_and_only_a_lone_one_exceeds_the_limit(
            limit in 1_u64..100,
            sizes in prop::collection::vec(1_u64..150, 0..60),
            kept in prop::collection::vec(0_usize..6, 200),
        ) {
            let (mut demand, n_sizes) = (Demand::new(limit), sizes.len());
            let (mut left, mut flying) = (VecDeque::from(sizes), VecDeque::new());
            let (mut n_met, mut n_asked) = (0, 0);
            let mut kept = kept.into_iter();
            while n_met < n_sizes {
                let used: u64 = flying.iter().sum();
                let Some(asked) = demand.ask(limit.saturating_sub(used)) else {
                    // Some end; in the end all of them do.
                    prop_assert!(!flying.is_empty(), "nothing is in flight and nothing is asked for");
                    flying.truncate(kept.next().unwrap_or_default().min(flying.len() - 1));
                    continue;
                };
                n_asked += 1;
                prop_assert!(n_asked <= 10 * (n_sizes + 1), "it asks again and again");
                let (given, too_large) = serve(asked, &mut left, 8);
                n_met += given.len();
                prop_assert!(asked != Ask::One || given.iter().all(|size| *size > limit));
                if !given.is_empty() {
                    demand.met();
                }
                flying.extend(given);
                let used: u64 = flying.iter().sum();
                prop_assert!(used <= limit || flying.len() == 1, "{used} of {limit}");
                if let Some(n_left) = too_large {
                    demand.too_large(n_left);
                }
            }
        }
    }

    #[test]
    fn statuses_mean_what_the_server_means() {
        let ended = |description| meaning(StatusCode::REQUEST_TERMINATED, description);
        assert_eq!(ended("Batch Completed"), Status::Ended);
        assert_eq!(ended("Message Size Exceeds MaxBytes"), Status::TooLarge);
        assert!(matches!(ended("Consumer Deleted"), Status::Broken(_)));
        assert!(matches!(ended("Exceeded MaxWaiting"), Status::Broken(_)));
        assert_eq!(
            meaning(StatusCode::TIMEOUT, "Request Timeout"),
            Status::Ended
        );
        assert_eq!(meaning(StatusCode::IDLE_HEARTBEAT, ""), Status::Alive);
        let gone = meaning(StatusCode::NO_RESPONDERS, "");
        assert!(matches!(gone, Status::Broken(_)));
    }
}
