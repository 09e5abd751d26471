//! The cost of one plugin call, with every limit on, against native code; and of a start.

use super::Args;
use super::figures::{Figures, median, rounded};
use super::place::Place;
use super::streams::order;
use super::transform::invoice_of;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use syncline::event::{Envelope, Event, EventId, Next, OrderingKey, Origin, Verdict};
use syncline::outbound::Transport;
use syncline::plugin::{
    Config, Engine, EngineConfig, Grants, Limits, Plugins, Secrets, Session, Surroundings, Use,
    Version,
};
use syncline::telemetry::Metrics;
use tokio::time::Instant;

/// Names of plugin and pipeline.
const NAME: &str = "bench";
/// Bytes that the echo carries.
const ECHO: usize = 1_024;
/// Calls of one sample, and samples.
const CALLS: u32 = 10_000;
const SAMPLES: usize = 21;
/// Starts that are measured.
const STARTS: usize = 7;

/// Calls with the echo, calls with the JSON transform, the same native, and starts.
///
/// # Errors
/// When a plugin does not start or does not answer as it should.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let cache = place.folder().join("cache");
    if let Some(file) = &args.echo {
        let (_plugins, version) = ready(&cache, file).await?;
        let envelope = envelope(Bytes::from(vec![b'e'; ECHO]));
        figures.call_ns = call_ns(&version, &envelope).await?;
    }
    let Some(file) = &args.plugin else {
        return Ok(());
    };
    let (_, order) = order(1, args);
    let envelope = envelope(order);
    let (_plugins, version) = ready(&cache, file).await?;
    let call = call(&version, &envelope).await?;
    figures.call_json_ns = call_ns(&version, &envelope).await?;
    // Of another plugin the native counterpart is not known.
    if carries(&call, &invoice_of(&envelope.data)?) {
        let native = || {
            black_box(invoice_of(black_box(&envelope.data)).map_err(anyhow::Error::from)).map(drop)
        };
        figures.native_json_ns = per_call_ns(async || native()).await?;
    }
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let begun = Instant::now();
        let started = ready(&cache, file).await?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(started);
    }
    figures.warm_start_ms = median(&starts).map(|ms| rounded(ms, 2));
    Ok(())
}

async fn call(version: &Arc<Version>, envelope: &Envelope) -> anyhow::Result<Verdict> {
    Ok(version.call(envelope, 1, &mut Session::new()).await?)
}

async fn call_ns(version: &Arc<Version>, envelope: &Envelope) -> anyhow::Result<Option<f64>> {
    per_call_ns(async || match call(version, envelope).await? {
        Verdict::Accept(acceptance) => {
            drop(black_box(acceptance));
            Ok(())
        }
        other => anyhow::bail!("the plugin answered {other:?}"),
    })
    .await
}

/// Nanoseconds for one `work`: the median over samples, after one that only warms up.
async fn per_call_ns(work: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Option<f64>> {
    let mut samples = Vec::with_capacity(SAMPLES);
    for sample in 0..=SAMPLES {
        let begun = Instant::now();
        for _ in 0..CALLS {
            work().await?;
        }
        if sample > 0 {
            samples.push(begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        }
        // The sampling must not keep the rest of the process from its own work for long.
        tokio::task::yield_now().await;
    }
    Ok(median(&samples).map(f64::round))
}

fn carries(verdict: &Verdict, data: &[u8]) -> bool {
    let Verdict::Accept(acceptance) = verdict else {
        return false;
    };
    match &acceptance.next {
        Next::Forward(events) => events
            .iter()
            .any(|event| event.data.as_deref() == Some(data)),
        Next::Stop | Next::Pass => false,
    }
}

/// The plugin in `file` at work, on an engine of its own; the first hold it alive.
async fn ready(cache: &Path, file: &Path) -> anyhow::Result<(Plugins, Arc<Version>)> {
    let engine = Engine::new(&EngineConfig {
        cache_dir: Some(cache.to_owned()),
    })?;
    let config = Config {
        name: NAME.to_owned(),
        path: file.to_owned(),
        settings: serde_json::Map::new(),
        grants: Grants::default(),
        limits: Limits::default(),
    };
    let used = Use {
        plugin: NAME.to_owned(),
        pipeline: NAME.to_owned(),
        writable: Vec::new(),
        state: None,
    };
    let surroundings = Surroundings {
        secrets: Arc::new(Secrets::new(BTreeMap::new())),
        retrieve: None,
        transport: Transport::default(),
        metrics: Arc::new(Metrics::new()),
    };
    let plugins = Plugins::load(&engine, &[config], &[used], &surroundings)
        .await
        .map_err(|problems| match problems.into_iter().next() {
            Some(problem) => anyhow::Error::from(problem),
            None => anyhow::anyhow!("the plugin does not load"),
        })?;
    let slot = plugins.slot(NAME, NAME);
    let slot = slot.ok_or_else(|| anyhow::anyhow!("the plugin has no place"))?;
    Ok((plugins, slot.active()))
}

/// A raw message as the intake hands it on.
fn envelope(data: Bytes) -> Envelope {
    let (source, id) = ("nats://ORDERS/orders.c-1", "ORDERS:1");
    Envelope {
        event: Arc::new(Event {
            id: id.to_owned(),
            source: source.to_owned(),
            kind: "nats.message".to_owned(),
            ..Event::default()
        }),
        data,
        origin: Arc::new(Origin {
            id: EventId::of(source, id),
            address: "orders.c-1".to_owned(),
            stream: "ORDERS".into(),
            sequence: 1,
            key: OrderingKey::from("c-1"),
            stream_created: 0,
            maybe_seen: false,
            generation: 0,
        }),
    }
}
