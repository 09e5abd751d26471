//! `syncline bench`: a pipeline against a bare forwarder, on one server, in one run.

mod api;
mod calls;
mod child;
mod example;
mod figures;
mod forwarder;
mod hot;
mod idle;
mod lap;
mod latency;
mod pipeline;
mod place;
mod rounds;
mod streams;
mod tables;

// The code of the plugin `bench-json`, compiled natively for comparison.
#[path = "../../../tests/guests/bench/json/src/transform.rs"]
mod transform;

use super::failure::Exit;
use super::print::Printer;
use clap::ValueEnum;
use figures::Figures;
use place::Place;
use std::path::PathBuf;

/// Measure a pipeline against a bare forwarder, on the same server, in one run
///
/// Fills a stream and empties it through a plain async-nats loop (pull, publish, acknowledge) and
/// through a pipeline, in turns, each into a stream of its own. Measures as well the latency at a
/// fixed rate, reads over the API against bare ones, the cost of one plugin call, the start, and
/// the memory at rest. What a FILE or DIR is needed for is left out when it is not given.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The NATS server, JetStream enabled [default: one of its own, found on PATH, with its store
    /// in a temporary folder]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,

    /// Events of each round
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,

    /// Bytes of each event's data
    #[arg(long, value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(192..=65_536))]
    payload: u32,

    /// Ordering keys that the events have
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// How often each side has its turn
    #[arg(long, value_name = "N", default_value_t = 7,
          value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Events per second while the latency is measured
    #[arg(long, value_name = "N", default_value_t = 5_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// The pipeline's plugin: tests/guests/bench/json, which is also compared with native code
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,

    /// The plugin that a call is measured with: tests/guests/bench/echo
    #[arg(long, value_name = "FILE.wasm")]
    echo: Option<PathBuf>,

    /// The plugin that takes long over the events of one key: tests/guests/bench/slow
    #[arg(long, value_name = "FILE.wasm")]
    slow: Option<PathBuf>,

    /// The folder with the components of plugins/, for the memory at rest
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,

    /// A PostgreSQL server where databases may be made, and transactions prepared, for pipelines into
    /// tables
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,

    /// Measure this part alone; more than once: these
    #[arg(long, value_name = "PART", value_enum)]
    only: Vec<Part>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The memory at rest
    Rest,
    /// Calls of plugins, and a start
    Calls,
    /// Reads over the API against bare ones
    Api,
    /// Pipelines against the forwarder
    Throughput,
    /// Pipelines into tables
    Tables,
    /// From event to effect
    Latency,
    /// What a hot key costs the others
    HotKey,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Measures and reports.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let place = Place::open(args.nats.as_deref()).await?;
    let measured = measure(args, &place, printer).await;
    place.close().await;
    let figures = measured?;
    if args.json {
        printer.json(&figures)?;
    } else {
        printer.table(&["figure", "value"], &figures.rows())?;
        let head = ["events in flight", "joined_eps_by_in_flight", ""];
        printer.table(&head, &figures.curve())?;
    }
    Ok(Exit::Fine)
}

async fn measure(args: &Args, place: &Place, printer: &Printer) -> anyhow::Result<Figures> {
    let mut figures = Figures::of(args, place);
    if let Some(plugins) = args.plugins.as_ref().filter(|_| args.wants(Part::Rest)) {
        printer.note("memory at rest ..");
        figures.rss_mb = Some(idle::resident_mb(place, plugins).await?);
    }
    if args.wants(Part::Calls) {
        printer.note("calls ..");
        Box::pin(calls::measure(args, place, &mut figures)).await?;
    }
    if args.wants(Part::Api) {
        printer.note("reads over the API ..");
        Box::pin(api::measure(args, place, printer, &mut figures)).await?;
    }
    if args.wants(Part::Throughput) {
        Box::pin(rounds::measure(args, place, printer, &mut figures)).await?;
    }
    if args.wants(Part::Tables) {
        Box::pin(tables::measure(args, place, printer, &mut figures)).await?;
    }
    if args.wants(Part::Latency) {
        printer.note(&format!("latency at {} events per second ..", args.rate));
        Box::pin(latency::measure(args, place, &mut figures)).await?;
    }
    if args.wants(Part::HotKey) {
        Box::pin(hot::measure(args, place, printer, &mut figures)).await?;
    }
    Ok(figures)
}
