//! `syncline send`: events from stdin into NATS.

use super::connection::NatsArgs;
use super::failure::{Exit, Failure};
use super::lines::Lines;
use super::message::Form;
use super::pace::{Pace, rate};
use super::print::Printer;
use super::publish::{Publisher, Tally};
use indicatif::ProgressBar;
use std::io::IsTerminal as _;

/// Publish NDJSON events from stdin as CloudEvents and wait for every acknowledgement
///
/// Each line is one CloudEvent in the JSON format; `specversion`, `id`, `source`, `type` and `time`
/// are added where they are missing. A line without `specversion`, such as {"id":"42"}, becomes the
/// data of a new event. SUBJECT may hold {type}, {id}, {subject} and {source}: the dots of a type
/// stay, every other value becomes one token, its other characters escaped as =XX. Events go out in
/// the order of the lines; a message id made from source and id lets the stream recognise events
/// that it holds already. Prints how many were sent and acknowledged.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    nats: NatsArgs,

    /// Publish without JetStream: nobody says that anything arrived
    #[arg(long)]
    core: bool,

    /// At most so many events per second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// Print the counts as one JSON object
    #[arg(long)]
    json: bool,
}

/// Publishes stdin.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    args.form.check()?;
    let jetstream = args.nats.jetstream().await?;
    let from_terminal = std::io::stdin().is_terminal();
    if from_terminal {
        printer.note("reading events from the terminal, one JSON value per line; ctrl-d ends");
    }
    let mut publisher = Publisher::new(jetstream, args.core);
    let progress = printer.progress("events sent");
    let ended = publish(args, &mut publisher, printer, &progress).await;
    progress.finish_and_clear();
    for refusal in publisher.take_refused() {
        printer.error(&refusal);
    }
    let tally = publisher.tally;
    if from_terminal && tally == Tally::default() && ended.is_ok() {
        let failure = Failure::new("nothing to send").why("no line was written to stdin");
        let example = format!(
            "echo '{{\"id\":\"42\"}}' | syncline send {}",
            args.form.subject
        );
        return Err(failure.remedy(example).usage().into());
    }
    report(args, tally, printer)?;
    ended?;
    Ok(if tally.failed == 0 {
        Exit::Fine
    } else {
        Exit::NotFine
    })
}

async fn publish(
    args: &Args,
    publisher: &mut Publisher,
    printer: &Printer,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut lines = Lines::of_stdin();
    let mut pace = Pace::new(args.rate);
    while let Some(line) = lines.next().await? {
        match args.form.message(line) {
            Ok(message) => {
                pace.wait().await;
                publisher.send(message).await?;
                progress.inc(1);
            }
            Err(error) => publisher.refuse(error),
        }
        for refusal in publisher.take_refused() {
            progress.suspend(|| printer.error(&refusal));
        }
        // Where one is not taken, none is.
        if args.form.subject.is_fixed() && publisher.found_no_stream() {
            break;
        }
    }
    publisher.finish().await
}

fn report(args: &Args, tally: Tally, printer: &Printer) -> anyhow::Result<()> {
    if args.json {
        return printer.json(&tally);
    }
    let Tally {
        sent,
        acked,
        duplicates,
        failed,
    } = tally;
    let failed = if failed == 0 {
        String::new()
    } else {
        format!(", {failed} failed")
    };
    if args.core {
        return printer.line(&format!("sent {sent} without acknowledgement{failed}"));
    }
    printer.line(&format!(
        "sent {sent}, acked {acked} ({duplicates} duplicates){failed}"
    ))
}
