//! `syncline backfill`: what a module holds, handed to a pipeline as events.

use super::connection::{self, ConfigArgs};
use super::dlq::point_in_time;
use super::failure::{Exit, Failure};
use super::pace::rate;
use super::print::Printer;
use super::telling::TellingArgs;
use indicatif::ProgressBar;
use serde::Serialize;
use syncline::app::{self, Backfill, BackfillError, Filled, Of, Stage};
use syncline::drift::DriftError;

/// How many of those that were left out are named.
const NAMED: usize = 20;

/// Hand the entities of a target to a pipeline as events, or what its source held since a time
///
/// The pipeline alone gets them, as it gets replays, in the order of each key; nothing is published
/// where others would see it. Interrupted at any moment and given again, the command goes on where
/// it was. It ends when the pipeline has handled everything.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    #[command(flatten)]
    config: ConfigArgs,

    /// Hand over what this target holds now
    #[arg(
        long,
        value_name = "TARGET",
        required_unless_present = "since",
        conflicts_with = "since"
    )]
    from: Option<String>,

    /// Hand over what the pipeline's source has held since this time: RFC 3339, or how long ago, as
    /// in `2h`
    #[arg(long, value_name = "TIME", conflicts_with_all = ["entity", "kind", "source", "subject"])]
    since: Option<String>,

    #[command(flatten)]
    telling: TellingArgs,

    /// At most so many per second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// Begin anew: hand over everything, also what an earlier run has
    #[arg(long)]
    restart: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    pipeline: &'a str,
    run: u32,
    events: u64,
    handed: u64,
    left_out: u64,
    before: bool,
}

/// Hands over, waits and reports.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let wanted = Backfill {
        pipeline: args.pipeline.clone(),
        of: of(args)?,
        goal: goal(args),
        rate: args.rate,
        restart: args.restart,
    };
    let bar = match args.json {
        true => ProgressBar::hidden(),
        false => printer.progress("events handed over"),
    };
    let show = |stage| match stage {
        Stage::Resumed(n_events) => {
            bar.set_position(n_events);
            note(args, printer, &format!("going on behind {n_events} events"));
        }
        Stage::Handed(n_events) => bar.set_position(n_events),
        Stage::Silent => {
            let pipeline = &args.pipeline;
            note(
                args,
                printer,
                &format!("waiting for `{pipeline}` to handle events: does it run?"),
            );
        }
    };
    let filled = app::backfill(&config, &wanted, &show).await;
    bar.finish_and_clear();
    let filled = filled.map_err(|error| failed(args, error))?;
    report(args, &filled, printer)?;
    Ok(match filled.stand.n_left_out {
        0 => Exit::Fine,
        _ => Exit::NotFine,
    })
}

fn note(args: &Args, printer: &Printer, text: &str) {
    if !args.json {
        printer.note(text);
    }
}

fn of(args: &Args) -> anyhow::Result<Of> {
    if let Some(since) = &args.since {
        let since = point_in_time(since).map_err(|why| {
            let failure = Failure::new(format!("cannot use `--since {since}`"));
            failure.why(why).usage()
        })?;
        return Ok(Of::Since(since));
    }
    let from = args.from.as_deref().unwrap_or_default();
    Ok(Of::Entities(
        args.telling.of(from),
        args.telling.entity.clone(),
    ))
}

/// What is wished, as it was typed: the same again goes on.
fn goal(args: &Args) -> String {
    match (&args.since, &args.from) {
        (Some(since), _) => format!("--since {since}"),
        (None, from) => {
            let from = from.as_deref().unwrap_or_default();
            let told = args.telling.typed();
            format!("--from {from}{told}")
        }
    }
}

fn failed(args: &Args, error: BackfillError) -> anyhow::Error {
    let failure = || Failure::new(format!("cannot backfill pipeline `{}`", args.pipeline));
    match error {
        BackfillError::App(error) => match connection::failed(error) {
            Ok(failure) => failure.into(),
            Err(error) => failure().because(error).usage().into(),
        },
        BackfillError::Read(DriftError::Unavailable(why)) => {
            let remedy = "give the same command again: it goes on where it was";
            failure().why(why).remedy(remedy).unreachable().into()
        }
        error @ BackfillError::Unfinished { .. } => {
            let remedy = "give that command again to finish it, or `--restart` to forget it";
            failure().because(error).remedy(remedy).into()
        }
        error @ (BackfillError::Invalid(_) | BackfillError::Read(_)) => {
            failure().because(error).usage().into()
        }
        error => {
            let remedy = "give the same command again: it goes on where it was";
            failure().because(error).remedy(remedy).into()
        }
    }
}

fn report(args: &Args, filled: &Filled, printer: &Printer) -> anyhow::Result<()> {
    let stand = &filled.stand;
    if args.json {
        return printer.json(&Summary {
            pipeline: &args.pipeline,
            run: stand.run,
            events: stand.n_events,
            handed: filled.n_handed,
            left_out: stand.n_left_out,
            before: filled.before,
        });
    }
    for name in filled.left_out.iter().take(NAMED) {
        printer.note(&format!("larger than a message can be, left out: {name}"));
    }
    let mut line = format!("{}: {} events handled", args.pipeline, stand.n_events);
    if stand.n_left_out > 0 {
        line.push_str(&format!(", {} left out", stand.n_left_out));
    }
    if filled.before {
        line.push_str(" by an earlier run; --restart hands them over again");
    }
    printer.line(&line)
}
