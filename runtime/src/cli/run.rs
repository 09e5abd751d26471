//! `syncline run`: the runtime, until a signal ends it.

use super::connection::{self, ConfigArgs};
use super::environment;
use super::failure::{Exit, Failure};
use super::logging;
use super::print::Printer;
use super::signals::Signals;
use syncline::app::{App, AppError, Options, Summary};
use syncline::config::Config;
use syncline::fault;
use syncline::shutdown::Shutdown;
use syncline::telemetry::PipelineCounts;

/// The words of the law, and the retries, which are counted apart.
const COLUMNS: [&str; 9] = [
    "pipeline",
    "received",
    "done",
    "filtered",
    "dead",
    "parked",
    "duplicate",
    "in flight",
    "retries",
];

/// Run the pipelines of a configuration until ctrl-c or SIGTERM
///
/// The first ctrl-c or SIGTERM drains: no more events are taken, those in flight are finished. A
/// second one aborts; what was in flight is delivered again by the next run. Changed plugin files
/// are swapped in while it runs. SIGHUP is noted; reloading the configuration is not available yet.
/// Log lines go to stderr, `ready` among them once every pipeline takes events or stands by; what
/// became of the events goes to stdout at the end.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    logging: logging::LogArgs,

    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs and reports.
pub(super) async fn execute(args: Args, printer: &Printer) -> anyhow::Result<Exit> {
    logging::start(&args.logging)?;
    arm_faults()?;
    let config = args.config.load()?;
    let mut signals = Signals::listen()?;
    let shutdown = Shutdown::new();
    let work = run(config, shutdown.clone());
    let summary = Box::pin(signals.during(&shutdown, work)).await??;
    report(&summary, args.json, printer)
}

/// Arms what `SYNCLINE_FAULTS` asks for. Never ignored: a test that believes in a fault that cannot
/// happen proves nothing.
fn arm_faults() -> anyhow::Result<()> {
    let Some(faults) = environment::faults() else {
        return Ok(());
    };
    if !fault::AVAILABLE {
        return Err(Failure::new("cannot arm the faults of SYNCLINE_FAULTS")
            .because(anyhow::anyhow!("this build has none"))
            .remedy("unset it, or use a build with debug assertions")
            .into());
    }
    fault::arm(faults.parse()?, || std::process::abort());
    Ok(())
}

/// Builds the runtime and runs it until `shutdown`.
///
/// # Errors
/// When it cannot start.
pub(super) async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<Summary> {
    let app = Box::pin(App::build(config, options()))
        .await
        .map_err(unstartable)?;
    Ok(Box::pin(app.run(shutdown)).await?)
}

fn unstartable(error: AppError) -> Failure {
    let failure = Failure::new("cannot start the runtime");
    match connection::failed(error) {
        Ok(no_connection) => no_connection,
        Err(AppError::Denied {
            urls,
            operation,
            remedy,
        }) => {
            let why = format!("NATS at {urls} does not permit us to {operation}");
            failure.why(why).remedy(remedy)
        }
        Err(other) => failure
            .because(other)
            .remedy("`syncline validate --connect` checks plugins, targets and streams"),
    }
}

/// Settings of the process.
pub(super) fn options() -> Options {
    Options {
        cache_dir: environment::cache_dir(),
        ..Options::default()
    }
}

/// Prints what became of the events, pipeline by pipeline. Not fine: events had to be left at work,
/// or a pipeline stopped at one.
pub(super) fn report(summary: &Summary, json: bool, printer: &Printer) -> anyhow::Result<Exit> {
    if json {
        printer.json(summary)?;
    } else {
        let rows: Vec<_> = summary.pipelines.iter().map(row).collect();
        printer.table(&COLUMNS, &rows)?;
        print_targets(summary, printer)?;
    }
    let stopped = summary.pipelines.values().any(|counts| counts.stopped);
    Ok(if summary.drained && !stopped {
        Exit::Fine
    } else {
        Exit::NotFine
    })
}

/// Targets that were left alone for a while because they gave no answer.
fn print_targets(summary: &Summary, printer: &Printer) -> anyhow::Result<()> {
    let silent = summary
        .targets
        .iter()
        .filter(|(_, counts)| counts.opened > 0);
    let rows: Vec<_> = silent
        .map(|(name, counts)| {
            let breaker = if counts.open { "open" } else { "closed" };
            let (opened, probes) = (counts.opened.to_string(), counts.probes.to_string());
            vec![name.clone(), breaker.to_owned(), opened, probes]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    printer.table(&["target", "breaker", "opened", "probes"], &rows)
}

fn row((name, counts): (&String, &PipelineCounts)) -> Vec<String> {
    let counts = [
        counts.received,
        counts.done,
        counts.filtered,
        counts.dead,
        counts.parked,
        counts.duplicate,
        counts.in_flight,
        counts.retries,
    ];
    let counts = counts.iter().map(u64::to_string);
    std::iter::once(name.clone()).chain(counts).collect()
}
