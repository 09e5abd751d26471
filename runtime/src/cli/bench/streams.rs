//! The streams of a measurement: one full of orders, and a fresh one for each turn's results.

use super::Args;
use super::place::Place;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use bytes::Bytes;
use futures::TryStreamExt as _;
use std::fmt::Write as _;
use std::future::IntoFuture as _;
use std::time::Duration;
use tokio::time::Instant;

/// The stream of decisions.
const DECISIONS: &str = "TX";
/// What every stream's name begins with.
const PREFIX: &str = "BENCH_SYNCLINE_";
/// Acknowledgements that may be outstanding while a stream is filled.
const WINDOW: usize = 4_096;
/// How long results may take to show up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stream of the measurement: its messages have subjects `syncline.bench.NAME.KEY`.
pub(super) struct Track {
    pub(super) name: String,
    pub(super) stream: Stream,
    context: Context,
    subjects: String,
    /// Whether the stream holds other things as well.
    is_shared: bool,
}

impl Track {
    /// A fresh stream in files, empty even if an earlier run left one of this name.
    ///
    /// # Errors
    /// When the server does not make it.
    pub(super) async fn lay(place: &Place, name: &str) -> anyhow::Result<Self> {
        let context = place.jetstream();
        let subjects = format!("syncline.bench.{name}.");
        let name = format!("{PREFIX}{}", name.to_uppercase());
        // It need not be there.
        let _absent = context.delete_stream(&name).await;
        let config = Config {
            name: name.clone(),
            subjects: vec![format!("{subjects}*")],
            storage: StorageType::File,
            allow_direct: true,
            // As on the streams that Syncline makes itself.
            allow_batch_publish: true,
            ..Config::default()
        };
        let stream = context.create_stream(config).await?;
        Ok(Self {
            name,
            stream,
            context,
            subjects,
            is_shared: false,
        })
    }

    /// A part of the stream of decisions, empty even if an earlier run left something there.
    ///
    /// # Errors
    /// When there is no such stream: a pipeline has to have run.
    pub(super) async fn lay_among_decisions(place: &Place, name: &str) -> anyhow::Result<Self> {
        let context = place.jetstream();
        let stream = context.get_stream(DECISIONS).await?;
        let track = Self {
            name: DECISIONS.to_owned(),
            stream,
            context,
            subjects: format!("syncline.bench.{name}."),
            is_shared: true,
        };
        track.stream.purge().filter(track.subject("*")).await?;
        Ok(track)
    }

    /// The subject of `key`.
    pub(super) fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.subjects)
    }

    /// Stores orders with the numbers below `args.events`.
    ///
    /// # Errors
    /// When the server does not take them.
    pub(super) async fn fill(&self, args: &Args) -> anyhow::Result<()> {
        let mut outstanding: Vec<PublishAckFuture> = Vec::with_capacity(WINDOW);
        for number in 0..args.events {
            let (key, order) = order(number, args);
            let publish = self.context.publish(self.subject(&key), order);
            outstanding.push(publish.await?);
            if outstanding.len() == WINDOW || number + 1 == args.events {
                for ack in outstanding.drain(..) {
                    ack.into_future().await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until the stream holds `n_messages`; fails when it ends up with more or with fewer.
    ///
    /// # Errors
    /// How many it holds in place of them.
    pub(super) async fn expect(&self, n_messages: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let held = self.n_messages().await?;
            if held == n_messages {
                return Ok(());
            }
            if held > n_messages || Instant::now() > deadline {
                anyhow::bail!(
                    "stream {} holds {held} messages, not {n_messages}",
                    self.name
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn n_messages(&self) -> anyhow::Result<u64> {
        if !self.is_shared {
            return Ok(self.stream.get_info().await?.state.messages);
        }
        let counts = self.stream.info_with_subjects(self.subject("*")).await?;
        let counts: Vec<_> = counts.try_collect().await?;
        let counts = counts.iter().map(|(_, count)| *count);
        Ok(u64::try_from(counts.sum::<usize>())?)
    }

    /// Everything on it, from the beginning, without what it holds.
    ///
    /// # Errors
    /// When the server does not give it.
    pub(super) async fn read(&self) -> anyhow::Result<pull::Ordered> {
        let all = pull::OrderedConfig {
            headers_only: true,
            deliver_policy: DeliverPolicy::All,
            filter_subject: self.subject("*"),
            ..pull::OrderedConfig::default()
        };
        Ok(self.stream.create_consumer(all).await?.messages().await?)
    }

    /// Waits until `consumer` has acknowledged the first `n_messages`.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn until_acked(&self, consumer: &str, n_messages: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let info = self.stream.consumer_info(consumer).await?;
            if info.ack_floor.stream_sequence >= n_messages {
                return Ok(());
            }
            if Instant::now() > deadline {
                let done = info.ack_floor.stream_sequence;
                anyhow::bail!("consumer {consumer} is at {done} of {n_messages}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Takes the stream away again.
    pub(super) async fn lift(self) -> anyhow::Result<()> {
        if self.is_shared {
            self.stream.purge().filter(self.subject("*")).await?;
            let mut config = self.stream.get_info().await?.config;
            let own = self.subject("*");
            config.subjects.retain(|subject| *subject != own);
            self.context.update_stream(&config).await?;
            return Ok(());
        }
        self.context.delete_stream(&self.name).await?;
        Ok(())
    }
}

/// The key and the data of an order. Keys follow one another as at random, the same in each run.
pub(super) fn order(number: u64, args: &Args) -> (String, Bytes) {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let key = format!("c-{}", mixed % args.keys);
    let mut order = format!(
        r#"{{"id":"o-{number:07}","customer":"{key}","email":"{key}@shop.example","status":"placed","#
    );
    let (quantity, price) = (mixed % 9 + 1, mixed % 90_000 + 100);
    // Writing to a string cannot fail.
    let _infallible = write!(
        order,
        r#""currency":"EUR","quantity":{quantity},"unit_price":{price},"tags":["web","gift"],"note":""#
    );
    let wanted = usize::try_from(args.payload).unwrap_or(usize::MAX);
    while order.len() + 2 < wanted {
        order.push('x');
    }
    order.push_str("\"}");
    (key, Bytes::from(order))
}
