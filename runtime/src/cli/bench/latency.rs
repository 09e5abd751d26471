//! The latency: from event stored to effect stored, at a fixed rate, by the server's own clock.

use super::Args;
use super::figures::Figures;
use super::pipeline::{self, Tracks};
use super::place::{self, Place};
use super::streams::{Track, order};
use bytes::Bytes;
use futures::StreamExt as _;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use syncline::event::{EventId, reserved};
use tokio::time::Instant;

/// How long events are sent.
const SECONDS: u32 = 5;
/// The key of the events that the plugin takes long over.
const HOT: &str = "hot";
/// What tells it to.
const SLOW: Bytes = Bytes::from_static(b"slow");
/// How often: finer than the timer's own grain makes no sense.
const TICKS_PER_SECOND: u32 = 1_000;
/// Part of the events that only warm up.
const WARM_UP: u64 = 5;

/// Events at a rate, on their way through a pipeline.
pub(super) struct Flow<'a> {
    /// The pipeline's plugin.
    pub(super) plugin: Option<&'a Path>,
    /// How long they are sent.
    pub(super) seconds: u32,
    /// What the pipeline promises.
    pub(super) promises: &'a str,
    /// Whether each event has an effect elsewhere before the one that is measured.
    pub(super) has_two: bool,
    /// Whether its effects are written with its decision.
    pub(super) is_joined: bool,
    /// Of how many events one is of the hot key, which is not measured; none: no event is.
    pub(super) hot: Option<u64>,
}

/// The latency of the pipeline that the throughput is measured with.
///
/// # Errors
/// When an event does not arrive.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let flow = Flow {
        plugin: args.plugin.as_deref(),
        seconds: SECONDS,
        promises: pipeline::AT_LEAST_ONCE,
        has_two: false,
        is_joined: false,
        hot: None,
    };
    let measured = Box::pin(histogram(args, place, &flow)).await?;
    figures.p50_us = Some(measured.value_at_quantile(0.5));
    figures.p99_us = Some(measured.value_at_quantile(0.99));
    let flow = Flow {
        promises: pipeline::ATOMIC,
        has_two: true,
        ..flow
    };
    let measured = Box::pin(histogram(args, place, &flow)).await?;
    figures.atomic_p50_us = Some(measured.value_at_quantile(0.5));
    figures.atomic_p99_us = Some(measured.value_at_quantile(0.99));
    let flow = Flow {
        is_joined: true,
        ..flow
    };
    let measured = Box::pin(histogram(args, place, &flow)).await?;
    figures.joined_p50_us = Some(measured.value_at_quantile(0.5));
    figures.joined_p99_us = Some(measured.value_at_quantile(0.99));
    Ok(())
}

/// Sends events at the rate, whatever becomes of them, and compares the server's timestamps.
///
/// # Errors
/// When an event does not arrive.
pub(super) async fn histogram(
    args: &Args,
    place: &Place,
    flow: &Flow<'_>,
) -> anyhow::Result<Histogram<u64>> {
    let source = Track::lay(place, "live").await?;
    let [target, first] = match flow.is_joined {
        true => [
            Track::lay_among_decisions(place, "effects").await?,
            Track::lay_among_decisions(place, "first_effects").await?,
        ],
        false => [
            Track::lay(place, "effects").await?,
            Track::lay(place, "first_effects").await?,
        ],
    };
    let (both, one) = ([&first, &target], [&target]);
    let tracks = Tracks {
        source: &source,
        targets: match flow.has_two {
            true => &both,
            false => &one,
        },
        tables: &[],
        is_idle: false,
    };
    let app = pipeline::build(place, flow.plugin, tracks, flow.promises).await?;
    let running = pipeline::start(app);
    let n_events = u64::from(args.rate) * u64::from(flow.seconds);
    send(args, place, &source, flow).await?;
    target.expect(n_events).await?;
    running.end().await?;
    let histogram = compare(&source, &target, n_events).await?;
    source.lift().await?;
    first.lift().await?;
    target.lift().await?;
    Ok(histogram)
}

/// Sends without waiting for anything: a slow runtime does not slow the events down.
async fn send(args: &Args, place: &Place, source: &Track, flow: &Flow<'_>) -> anyhow::Result<()> {
    let client = place::connect(&place.url).await?;
    let begun = Instant::now();
    let mut number = 0;
    for tick in 1..=flow.seconds * TICKS_PER_SECOND {
        let due = u64::from(tick) * u64::from(args.rate) / u64::from(TICKS_PER_SECOND);
        while number < due {
            let is_hot = flow.hot.is_some_and(|rare| number % rare == rare / 2);
            let (key, data) = match is_hot {
                true => (HOT.to_owned(), SLOW),
                false => order(number, args),
            };
            client.publish(source.subject(&key), data).await?;
            number += 1;
        }
        tokio::time::sleep_until(begun + Duration::from_secs(1) * tick / TICKS_PER_SECOND).await;
    }
    client.flush().await?;
    source.expect(number).await
}

/// How long each event took, without the first ones.
async fn compare(source: &Track, target: &Track, n_events: u64) -> anyhow::Result<Histogram<u64>> {
    let mut stored = HashMap::new();
    let created = source.stream.cached_info().created.unix_timestamp_nanos();
    let mut events = source.read().await?.take(usize::try_from(n_events)?);
    while let Some(message) = events.next().await {
        let message = message?;
        let place = message.info().map_err(|error| anyhow::anyhow!(error))?;
        let is_hot = message.subject.as_str() == source.subject(HOT);
        if place.stream_sequence > n_events / WARM_UP && !is_hot {
            // As the runtime names a message that brings no id of its own.
            let name = format!("nats://{}/{}", source.name, message.subject);
            let number = format!("{}:{}@{created}", source.name, place.stream_sequence);
            let id = EventId::of(&name, &number);
            stored.insert(id.to_string(), place.published);
        }
    }
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut effects = target.read().await?.take(usize::try_from(n_events)?);
    while let Some(message) = effects.next().await {
        let message = message?;
        let place = message.info().map_err(|error| anyhow::anyhow!(error))?;
        let headers = message.headers.as_ref();
        let event = headers.and_then(|headers| headers.get(reserved::EVENT_ID));
        if let Some(begun) = event.and_then(|event| stored.remove(event.as_str())) {
            let took = (place.published - begun).whole_microseconds();
            histogram.record(u64::try_from(took).unwrap_or_default())?;
        }
    }
    anyhow::ensure!(stored.is_empty(), "{} events have no effect", stored.len());
    Ok(histogram)
}
