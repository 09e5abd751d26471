//! `syncline dlq replay`: events that were given up, handled again.

use super::super::connection::NatsArgs;
use super::super::failure::Exit;
use super::super::pace::{Pace, rate};
use super::super::print::Printer;
use super::pick::Pick;
use serde::Serialize;
use std::collections::HashMap;
use syncline::dead_letter::{DeadLetters, LetterSummary, Replayed};

/// Hand dead letters to their pipelines again, oldest first
///
/// Each goes to its own pipeline alone, which handles it as it handles other events, in the order of
/// its key, as soon as it runs. Effects that targets had accepted are left out. A letter is replayed
/// once, however often and from wherever this is asked: begun again after it was interrupted, it
/// goes on with what is left. An event that fails again becomes a new dead letter.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    #[command(flatten)]
    pick: Pick,

    /// Send all effects, those as well that targets had accepted
    #[arg(long)]
    all: bool,

    /// At most so many per second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// List what would be replayed, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the counts, or with --dry-run the dead letters, as JSON
    #[arg(long)]
    json: bool,
}

/// How many were replayed.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Tally {
    /// By this command.
    replayed: usize,
    /// By another, meanwhile.
    before: usize,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    super::with_letters(&args.nats, async |letters| {
        replay(letters, args, printer).await
    })
    .await
}

async fn replay(
    letters: Option<DeadLetters>,
    args: &Args,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    let mut found = args.pick.find(letters.as_ref(), false).await?;
    // What failed again has a later letter than what waits behind it.
    found.sort_by_key(LetterSummary::order);
    if args.dry_run {
        super::print(&found, args.json, printer)?;
        return Ok(Exit::Fine);
    }
    let progress = printer.progress("dead letters replayed");
    progress.set_length(u64::try_from(found.len())?);
    let mut tally = Tally::default();
    let mut pace = Pace::new(args.rate);
    if let Some(letters) = letters {
        for letter in newest_of_each(&found) {
            pace.wait().await;
            match letters.replay(letter, args.all).await? {
                Replayed::Now => tally.replayed += 1,
                Replayed::Before | Replayed::Closed => tally.before += 1,
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    report(tally, args.json, printer)?;
    Ok(Exit::Fine)
}

/// One letter for each event: an event that was given up twice is handled again once.
fn newest_of_each(letters: &[LetterSummary]) -> impl Iterator<Item = &LetterSummary> {
    let each = letters.iter().map(|letter| (&letter.id, letter.sequence));
    // Oldest first, so the newest of an id is what remains.
    let newest: HashMap<_, _> = each.collect();
    letters
        .iter()
        .filter(move |letter| newest.get(&letter.id) == Some(&letter.sequence))
}

fn report(tally: Tally, json: bool, printer: &Printer) -> anyhow::Result<()> {
    if json {
        return printer.json(&tally);
    }
    let Tally { replayed, before } = tally;
    let before = match before {
        0 => String::new(),
        before => format!(", {before} had been replayed by another"),
    };
    printer.line(&format!("replayed {replayed}{before}"))
}
