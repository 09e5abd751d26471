//! The deliveries that wait for an answer: answered once, kept alive meanwhile, known again when
//! the server sends them a second time.

use super::Gate;
use super::budget::Budget;
use crate::event::{Disposition, Settle};
use crate::fault::{self, Point};
use crate::shutdown::Shutdown;
use async_nats::{Client, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

const ACK: Bytes = Bytes::from_static(b"+ACK");
const NAK: Bytes = Bytes::from_static(b"-NAK");
const IN_PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// How many answers are sent in one go.
const BATCH: usize = 256;

/// The deliveries of one consumer that wait for an answer, by stream sequence.
pub(super) struct Answers {
    open: Mutex<HashMap<u64, Waiting>>,
    outgoing: mpsc::Sender<(Subject, Bytes)>,
    budget: Arc<Budget>,
}

struct Waiting {
    /// None: nobody waits for the answer any more.
    reply: Option<Subject>,
    alive: Instant,
    n_bytes: u64,
}

impl Answers {
    /// Answers for at most `n_in_flight` deliveries at once, whose bytes count on `budget`.
    pub(super) fn new(n_in_flight: usize, budget: Arc<Budget>) -> (Arc<Self>, Outgoing) {
        // Each delivery is answered once and the server sends no more than the limit; redeliveries
        // of answered ones may come on top.
        let (outgoing, queue) = mpsc::channel(n_in_flight.saturating_mul(4).max(1_024));
        (
            Arc::new(Self {
                open: Mutex::default(),
                outgoing,
                budget,
            }),
            Outgoing { queue },
        )
    }

    /// Takes a delivery of so many bytes on; false when a copy of it is at work already. The newest
    /// copy's reply subject counts: a server that was restarted knows only that one.
    pub(super) fn take_on(&self, sequence: u64, reply: Subject, n_bytes: u64) -> bool {
        let (reply, alive) = (Some(reply), Instant::now());
        match self.open.lock().entry(sequence) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.reply, known.alive) = (reply, alive);
                return false;
            }
            Entry::Vacant(unknown) => drop(unknown.insert(Waiting {
                reply,
                alive,
                n_bytes,
            })),
        }
        self.budget.take(n_bytes);
        true
    }

    /// Counts further bytes that a delivery stands for.
    pub(super) fn add(&self, sequence: u64, n_bytes: u64) {
        if let Some(waiting) = self.open.lock().get_mut(&sequence) {
            waiting.n_bytes += n_bytes;
            self.budget.add(n_bytes);
        }
    }

    /// Answers for none of the open deliveries any more: their stream is gone, and an answer would
    /// count for what took their place.
    pub(super) fn forget(&self) {
        for waiting in self.open.lock().values_mut() {
            waiting.reply = None;
        }
    }

    /// Tells the server that deliveries older than `age` are still worked on.
    pub(super) async fn keep_alive(&self, client: &Client, age: Duration) {
        let now = Instant::now();
        let old: Vec<Subject> = {
            let mut open = self.open.lock();
            let old = open
                .values_mut()
                .filter(|waiting| now - waiting.alive >= age);
            old.filter_map(|waiting| {
                waiting.alive = now;
                waiting.reply.clone()
            })
            .collect()
        };
        for reply in old {
            if client.publish(reply, IN_PROGRESS).await.is_err() {
                return;
            }
        }
    }
}

impl Settle for Answers {
    fn settle(&self, ticket: u64, disposition: Disposition) {
        let Some(waiting) = self.open.lock().remove(&ticket) else {
            return;
        };
        self.budget.give_back(waiting.n_bytes);
        let Some(reply) = waiting.reply else {
            return;
        };
        let answer = match disposition {
            Disposition::Ack => ACK,
            Disposition::GiveBack => NAK,
        };
        if self.outgoing.try_send((reply, answer)).is_err() {
            tracing::warn!(
                sequence = ticket,
                "an answer could not be queued: it is sent again"
            );
        }
    }
}

/// Answers on their way out.
pub(super) struct Outgoing {
    queue: mpsc::Receiver<(Subject, Bytes)>,
}

/// What decides which answers are sent, and when.
pub(super) struct Leaving {
    pub(super) client: Client,
    pub(super) shutdown: Shutdown,
    /// Begun once no messages are asked for any more.
    pub(super) closed: Shutdown,
    pub(super) gate: Arc<dyn Gate>,
}

impl Outgoing {
    /// Sends answers until every sender is gone, then flushes.
    ///
    /// What is given back at the shutdown waits until the intake is `closed`: while our own request
    /// for messages is open, the server would answer it with just those, and nobody else would get
    /// them before the ack wait is over.
    ///
    /// Nothing is given back where another runtime has taken over: it has all of them already, and
    /// would get them a second time.
    pub(super) async fn send(mut self, leaving: Leaving) {
        let Leaving {
            client,
            shutdown,
            closed,
            gate,
        } = leaving;
        let mut batch = Vec::with_capacity(BATCH);
        let mut held = Vec::new();
        loop {
            let n_answers = tokio::select! {
                n_answers = self.queue.recv_many(&mut batch, BATCH) => n_answers,
                () = closed.begun(), if !held.is_empty() => {
                    give_back(&client, &mut held, &*gate).await;
                    continue;
                }
            };
            if n_answers == 0 {
                break;
            }
            for (reply, answer) in batch.drain(..) {
                if answer == NAK && shutdown.has_begun() && !closed.has_begun() {
                    held.push(reply);
                } else if answer != NAK || !gate.is_closed_for_good() {
                    publish(&client, reply, answer).await;
                }
            }
            fault::reach(Point::Answered).await;
        }
        give_back(&client, &mut held, &*gate).await;
        if let Err(error) = client.flush().await {
            tracing::warn!(%error, "the last answers may be lost: their events come again");
        }
    }
}

async fn give_back(client: &Client, held: &mut Vec<Subject>, gate: &dyn Gate) {
    for reply in held.drain(..) {
        if gate.is_closed_for_good() {
            continue;
        }
        publish(client, reply, NAK).await;
    }
}

async fn publish(client: &Client, reply: Subject, answer: Bytes) {
    if let Err(error) = client.publish(reply, answer).await {
        tracing::warn!(%error, "an answer could not be sent: the event comes again");
    }
}
