//! `syncline dlq purge`: dead letters that nobody needs any more.

use super::super::connection::NatsArgs;
use super::super::failure::Exit;
use super::super::print::Printer;
use super::pick::Pick;
use serde::Serialize;
use std::collections::BTreeMap;
use syncline::dead_letter::{DeadLetters, LetterSummary};

/// Delete dead letters for good
///
/// Those that wait to be replayed, or with --replayed those that were: of these only the ones that
/// their pipeline has handled, since a replay needs its letter until then.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    #[command(flatten)]
    pick: Pick,

    /// Those that were replayed, in place of those that wait
    #[arg(long)]
    replayed: bool,

    /// List what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the counts, or with --dry-run the dead letters, as JSON
    #[arg(long)]
    json: bool,
}

/// What became of them.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Tally {
    /// Deleted.
    purged: usize,
    /// Kept, since their replay is still to be handled.
    needed: usize,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    super::with_letters(&args.nats, async |letters| {
        purge(letters, args, printer).await
    })
    .await
}

async fn purge(
    letters: Option<DeadLetters>,
    args: &Args,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    let mut found = args.pick.find(letters.as_ref(), args.replayed).await?;
    let n_found = found.len();
    let handled = match &letters {
        Some(letters) => handled(letters, &found).await?,
        None => BTreeMap::new(),
    };
    found.retain(|letter| !is_needed(letter, &handled));
    if args.dry_run {
        super::print(&found, args.json, printer)?;
        return Ok(Exit::Fine);
    }
    let progress = printer.progress("dead letters deleted");
    progress.set_length(u64::try_from(found.len())?);
    let mut tally = Tally {
        needed: n_found - found.len(),
        ..Tally::default()
    };
    if let Some(letters) = letters {
        // What waits goes before what it waits for: else that would let it go.
        found.sort_by_key(LetterSummary::order);
        for letter in found.iter().rev() {
            tally.purged += usize::from(letters.purge(letter).await?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    if args.json {
        printer.json(&tally)?;
    } else {
        let needed = match tally.needed {
            0 => String::new(),
            needed => format!(", kept {needed} whose replay is still to be handled"),
        };
        printer.line(&format!("deleted {}{needed}", tally.purged))?;
    }
    Ok(Exit::Fine)
}

/// For each pipeline, up to where the requests for replays have been handled.
async fn handled(
    letters: &DeadLetters,
    found: &[LetterSummary],
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut handled = BTreeMap::new();
    for letter in found.iter().filter(|letter| letter.replayed) {
        if !handled.contains_key(&letter.pipeline) {
            let up_to = letters.handled(&letter.pipeline).await?;
            handled.insert(letter.pipeline.clone(), up_to);
        }
    }
    Ok(handled)
}

fn is_needed(letter: &LetterSummary, handled: &BTreeMap<String, u64>) -> bool {
    let handled = handled.get(&letter.pipeline).copied().unwrap_or_default();
    letter.request.is_some_and(|request| request > handled)
}
