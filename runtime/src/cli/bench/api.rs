//! Reads over the API against bare reads: `GET /v1/orders/_/KEY` of a kv target, and `get` of async-nats of
//! the same keys of the same bucket, in turns.
//!
//! The API is served as users have it: by `syncline run`, a process of its own, to whoever shows a token. Both are
//! asked by tasks in this process, over loopback and connections that stay open, one read after the other in each
//! task. So a bare read is a way to the server and back, and one over the API that way after another one,
//! to the runtime and back. Of what the client does on its side as little as possible is of HTTP: what
//! is measured is the API and no library that asks it.

mod client;

use super::super::failure::Failure;
use super::super::print::Printer;
use super::figures::{Figures, median, range, rounded};
use super::place::{self, Place};
use super::streams::order;
use super::{Args, child};
use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use client::Client;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use syncline::api::Hash;
use syncline::shutdown::Tasks;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What the runtime is configured with, and the file of the contract that it names.
const CONFIG: &str = include_str!("api.toml");
const CONTRACT: &str = "orders.v1.json";
/// The bucket that is read.
const BUCKET: &str = "BENCH_SYNCLINE_READ";
/// A token, as long as one that nobody guesses.
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Reads of a turn, and entries that are read, at most.
const READS: u64 = 10_000;
const ENTRIES: u64 = 1_000;
/// Part of a turn's reads that only warm up.
const WARM_UP: u64 = 5;
/// Reads that are on their way at once.
const IN_FLIGHT: [usize; 2] = [1, 8];
/// How many times as long as a bare read the slowest of a hundred may take over the API.
const BAR: f64 = 2.0;

/// Microseconds that the reads of one turn took.
#[derive(Clone, Copy)]
struct Turn {
    p50: f64,
    p99: f64,
}

/// What the turns of both sides came to.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) api_p50_us: Option<f64>,
    pub(super) api_p99_us: Option<f64>,
    pub(super) bare_p50_us: Option<f64>,
    pub(super) bare_p99_us: Option<f64>,
    /// The p99 of the API's turns, each against that of the bare ones before and after it.
    pub(super) ratio: Option<f64>,
    /// The least and the greatest of those.
    pub(super) ratio_range: Option<(f64, f64)>,
    /// The p99 of the bare turns, each against the one before.
    pub(super) aa_range: Option<(f64, f64)>,
}

/// An entry, and how the API is asked for it.
struct Entry {
    key: String,
    value: Bytes,
    request: Vec<u8>,
}

/// One who reads entries, one after the other.
trait Reader: Send + 'static {
    /// Whether what is read is what was written.
    fn read(&mut self, entry: &Entry) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

impl Reader for Client {
    async fn read(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        Ok(self.ask(&entry.request).await? == entry.value)
    }
}

impl Reader for kv::Store {
    async fn read(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        Ok(self.get(entry.key.as_str()).await?.as_ref() == Some(&entry.value))
    }
}

/// Both sides.
struct Sides {
    entries: Arc<[Entry]>,
    bucket: kv::Store,
    address: SocketAddr,
    n_reads: u64,
    /// The runtime; killed when dropped.
    _runtime: Child,
}

/// Both with one read at a time and with several.
///
/// # Errors
/// When a read fails, or finds something else than was written.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let sides = Sides::make(args, place).await?;
    for n_in_flight in IN_FLIGHT {
        let compared = sides.compare(args.rounds, n_in_flight, printer).await?;
        if let Some(ratio) = compared.ratio.filter(|ratio| *ratio > BAR) {
            printer.note(&format!(
                "missed: with {n_in_flight} in flight the p99 of a read over the API is {ratio} times \
                 that of a bare one, and the bar is {BAR}"
            ));
        }
        match n_in_flight {
            1 => figures.read(&compared),
            _ => figures.read_at_8(&compared),
        }
    }
    place.jetstream().delete_key_value(BUCKET).await?;
    Ok(())
}

impl Sides {
    /// A full bucket, a client of it, and a runtime that serves it.
    async fn make(args: &Args, place: &Place) -> anyhow::Result<Self> {
        let jetstream = jetstream::new(place::connect(&place.url).await?);
        // It need not be there.
        let _absent = jetstream.delete_key_value(BUCKET).await;
        let settings = kv::Config {
            bucket: BUCKET.to_owned(),
            ..kv::Config::default()
        };
        let bucket = jetstream.create_key_value(settings).await?;
        let n_entries = args.keys.min(ENTRIES);
        let entries: Vec<_> = (0..n_entries).map(|n| Entry::of(n, args)).collect();
        for entry in &entries {
            bucket.put(&entry.key, entry.value.clone()).await?;
        }
        let (runtime, address) = serve(place).await?;
        Ok(Self {
            entries: entries.into(),
            bucket,
            address,
            n_reads: args.events.min(READS),
            _runtime: runtime,
        })
    }

    /// Both in turns, the bare one first and last.
    async fn compare(
        &self,
        rounds: u32,
        n_in_flight: usize,
        printer: &Printer,
    ) -> anyhow::Result<Compared> {
        // Warms up.
        self.bare(n_in_flight).await?;
        self.api(n_in_flight).await?;
        let (mut bare, mut api) = (vec![self.bare(n_in_flight).await?], Vec::new());
        for round in 1..=rounds {
            let (ours, after) = (self.api(n_in_flight).await?, self.bare(n_in_flight).await?);
            printer.note(&format!(
                "round {round}, {n_in_flight} in flight: API {ours}, bare read {after}"
            ));
            api.push(ours);
            bare.push(after);
        }
        Ok(Compared::of(&bare, &api))
    }

    /// A turn of the API, over fresh connections.
    async fn api(&self, n_in_flight: usize) -> anyhow::Result<Turn> {
        let mut readers = Vec::with_capacity(n_in_flight);
        for _ in 0..n_in_flight {
            readers.push(Client::connect(self.address).await?);
        }
        self.turn(readers).await
    }

    /// A turn of bare reads, over one connection, as async-nats has it.
    async fn bare(&self, n_in_flight: usize) -> anyhow::Result<Turn> {
        self.turn(vec![self.bucket.clone(); n_in_flight]).await
    }

    /// A turn of these readers, each in a task of its own.
    async fn turn<R: Reader>(&self, readers: Vec<R>) -> anyhow::Result<Turn> {
        let tasks = Tasks::new();
        let n_reads = self.n_reads.div_ceil(u64::try_from(readers.len())?);
        let mut reading = Vec::with_capacity(readers.len());
        for (first, reader) in (0..).step_by(usize::try_from(n_reads)?).zip(readers) {
            let (end, ended) = oneshot::channel();
            let entries = self.entries.clone();
            tasks.spawn(async move {
                let read = read_all(reader, &entries, (first, n_reads)).await;
                // Nobody waits any more when another one has failed.
                let _failed = end.send(read);
            });
            reading.push(ended);
        }
        let mut whole = Histogram::new(3)?;
        for ended in reading {
            whole.add(ended.await??)?;
        }
        let at = |quantile| whole.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Turn {
            p50: at(0.5),
            p99: at(0.99),
        })
    }
}

/// Reads so many entries one after the other; nanoseconds that each took, without the first ones.
async fn read_all(
    mut reader: impl Reader,
    entries: &[Entry],
    (first, n_reads): (u64, u64),
) -> anyhow::Result<Histogram<u64>> {
    let mut took = Histogram::new(3)?;
    let mut following = entries.iter().cycle().skip(usize::try_from(first)?);
    for number in 0..n_reads {
        let Some(entry) = following.next() else {
            break;
        };
        let begun = Instant::now();
        let is_right = reader.read(entry).await?;
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos())?;
        anyhow::ensure!(is_right, "entry `{}` is not what was written", entry.key);
        if number >= n_reads / WARM_UP {
            took.record(nanoseconds)?;
        }
    }
    Ok(took)
}

/// The runtime, and where its API listens.
async fn serve(place: &Place) -> anyhow::Result<(Child, SocketAddr)> {
    let contract = json!({
        "name": "orders",
        "version": 1,
        "entities": { "order": { "operations": ["retrieve"], "schema": { "type": "object" } } },
    });
    std::fs::write(place.folder().join(CONTRACT), contract.to_string())?;
    let config = place.folder().join("api.toml");
    std::fs::write(&config, CONFIG)?;
    let hash = Hash::of(TOKEN.as_bytes()).to_string();
    let variables = [("SYNCLINE_BENCH_TOKEN", OsStr::new(&hash))];
    let (runtime, line) = child::start(place, &config, &variables, "the API listens").await?;
    let line: Value = serde_json::from_str(&line)?;
    let address = line.get("address").and_then(Value::as_str);
    let address = address.ok_or_else(|| {
        Failure::new("cannot measure the API").why("the runtime does not say where it listens")
    })?;
    Ok((runtime, address.parse()?))
}

impl Entry {
    fn of(number: u64, args: &Args) -> Self {
        let (_, value) = order(number, args);
        let key = format!("o-{number}");
        let request = format!(
            "GET /v1/orders/_/{key} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        Self {
            key,
            value,
            request: request.into_bytes(),
        }
    }
}

impl Compared {
    fn of(bare: &[Turn], api: &[Turn]) -> Self {
        let neighbours = || bare.iter().zip(bare.iter().skip(1));
        let control: Vec<_> = neighbours()
            .map(|(before, after)| after.p99 / before.p99)
            .collect();
        let ratios: Vec<_> = neighbours()
            .zip(api)
            .map(|((before, after), ours)| ours.p99 / f64::midpoint(before.p99, after.p99))
            .collect();
        let middle = |turns: &[Turn], of: fn(&Turn) -> f64| {
            let values: Vec<_> = turns.iter().map(of).collect();
            median(&values).map(|value| rounded(value, 1))
        };
        Self {
            api_p50_us: middle(api, |turn| turn.p50),
            api_p99_us: middle(api, |turn| turn.p99),
            bare_p50_us: middle(bare, |turn| turn.p50),
            bare_p99_us: middle(bare, |turn| turn.p99),
            ratio: median(&ratios).map(|ratio| rounded(ratio, 3)),
            ratio_range: range(&ratios),
            aa_range: range(&control),
        }
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.1} us, p99 {:.1} us", self.p50, self.p99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_compared_with_the_bare_reads_around_it() {
        let turn = |p99| Turn {
            p50: p99 / 2.0,
            p99,
        };
        let bare = [turn(100.0), turn(200.0), turn(100.0)];
        let compared = Compared::of(&bare, &[turn(300.0), turn(150.0)]);
        assert_eq!(compared.ratio, Some(1.5));
        assert_eq!(compared.ratio_range, Some((1.0, 2.0)));
        assert_eq!(compared.aa_range, Some((0.5, 2.0)));
        assert_eq!(
            (compared.api_p50_us, compared.api_p99_us),
            (Some(112.5), Some(225.0))
        );
        assert_eq!(
            (compared.bare_p50_us, compared.bare_p99_us),
            (Some(50.0), Some(100.0))
        );
    }
}
