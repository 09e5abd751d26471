//! `syncline pipeline list`: every pipeline, its state, and who runs it.

use super::super::connection::NatsArgs;
use super::super::failure::Exit;
use super::super::print::Printer;
use super::seen::{self, Holder, Seen};

const COLUMNS: [&str; 6] = [
    "pipeline",
    "state",
    "source",
    "lag",
    "in flight",
    "runtimes",
];

/// List every pipeline that a runtime runs or that consumers were left for
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    /// Print one JSON object per pipeline
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let pipelines = seen::look(&args.nats.jetstream().await?).await?;
    if args.json {
        pipelines.iter().try_for_each(|seen| printer.json(seen))?;
    } else if pipelines.is_empty() {
        printer.line("no pipelines")?;
    } else {
        let rows: Vec<_> = pipelines.iter().map(row).collect();
        printer.table(&COLUMNS, &rows)?;
    }
    Ok(Exit::Fine)
}

fn row(seen: &Seen) -> Vec<String> {
    let lag = seen
        .lag
        .map_or_else(|| "-".to_owned(), |lag| lag.to_string());
    let source = seen.source.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        seen.pipeline.clone(),
        seen.state.to_owned(),
        source,
        lag,
        seen.in_flight.to_string(),
        holders(&seen.runtimes),
    ]
}

/// Each runtime, with the partitions that it holds where there are several, or that it stands by.
fn holders(runtimes: &[Holder]) -> String {
    if runtimes.is_empty() {
        return "-".to_owned();
    }
    let held = || runtimes.iter().flat_map(|holder| &holder.partitions);
    let (is_leased, is_shared) = (held().count() > 0, held().any(|partition| *partition > 0));
    let names = runtimes.iter().map(|holder| {
        let name = format!("{}/{}", holder.name, holder.runtime);
        match holder.partitions.as_slice() {
            [] if is_leased => format!("{name} (stands by)"),
            partitions if is_shared => {
                let partitions: Vec<_> = partitions.iter().map(u32::to_string).collect();
                format!("{name} ({})", partitions.join(" "))
            }
            _ => name,
        }
    });
    names.collect::<Vec<_>>().join(", ")
}
