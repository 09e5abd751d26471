//! `syncline dlq`: the events that were given up.

mod pick;
mod purge;
mod replay;

use super::connection::NatsArgs;
use super::failure::{Exit, Failure};
use super::print::Printer;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use clap::Subcommand;
use pick::Filter;
use std::time::Duration;
use syncline::dead_letter::{DeadLetters, LetterSummary, Selection};

/// How long a server that failed an answer may take to show that it is there.
const STILL_THERE: Duration = Duration::from_secs(2);

/// What `dlq list` shows of each.
const COLUMNS: [&str; 7] = ["id", "at", "reason", "key", "type", "attempts", "error"];
/// The longest text in one cell.
const LONGEST_CELL: usize = 60;

/// Look at dead letters, handle them again, delete them: events that will not be tried again by
/// themselves
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Replay(replay::Args),
    Purge(purge::Args),
}

/// List dead letters, oldest first: those that wait to be replayed
#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    nats: NatsArgs,

    #[command(flatten)]
    filter: Filter,

    /// Those that were replayed, in place of those that wait
    #[arg(long)]
    replayed: bool,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    /// Print one JSON object per dead letter
    #[arg(long)]
    json: bool,
}

/// Show one dead letter whole: the event as it came, every failure, the plugins that ran
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    nats: NatsArgs,

    /// The dead letter, as `dlq list` calls it
    id: String,

    /// Print one JSON object on one line
    #[arg(long)]
    json: bool,
}

/// Does what the subcommand says.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list(args, printer).await,
        Command::Show(args) => show(args, printer).await,
        Command::Replay(args) => replay::execute(args, printer).await,
        Command::Purge(args) => purge::execute(args, printer).await,
    }
}

async fn list(args: &ListArgs, printer: &Printer) -> anyhow::Result<Exit> {
    with_letters(&args.nats, async |letters| {
        list_of(letters, args, printer).await
    })
    .await
}

async fn list_of(
    letters: Option<DeadLetters>,
    args: &ListArgs,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    let selection = Selection {
        replayed: args.replayed,
        limit: Some(args.limit),
        ..args.filter.selection()
    };
    let found = match letters {
        Some(letters) => letters.list(&selection).await?,
        None => Vec::new(),
    };
    print(&found, args.json, printer)?;
    if found.len() == args.limit && !args.json {
        printer.note(&format!(
            "only the first {} are shown: --limit N shows more",
            args.limit
        ));
    }
    Ok(Exit::Fine)
}

fn print(letters: &[LetterSummary], json: bool, printer: &Printer) -> anyhow::Result<()> {
    if json {
        return letters.iter().try_for_each(|letter| printer.json(letter));
    }
    if letters.is_empty() {
        return printer.line("no dead letters");
    }
    let rows: Vec<_> = letters.iter().map(row).collect();
    printer.table(&COLUMNS, &rows)
}

fn row(letter: &LetterSummary) -> Vec<String> {
    let cells: [&str; COLUMNS.len()] = [
        &letter.id,
        &letter.at,
        letter.reason.as_str(),
        &letter.key,
        letter.event_type.as_deref().unwrap_or_default(),
        &letter.attempts.to_string(),
        &letter.error,
    ];
    cells.map(cell).to_vec()
}

async fn show(args: &ShowArgs, printer: &Printer) -> anyhow::Result<Exit> {
    with_letters(&args.nats, async |letters| {
        show_of(letters, args, printer).await
    })
    .await
}

async fn show_of(
    letters: Option<DeadLetters>,
    args: &ShowArgs,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    let found = match letters {
        Some(letters) => letters.get(&args.id).await?,
        None => None,
    };
    let Some(letter) = found else {
        let failure = Failure::new(format!("cannot show dead letter `{}`", args.id));
        let failure = failure.why("there is none with that id");
        return Err(failure.remedy("`syncline dlq list` shows the ids").into());
    };
    if args.json {
        printer.json(&letter)?;
    } else {
        printer.line(&serde_json::to_string_pretty(&letter)?)?;
    }
    Ok(Exit::Fine)
}

/// Does `work` with the dead letters of the server; none: there is no stream of them, and none is
/// made. A server that goes meanwhile is one that cannot be reached.
async fn with_letters(
    nats: &NatsArgs,
    work: impl AsyncFnOnce(Option<DeadLetters>) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let context = nats.jetstream().await?;
    let done = async {
        let letters = DeadLetters::find(&context).await?;
        work(letters).await
    };
    match Box::pin(done).await {
        Err(error) if Exit::of(&error) == Exit::NotFine && !answers(&context).await => {
            let failure = Failure::new("NATS does not answer any more").because(error);
            let remedy = "ask again once it is back: what was done is done once";
            Err(failure.remedy(remedy).unreachable().into())
        }
        done => done,
    }
}

/// Whether the server still answers.
async fn answers(context: &Context) -> bool {
    let answered = tokio::time::timeout(STILL_THERE, context.query_account()).await;
    context.client().connection_state() == State::Connected && answered.is_ok()
}

/// A text as one cell: one line, not longer than a terminal can show.
fn cell(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST_CELL {
        return line.to_owned();
    }
    line.chars().take(LONGEST_CELL).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(cell("a\nb"), "a");
        assert_eq!(cell(&"x".repeat(61)).chars().count(), 61);
        assert_eq!(cell(""), "");
    }
}
