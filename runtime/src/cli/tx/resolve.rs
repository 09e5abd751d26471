//! `syncline tx resolve`: the end of a transaction that only a person can end.

use super::super::connection::NatsArgs;
use super::super::failure::{Exit, Failure};
use super::super::print::Printer;
use super::word;
use clap::ValueEnum;
use serde::Serialize;
use syncline::txn::{Resolved, State};

/// Say how a HEURISTIC transaction ended, after its targets were put right by hand
///
/// Nothing is changed at the targets: `tx show` says what each held before. The event itself was
/// tried again or became a dead letter: after `--as aborted` replay that one, after `--as done` purge
/// it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    /// The transaction, as `tx list` calls it
    gid: String,

    /// How it ended
    #[arg(long = "as", value_name = "END")]
    end: End,

    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    /// Print the new state as JSON
    #[arg(long)]
    json: bool,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum End {
    /// Its changes stand in every target
    Done,
    /// They stand in none
    Aborted,
}

#[derive(Serialize)]
struct Ended<'a> {
    gid: &'a str,
    state: State,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let state = match args.end {
        End::Done => State::Done,
        End::Aborted => State::Aborted,
    };
    super::with_transactions(&args.nats, async |transactions| {
        let gid = args.gid.as_str();
        let resolved = match transactions {
            Some(transactions) => transactions.resolve(gid, state, args.note.clone()).await?,
            None => Resolved::Unknown,
        };
        match resolved {
            Resolved::Yes if args.json => printer.json(&Ended { gid, state })?,
            Resolved::Yes => printer.line(&format!("{gid} is {}", word(state)))?,
            Resolved::Unknown => return Err(super::none("resolve", gid)),
            Resolved::No(found) => return Err(waits_for_nobody(gid, found).into()),
        }
        Ok(Exit::Fine)
    })
    .await
}

fn waits_for_nobody(gid: &str, found: State) -> Failure {
    let failure = Failure::new(format!("cannot resolve the transaction `{gid}`"));
    let failure = failure.why(format!("it is {}, not HEURISTIC", word(found)));
    failure.remedy(match found {
        State::Preparing => {
            "leave it to whoever runs the pipeline: it is ended when its partition is taken over"
        }
        _ => "nothing: it has ended",
    })
}
