//! `syncline dlq`: the events that were given up.

mod pick;
mod purge;
mod replay;

use super::connection::{NatsArgs, while_it_answers};
use super::failure::{Exit, Failure};
use super::print::{Printer, cell};
use clap::Subcommand;
use pick::Filter;
use syncline::dead_letter::{DeadLetters, LetterSummary, Selection};

pub(super) use pick::point_in_time;

/// What `dlq list` shows of each.
const COLUMNS: [&str; 8] = [
    "id", "at", "reason", "key", "state", "type", "attempts", "error",
];

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
        state(letter),
        letter.event_type.as_deref().unwrap_or_default(),
        &letter.attempts.to_string(),
        &letter.error,
    ];
    let mut cells = cells.map(cell).to_vec();
    // Whole: it is what the other commands want.
    if let Some(id) = cells.first_mut() {
        id.clone_from(&letter.id);
    }
    cells
}

/// What it is to its key.
fn state(letter: &LetterSummary) -> &'static str {
    match (letter.holds_key, letter.waits()) {
        _ if letter.replayed => "",
        (true, true) => "waits",
        (true, false) => "holds",
        (false, _) => "",
    }
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
/// made.
async fn with_letters(
    nats: &NatsArgs,
    work: impl AsyncFnOnce(Option<DeadLetters>) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let context = nats.jetstream().await?;
    let work = Box::pin(async {
        let letters = DeadLetters::find(&context).await?;
        work(letters).await
    });
    while_it_answers(&context, work).await
}
