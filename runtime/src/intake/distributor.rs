//! Events shared out by a key that is not in the subject: each is taken from the source in its
//! order, and written to the subject of its partition.
//!
//! A batch of them is one atomic write (NATS ADR-50) together with the place in the source that it
//! comes up to, on the condition that the place is still where this batch begins. So each event is
//! written once, whoever is killed when, and two who believe that it is their turn write nothing
//! twice.

use super::budget::Budget;
use super::config::{Config, Source};
use super::consumer::{Found, find_stream, missing, open_consumer, pull_expires, unreachable};
use super::decode::{self, Before, Stream, decode, key_of};
use super::jetstream::Surroundings;
use super::position::Position;
use super::pull::{Asking, Pull, size};
use super::sharing::{progress_of, stream_of, subject_of};
use super::{Handler, IntakeError, copy};
use crate::atomic_batch;
use crate::event::{Delivery, Disposition, InvalidEvent, OrderingKey, Original, Receipt, Settle};
use crate::fault::{self, Point};
use async_nats::header::NATS_ROLLUP;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream as Handle};
use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Events of one batch, at most; the server takes 1,000 messages.
const LARGEST: usize = 500;
/// Bytes of one batch after which no event is added, and bytes that may be here at once.
const FULL: u64 = 4 << 20;
const IN_FLIGHT: u64 = 4 * FULL;
/// How long the server may take for one batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a second try.
const REOPEN: Duration = Duration::from_millis(500);
/// Bytes of headers that JetStream takes, less what stands around a copy.
const HEADERS: usize = 64_000;
/// Room for the names of the headers around a copy.
const MARGIN: usize = 1_024;
const ACK: Bytes = Bytes::from_static(b"+ACK");

/// Writes the events of a pipeline to their partitions.
pub(super) struct Distributor {
    context: Context,
    source: Stream,
    partitions: Handle<()>,
    consumer: Consumer<pull::Config>,
    position: Position,
    progress: Progress,
    handler: Handler,
}

/// Up to where the events of the source are in their partitions.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Where that is written down; 0: nowhere yet.
    at: u64,
    place: Place,
}

/// A place in the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// When the source was made, in nanoseconds since 1970.
    created: u64,
    sequence: u64,
}

/// Events of the source that are written together.
#[derive(Default)]
struct Batch {
    copies: Vec<atomic_batch::Message>,
    /// Where the server waits for an answer for each.
    replies: Vec<Subject>,
    n_bytes: u64,
    /// The place of the last one.
    sequence: u64,
}

impl Distributor {
    pub(super) async fn open(
        context: Context,
        config: &Config,
        handler: Handler,
    ) -> Result<Self, IntakeError> {
        let Source::JetStream { stream: name, .. } = &config.source else {
            return Err(missing(config, "its source is no stream".to_owned()));
        };
        let found = find_stream(&context, config).await?;
        let partitions = find_partitions(&context, config).await?;
        let progress = progress(&partitions, config).await?;
        let (consumer, position) = open_consumer(&found, config).await?;
        Ok(Self {
            context,
            source: Stream {
                name: name.as_str().into(),
                created: found.created,
            },
            partitions,
            consumer,
            position,
            progress,
            handler,
        })
    }

    /// Shares events out until the shutdown begins. What is written then is written.
    pub(super) async fn run(mut self, at: &Surroundings<'_>) {
        let pipeline = &at.config.pipeline;
        info!(%pipeline, partitions = at.config.n_partitions(), "writing events to their partitions");
        while !at.shutdown.has_begun() {
            if let Err(error) = self.take_in(at).await {
                warn!(%pipeline, %error, "sharing events out was interrupted, beginning again");
            }
            self.reopen(at).await;
        }
    }

    async fn take_in(&mut self, at: &Surroundings<'_>) -> Result<(), String> {
        // A new one each time: what an interruption left unwritten comes again.
        let budget = Arc::new(Budget::new(IN_FLIGHT));
        let asking = Asking {
            batch: LARGEST.min(at.config.max_events),
            expires: pull_expires(at.config),
            budget: budget.clone(),
            gate: at.gate.clone(),
        };
        let (client, consumer) = (self.context.client(), self.consumer.clone());
        let mut messages = Pull::begin(client, consumer, asking).await?;
        while let Some(first) = messages.next(at.shutdown).await? {
            let (mut batch, mut n_taken) = (Batch::default(), Vec::new());
            let mut next = Some(first);
            while let Some(message) = next {
                let n_bytes = size(&message);
                budget.take(n_bytes);
                n_taken.push(n_bytes);
                batch.n_bytes += n_bytes;
                self.add(message, &mut batch, at).await?;
                let is_full = batch.copies.len() >= LARGEST || batch.n_bytes >= FULL;
                next = if is_full { None } else { messages.ready()? };
            }
            self.write(batch, at).await?;
            n_taken
                .into_iter()
                .for_each(|n_bytes| budget.give_back(n_bytes));
        }
        Ok(())
    }

    /// Adds what a message of the source becomes to `batch`; nothing when it is in its partition already.
    async fn add(
        &mut self,
        message: Message,
        batch: &mut Batch,
        at: &Surroundings<'_>,
    ) -> Result<(), String> {
        let message = async_nats::jetstream::Message {
            context: self.context.clone(),
            message,
        };
        let info = message.info().map_err(|error| error.to_string())?;
        let (sequence, delivery) = (info.stream_sequence, info.consumer_sequence);
        self.position.count(delivery)?;
        let reply = message.reply.clone();
        batch.replies.extend(reply);
        let written_before = match self.progress.place.created == self.source.created {
            true => self.progress.place.sequence,
            false => 0,
        };
        if sequence <= written_before.max(batch.sequence) {
            return Ok(());
        }
        let original = decode::original(message.message, &self.source, sequence);
        batch.sequence = sequence;
        let headers = copy::headers(&original).map_err(|error| error.to_string())?;
        let largest = self.context.client().server_info().max_payload;
        let length: usize = headers
            .iter()
            .flat_map(|(_, values)| values)
            .map(|v| v.as_str().len())
            .sum();
        if length > HEADERS || length + MARGIN + original.payload.len() > largest {
            return self.give_up(original, largest, at).await;
        }
        let Some(partitions) = &at.config.partitions else {
            return Err("the pipeline has no partitions".to_owned());
        };
        let number = partitions.of_key(key_of(&original, at.config).as_str());
        let subject = subject_of(&at.config.pipeline, number);
        batch.copies.push(atomic_batch::Message {
            subject: subject.into(),
            headers,
            payload: original.payload,
            expects: None,
        });
        Ok(())
    }

    /// What does not fit into a message together with what it was becomes a dead letter.
    async fn give_up(
        &self,
        original: Original,
        largest: usize,
        at: &Surroundings<'_>,
    ) -> Result<(), String> {
        let before = Before {
            maybe_seen: true,
            generation: 0,
        };
        let (mut envelope, fault) = decode(&original, before, at.config, at.metrics);
        // As of all that is invalid: whoever works on its key does not know of it.
        let origin = Arc::make_mut(&mut envelope.origin);
        origin.key = OrderingKey::from(origin.id.as_str());
        let size = original.payload.len();
        let too_large = InvalidEvent::TooLarge {
            size,
            limit: u64::try_from(largest.saturating_sub(MARGIN)).unwrap_or(u64::MAX),
        };
        let (settled, told) = Told::new();
        (self.handler)(Delivery {
            original,
            envelope,
            fault: Some(fault.unwrap_or(too_large)),
            past: None,
            receipt: Receipt::new(settled, 0),
        })
        .await;
        match told.await {
            Ok(Disposition::Ack) => Ok(()),
            _ => Err("an event that is too large to be shared out was not given up".to_owned()),
        }
    }

    /// Writes `batch` and how far it comes, all or nothing, and answers for its events.
    async fn write(&mut self, batch: Batch, at: &Surroundings<'_>) -> Result<(), String> {
        let client = self.context.client();
        let Batch {
            copies,
            replies,
            sequence,
            ..
        } = batch;
        if sequence > 0 {
            let place = Place {
                created: self.source.created,
                sequence,
            };
            let progress = progress_of(&at.config.pipeline);
            self.progress = self.commit(&client, copies, (progress, place)).await?;
            fault::reach(Point::SharedOut).await;
        }
        for reply in replies {
            client
                .publish(reply, ACK)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn commit(
        &self,
        client: &Client,
        mut messages: Vec<atomic_batch::Message>,
        (progress, place): (String, Place),
    ) -> Result<Progress, String> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        let body = serde_json::to_vec(&place).map_err(|error| error.to_string())?;
        messages.push(atomic_batch::Message {
            subject: progress.into(),
            headers,
            payload: body.into(),
            // Whoever else believes that it is their turn writes there as well.
            expects: Some(atomic_batch::Expected {
                other: None,
                sequence: self.progress.at,
            }),
        });
        let messages: Vec<_> = messages.iter().collect();
        let stored = atomic_batch::publish(client, &messages, PATIENCE).await;
        let at = stored.map_err(|error| format!("writing a batch: {error}"))?;
        Ok(Progress { at, place })
    }

    /// Begins again where the events are not in their partitions yet, after a pause, for ever.
    async fn reopen(&mut self, at: &Surroundings<'_>) {
        let config = at.config;
        while at.shutdown.pause(REOPEN).await {
            let opened = async {
                let found = find_stream(&self.context, config).await?;
                let progress = progress(&self.partitions, config).await?;
                let (consumer, position) = open_consumer(&found, config).await?;
                Ok::<_, IntakeError>((found, progress, consumer, position))
            };
            match opened.await {
                Ok((Found { created, .. }, progress, consumer, position)) => {
                    self.source.created = created;
                    self.progress = progress;
                    self.consumer = consumer;
                    self.position = position;
                    return;
                }
                Err(error) => {
                    warn!(pipeline = %config.pipeline, %error, "source not opened, trying again");
                }
            }
        }
    }
}

async fn find_partitions(context: &Context, config: &Config) -> Result<Handle<()>, IntakeError> {
    let name = stream_of(&config.pipeline);
    let found = context.get_stream_no_info(&name).await;
    found.map_err(|error| unreachable(config, format!("cannot find stream `{name}`"), &error))
}

/// Up to where the events are in their partitions, as the stream's leader has it.
async fn progress(partitions: &Handle<()>, config: &Config) -> Result<Progress, IntakeError> {
    let subject = progress_of(&config.pipeline);
    let attempted = || format!("cannot read `{subject}`");
    let message = match partitions.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => message,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
            return Ok(Progress::default());
        }
        Err(error) => return Err(unreachable(config, attempted(), &error)),
    };
    let place = serde_json::from_slice(&message.payload);
    Ok(Progress {
        at: message.sequence,
        place: place.map_err(|error| unreachable(config, attempted(), &error))?,
    })
}

/// Hears how a delivery ended that came from no consumer.
struct Told(Mutex<Option<oneshot::Sender<Disposition>>>);

impl Told {
    fn new() -> (Arc<Self>, oneshot::Receiver<Disposition>) {
        let (told, hears) = oneshot::channel();
        (Arc::new(Self(Mutex::new(Some(told)))), hears)
    }
}

impl Settle for Told {
    fn settle(&self, _ticket: u64, disposition: Disposition) {
        if let Some(told) = self.0.lock().take() {
            // Nobody waits any more once the shutdown has begun.
            let _nobody = told.send(disposition);
        }
    }
}
