//! `syncline tx`: transactions that have not ended.

mod list;
mod resolve;
mod show;

use super::connection::{NatsArgs, while_it_answers};
use super::failure::{Exit, Failure};
use super::print::Printer;
use clap::Subcommand;
use syncline::txn::{State, Transactions};

/// Look at transactions that have not ended, and end those that only a person can end
///
/// Changes that can be taken back are made before a transaction is decided. Such a transaction is
/// PREPARING until then; whoever takes its partition over ends it. One that could not be taken back
/// whole, since somebody else had changed the same entity, is HEURISTIC until somebody resolves it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Resolve(resolve::Args),
}

/// Does what the subcommand says.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list::execute(args, printer).await,
        Command::Show(args) => show::execute(args, printer).await,
        Command::Resolve(args) => resolve::execute(args, printer).await,
    }
}

/// Does `work` with the transactions of the server; none: there is no stream of them, and none is
/// made.
async fn with_transactions(
    nats: &NatsArgs,
    work: impl AsyncFnOnce(Option<Transactions>) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let context = nats.jetstream().await?;
    let work = Box::pin(async {
        let transactions = Transactions::find(&context).await?;
        work(transactions).await
    });
    while_it_answers(&context, work).await
}

/// There is no transaction of that name.
fn none(attempted: &str, gid: &str) -> anyhow::Error {
    let failure = Failure::new(format!("cannot {attempted} the transaction `{gid}`"));
    let why = "there is none of that name: what has ended is kept for a minute";
    let failure = failure.why(why);
    failure.remedy("`syncline tx list` shows the names").into()
}

/// A state as it is written on the stream and shown.
fn word(state: State) -> &'static str {
    match state {
        State::Preparing => "PREPARING",
        State::Delegated => "DELEGATED",
        State::Done => "DONE",
        State::Filtered => "FILTERED",
        State::Dead => "DEAD",
        State::Parked => "PARKED",
        State::Aborted => "ABORTED",
        State::Heuristic => "HEURISTIC",
    }
}
