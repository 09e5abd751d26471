//! A durable pull consumer: events in batches, kept alive while they are worked on, answered last.

use super::answers::{Answers, Leaving};
use super::budget::Budget;
use super::config::{Config, Source};
use super::consumer::{find_stream, open_consumer, pull_expires};
use super::decode::{Before, Stream, decode, key_of, original};
use super::gaps::{Gaps, Row};
use super::origin::Origin;
use super::position::Position;
use super::pull::{Asking, Pull, size};
use super::{DeliveryLanes, Gate, IntakeError, Pause, Recall};
use crate::event::{Delivery, Disposition, Original, Past, Recalled, Receipt, Settle as _};
use crate::fault::{self, Promise};
use crate::shutdown::{Shutdown, Tasks};
use crate::telemetry::PipelineMetrics;
use async_nats::Message;
use async_nats::jetstream::{self, consumer::pull};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tracing::{error, info, warn};

/// Messages asked for at once, at most.
pub(super) const BATCH: usize = 1_024;
/// The pause before the consumer is opened again.
const REOPEN: Duration = Duration::from_millis(500);

/// Bits of a ticket that hold the position in the stream.
const TICKET_BITS: u32 = 48;

/// How long the last answers may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

pub(super) struct JetStream {
    context: jetstream::Context,
    stream: Stream,
    /// How often the stream was found to be another one of the same name.
    renewed: u64,
    consumer: jetstream::consumer::Consumer<pull::Config>,
    position: Position,
    gaps: Gaps,
    /// Where its messages came from, when the server shared them out.
    origin: Option<Origin>,
    /// Turns its messages into those that are meant; none: they are meant themselves.
    recall: Option<Arc<dyn Recall>>,
}

/// A message to handle, and what became of it before.
struct Taken {
    original: Original,
    before: Before,
    past: Option<Box<Past>>,
}

/// What an intake works with.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) lanes: &'a DeliveryLanes,
    pub(super) metrics: &'a PipelineMetrics,
    pub(super) shutdown: &'a Shutdown,
    pub(super) budget: &'a Arc<Budget>,
    pub(super) pause: &'a Pause,
    pub(super) gate: &'a Arc<dyn Gate>,
}

/// What the loop over messages needs beside the messages.
struct Loop<'a> {
    config: &'a Config,
    lanes: &'a DeliveryLanes,
    metrics: &'a PipelineMetrics,
    shutdown: &'a Shutdown,
    answers: &'a Arc<Answers>,
    gate: &'a Arc<dyn Gate>,
    budget: &'a Arc<Budget>,
    pause: &'a Pause,
}

/// Why no more messages are taken in.
enum Why {
    Shutdown,
    Paused,
}

impl JetStream {
    pub(super) async fn open(
        context: jetstream::Context,
        config: &Config,
        recall: Option<Arc<dyn Recall>>,
    ) -> Result<Self, IntakeError> {
        let Source::JetStream { stream: name, .. } = &config.source else {
            return Err(IntakeError::Source {
                pipeline: config.pipeline.clone(),
                fault: "its source is no stream".to_owned(),
            });
        };
        let found = find_stream(&context, config).await?;
        let origin = Origin::of(&context, config).await?;
        let (consumer, position) = open_consumer(&found, config).await?;
        Ok(Self {
            context,
            origin,
            stream: Stream {
                name: name.as_str().into(),
                created: found.created,
            },
            renewed: 0,
            consumer,
            position,
            gaps: Gaps::default(),
            recall,
        })
    }

    pub(super) async fn run(
        mut self,
        surroundings: Surroundings<'_>,
        tasks: &Tasks,
        grace: Duration,
    ) -> bool {
        let Surroundings {
            config,
            lanes,
            metrics,
            shutdown,
            budget,
            pause,
            gate,
        } = surroundings;
        let (answers, outgoing) = Answers::new(config.max_events, budget.clone());
        let helpers = Tasks::new();
        let closed = Shutdown::new();
        helpers.spawn(outgoing.send(Leaving {
            client: self.context.client(),
            shutdown: shutdown.clone(),
            closed: closed.clone(),
            gate: gate.clone(),
        }));
        let ended = Shutdown::new();
        helpers.spawn(keep_alive(
            Arc::downgrade(&answers),
            self.context.client(),
            config.ack_wait / 3,
            ended.clone(),
        ));
        let at = Loop {
            config,
            lanes,
            metrics,
            shutdown,
            answers: &answers,
            budget,
            pause,
            gate,
        };
        while !shutdown.has_begun() {
            let pause = match self.take_in(&at).await {
                Ok(Why::Shutdown) => break,
                Ok(Why::Paused) => {
                    self.hold(&at).await;
                    Duration::ZERO
                }
                Err(error) => {
                    warn!(pipeline = %config.pipeline, %error, "intake interrupted, opening again");
                    REOPEN
                }
            };
            self.reopen(&at, pause).await;
        }
        closed.begin();
        let all_ended = tasks.finish(grace).await;
        ended.begin();
        // The last sender: what is queued is still sent.
        drop(answers);
        helpers.finish(LAST_ANSWERS).await && all_ended
    }

    /// Takes messages in until the shutdown begins, the pipeline is paused, or the consumer has to be
    /// opened again.
    async fn take_in(&mut self, at: &Loop<'_>) -> Result<Why, String> {
        let until = at.shutdown.child();
        let taking = self.take_until(&until, at);
        let paused = async {
            at.pause.until(true).await;
            until.begin();
            // What is under way ends in its own way.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = paused => {}
            taken = taking => taken?,
        }
        Ok(match at.shutdown.has_begun() {
            true => Why::Shutdown,
            false => Why::Paused,
        })
    }

    async fn take_until(&mut self, until: &Shutdown, at: &Loop<'_>) -> Result<(), String> {
        self.gaps.begin();
        let batch = match self.recall {
            // What a request stands for is known only when it was looked up.
            Some(_) => 1,
            None => BATCH.min(at.config.max_events),
        };
        let asking = Asking {
            batch,
            expires: pull_expires(at.config),
            budget: at.budget.clone(),
            gate: at.gate.clone(),
        };
        let (client, consumer) = (self.context.client(), self.consumer.clone());
        let mut messages = Pull::begin(client, consumer, asking).await?;
        while let Some(message) = messages.next(until).await? {
            self.deliver(message, at).await?;
        }
        if at.shutdown.has_begun() {
            return Ok(());
        }
        // What is on its way was taken already.
        while let Some(message) = messages.last().await {
            self.deliver(message, at).await?;
        }
        Ok(())
    }

    /// Takes nothing until the pipeline is resumed or the shutdown begins.
    async fn hold(&self, at: &Loop<'_>) {
        let is_source = self.recall.is_none();
        if is_source {
            info!(pipeline = %at.config.pipeline, "paused: no new events are taken");
        }
        let _held = at.pause.hold();
        tokio::select! {
            () = at.shutdown.begun() => {}
            () = at.pause.until(false) => if is_source {
                info!(pipeline = %at.config.pipeline, "resumed");
            }
        }
    }

    async fn deliver(&mut self, message: Message, at: &Loop<'_>) -> Result<(), String> {
        let n_bytes = size(&message);
        let message = jetstream::Message {
            context: self.context.clone(),
            message,
        };
        let (sequence, stored, is_last) = match message.info() {
            Ok(info) => {
                match at.config.lease {
                    Some(_) => self.position.count(info.consumer_sequence)?,
                    None => self.check_row(info.consumer_sequence, at)?,
                }
                let is_last = info.delivered == 1 && info.pending == 0;
                (info.stream_sequence, info.published, is_last)
            }
            Err(error) => {
                warn!(pipeline = %at.config.pipeline, %error, "a message that is no delivery");
                return Ok(());
            }
        };
        let message = message.message;
        let Some(reply) = message.reply.clone() else {
            return Ok(());
        };
        // Not of an event that is still at work from a stream that is gone.
        let ticket = (self.renewed << TICKET_BITS) | sequence;
        if !at.answers.take_on(ticket, reply, n_bytes) {
            at.metrics.redelivered.increment();
            return Ok(());
        }
        let receipt = Receipt::new(at.answers.clone(), ticket);
        if fault::breaks(Promise::AnswerLast) {
            at.answers.settle(ticket, Disposition::Ack);
        }
        let taken = match self.take(message, (sequence, stored, is_last), at).await? {
            Ok(Some(taken)) => taken,
            // Nothing to do, or whoever has its partition takes it.
            Ok(None) => {
                receipt.settle(Disposition::Ack);
                return Ok(());
            }
            Err(why) => {
                error!(pipeline = %at.config.pipeline, sequence, %why, "a replay is left out");
                receipt.settle(Disposition::Ack);
                return Ok(());
            }
        };
        let Taken {
            original,
            before,
            past,
        } = taken;
        if past.is_some() {
            let n_bytes = u64::try_from(original.payload.len()).unwrap_or(u64::MAX);
            at.answers.add(ticket, n_bytes);
        }
        let (envelope, fault) = decode(&original, before, at.config, at.metrics);
        let key = envelope.origin.key.clone();
        at.lanes.push(
            key,
            Delivery {
                original,
                envelope,
                fault,
                past,
                receipt,
            },
        );
        Ok(())
    }

    /// Whether none was lost on its way before the one at `place` of what the consumer handed over.
    fn check_row(&mut self, place: u64, at: &Loop<'_>) -> Result<(), String> {
        match self.gaps.pass(place) {
            Row::Whole => Ok(()),
            Row::Broken { last, next } => Err(format!(
                "{} messages were lost on their way from the server",
                next - last - 1
            )),
            Row::Shared => {
                warn!(pipeline = %at.config.pipeline, "somebody else takes messages from the \
                    consumer: the order of keys does not hold");
                Ok(())
            }
        }
    }

    /// The message that is meant, none when nothing is or it is for another partition, or why it never can
    /// be told. An outer error passes.
    async fn take(
        &mut self,
        message: async_nats::Message,
        (sequence, stored, is_last): (u64, OffsetDateTime, bool),
        at: &Loop<'_>,
    ) -> Result<Result<Option<Taken>, String>, String> {
        let maybe_seen = self.position.pass(sequence, is_last);
        let Some(recall) = &self.recall else {
            let original = self.source_of(message, (sequence, stored), maybe_seen)?;
            return Ok(Ok(Some(Taken {
                original,
                before: Before {
                    maybe_seen,
                    generation: 0,
                },
                past: None,
            })));
        };
        let recalled = tokio::select! {
            () = at.shutdown.begun() => return Err("the shutdown has begun".to_owned()),
            recalled = recall.recall(&message.subject, (&message.payload, sequence)) => recalled?,
        };
        let partition = at.config.partition.as_ref();
        let is_ours = |recalled: &Recalled| {
            let original = &recalled.original;
            let key = || key_of(original, at.config);
            partition.is_none_or(|ours| ours.takes(&original.subject, key))
        };
        Ok(recalled.map(|recalled| {
            recalled.filter(is_ours).map(|recalled| Taken {
                original: recalled.original,
                before: Before {
                    // Some of its effects were applied, and later events may have been here.
                    maybe_seen: true,
                    generation: recalled.generation,
                },
                past: Some(Box::new(recalled.past)),
            })
        }))
    }

    /// The message as it lay in the source.
    fn source_of(
        &mut self,
        message: async_nats::Message,
        (sequence, stored): (u64, OffsetDateTime),
        maybe_seen: bool,
    ) -> Result<Original, String> {
        match &mut self.origin {
            None => Ok(original(message, &self.stream, sequence)),
            Some(origin) => origin.original(message, stored, maybe_seen),
        }
    }

    /// Opens the consumer again after a pause, for ever, until the shutdown begins.
    async fn reopen(&mut self, at: &Loop<'_>, mut pause: Duration) {
        let config = at.config;
        while at.shutdown.pause(pause).await {
            pause = REOPEN;
            let opened = async {
                let found = find_stream(&self.context, config).await?;
                // Set back as at the start: what the client had buffered would come too late.
                let origin = Origin::of(&self.context, config).await?;
                let (consumer, position) = open_consumer(&found, config).await?;
                Ok::<_, IntakeError>((found.created, origin, consumer, position))
            };
            match opened.await {
                Ok((created, origin, consumer, position)) => {
                    (self.consumer, self.origin) = (consumer, origin);
                    self.position.continue_at(position);
                    if created != self.stream.created {
                        warn!(pipeline = %config.pipeline, stream = %self.stream.name,
                            "the source stream was made anew: its events are others");
                        at.answers.forget();
                        self.stream.created = created;
                        self.renewed += 1;
                        self.position = position;
                    }
                    info!(pipeline = %config.pipeline, "intake opened again");
                    return;
                }
                Err(error) => {
                    warn!(pipeline = %config.pipeline, %error, "intake not opened, trying again");
                }
            }
        }
    }
}

async fn keep_alive(
    answers: std::sync::Weak<Answers>,
    client: async_nats::Client,
    age: Duration,
    ended: Shutdown,
) {
    while ended.pause(age).await {
        let Some(answers) = answers.upgrade() else {
            return;
        };
        answers.keep_alive(&client, age).await;
    }
}
