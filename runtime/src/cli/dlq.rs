//! `syncline dlq`: the events that were given up.

use super::connection::NatsArgs;
use super::failure::{Exit, Failure};
use super::print::Printer;
use clap::Subcommand;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as ValueError;
use std::time::SystemTime;
use syncline::dead_letter::{DeadLetters, LetterSummary, Selection};
use syncline::event::DeadReason;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What `dlq list` shows of each.
const COLUMNS: [&str; 7] = ["id", "at", "reason", "key", "type", "attempts", "error"];
/// The longest text in one cell.
const LONGEST_CELL: usize = 60;

/// Look at dead letters: events that will not be tried again by themselves
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
}

/// List dead letters, oldest first
#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    nats: NatsArgs,

    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,

    /// Only with this ordering key
    #[arg(long)]
    key: Option<String>,

    /// Only given up for this reason: invalid, reject, trap, bad-answer, refused, conflict,
    /// exhausted
    #[arg(long, value_parser = reason)]
    reason: Option<DeadReason>,

    /// Only given up at or after this time: RFC 3339, or how long ago, as in `2h`
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<OffsetDateTime>,

    /// Only given up before this time: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<OffsetDateTime>,

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
    }
}

async fn list(args: &ListArgs, printer: &Printer) -> anyhow::Result<Exit> {
    let letters = open(&args.nats).await?;
    let selection = Selection {
        pipeline: args.pipeline.clone(),
        key: args.key.clone(),
        reason: args.reason,
        since: args.since,
        until: args.until,
        limit: Some(args.limit),
    };
    let found = letters.list(&selection).await?;
    if args.json {
        for letter in &found {
            printer.json(letter)?;
        }
        return Ok(Exit::Fine);
    }
    if found.is_empty() {
        printer.line("no dead letters")?;
        return Ok(Exit::Fine);
    }
    let rows: Vec<_> = found.iter().map(row).collect();
    printer.table(&COLUMNS, &rows)?;
    if found.len() == args.limit {
        printer.note(&format!(
            "only the first {} are shown: --limit N shows more",
            args.limit
        ));
    }
    Ok(Exit::Fine)
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
    let letters = open(&args.nats).await?;
    let Some(letter) = letters.get(&args.id).await? else {
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

async fn open(nats: &NatsArgs) -> anyhow::Result<DeadLetters> {
    Ok(DeadLetters::open(&nats.jetstream().await?).await?)
}

/// A text as one cell: one line, not longer than a terminal can show.
fn cell(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST_CELL {
        return line.to_owned();
    }
    line.chars().take(LONGEST_CELL).chain(['…']).collect()
}

fn reason(text: &str) -> Result<DeadReason, String> {
    DeadReason::deserialize(text.into_deserializer()).map_err(|error: ValueError| error.to_string())
}

/// A point in time: RFC 3339, or how long ago.
fn point_in_time(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let point = SystemTime::now().checked_sub(ago);
        return point
            .map(Into::into)
            .ok_or_else(|| "that is too long ago".to_owned());
    }
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        "neither a time like 2026-01-31T12:00:00Z nor a duration like `2h` ago".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_how_long_ago() {
        let point = point_in_time("2026-01-31T12:00:00+01:00").unwrap();
        assert_eq!(point.unix_timestamp(), 1_769_857_200);
        let ago = OffsetDateTime::now_utc() - point_in_time("2h").unwrap();
        assert!(ago.whole_minutes() >= 119, "{ago}");
        assert!(point_in_time("yesterday").is_err());
    }

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(cell("a\nb"), "a");
        assert_eq!(cell(&"x".repeat(61)).chars().count(), 61);
        assert_eq!(cell(""), "");
    }

    #[test]
    fn reasons_are_those_of_dead_letters() {
        assert_eq!(reason("bad-answer"), Ok(DeadReason::BadAnswer));
        assert!(reason("boredom").unwrap_err().contains("exhausted"));
    }
}
