//! The yardstick: the fastest plain loop over async-nats that does what a forwarder must. Pull,
//! publish with a window of acknowledgements, acknowledge each message after its publish.

use super::lap::{Clock, Lap};
use super::place;
use super::streams::Track;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use std::future::IntoFuture as _;
use syncline::shutdown::Tasks;
use tokio::sync::{mpsc, oneshot};

/// Publishes that may wait for their acknowledgement.
const WINDOW: usize = 8_192;
/// Messages asked for at once.
const BATCH: usize = 4_096;

/// A publish on its way: its acknowledgement, and where the message's own goes.
type Sent = (PublishAckFuture, Subject);

/// Forwards the `n_events` of `source` to `target`.
///
/// # Errors
/// When the server refuses anything.
pub(super) async fn forward(
    url: &str,
    source: &Track,
    target: &Track,
    n_events: u64,
) -> anyhow::Result<Lap> {
    const DURABLE: &str = "bare-forwarder";
    let client = place::connect(url).await?;
    let context = ContextBuilder::new()
        .max_ack_inflight(WINDOW)
        .build(client.clone());
    let settings = pull::Config {
        durable_name: Some(DURABLE.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: i64::try_from(WINDOW * 2)?,
        ..pull::Config::default()
    };
    let consumer = context
        .get_stream(&source.name)
        .await?
        .create_consumer(settings)
        .await?;
    let (sent, on_their_way) = mpsc::channel(WINDOW);
    let (end, ended) = oneshot::channel();
    let tasks = Tasks::new();
    let clock = Clock::start();
    let acker = acknowledge(client.clone(), on_their_way);
    tasks.spawn(async move {
        // Nobody waits any more when the other side has failed.
        let _failed = end.send(acker.await);
    });
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(BATCH)
        .messages()
        .await?
        .take(usize::try_from(n_events)?);
    let from = source.subject("").len();
    while let Some(message) = messages.next().await {
        let message = message?.message;
        let key = message.subject.get(from..).unwrap_or_default();
        let ack = context
            .publish(target.subject(key), message.payload)
            .await?;
        if let Some(reply) = message.reply
            && sent.send((ack, reply)).await.is_err()
        {
            break;
        }
    }
    drop(sent);
    ended.await??;
    source.until_acked(DURABLE, n_events).await?;
    let lap = clock.stop(n_events);
    source.stream.delete_consumer(DURABLE).await?;
    Ok(lap)
}

/// Acknowledges each message once its publish is.
async fn acknowledge(client: Client, mut sent: mpsc::Receiver<Sent>) -> anyhow::Result<()> {
    const ACK: Bytes = Bytes::from_static(b"+ACK");
    while let Some((ack, reply)) = sent.recv().await {
        ack.into_future().await?;
        client.publish(reply, ACK).await?;
    }
    Ok(client.flush().await?)
}
