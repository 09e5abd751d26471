//! How the examples of async-nats would forward: its own loop over messages, with its own settings,
//! publishes that are sent before the first of them is waited for, and each message acknowledged
//! after its publish. That the yardstick is no slower says that it is a fair one.

use super::lap::{Clock, Lap};
use super::place;
use super::streams::Track;
use async_nats::jetstream::{self, consumer::pull};
use futures::StreamExt as _;
use std::future::IntoFuture as _;

/// Publishes that are on their way together. The server hands out 1,000 unacknowledged messages
/// unless it is told otherwise, as the examples do not tell it.
const TOGETHER: usize = 500;

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
    const DURABLE: &str = "example-forwarder";
    let jetstream = jetstream::new(place::connect(url).await?);
    let stream = jetstream.get_stream(&source.name).await?;
    let settings = pull::Config {
        durable_name: Some(DURABLE.to_owned()),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(settings).await?;
    let from = source.subject("").len();
    let clock = Clock::start();
    let messages = consumer.messages().await?.take(usize::try_from(n_events)?);
    let mut batches = messages.ready_chunks(TOGETHER);
    while let Some(batch) = batches.next().await {
        let mut sent = Vec::with_capacity(batch.len());
        for message in batch {
            let message = message?;
            let key = message.subject.get(from..).unwrap_or_default();
            let payload = message.payload.clone();
            sent.push((
                jetstream.publish(target.subject(key), payload).await?,
                message,
            ));
        }
        for (stored, message) in sent {
            stored.into_future().await?;
            message
                .ack()
                .await
                .map_err(|error| anyhow::anyhow!(error))?;
        }
    }
    source.until_acked(DURABLE, n_events).await?;
    let lap = clock.stop(n_events);
    source.stream.delete_consumer(DURABLE).await?;
    Ok(lap)
}
