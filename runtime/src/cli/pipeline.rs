//! `syncline pipeline`: what runs, and whether it takes events.

mod list;
mod seen;
mod turn;

use super::failure::Exit;
use super::print::Printer;
use clap::Subcommand;

/// See what runs, how far it is, and who runs it; pause it and let it go on
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    /// Take no new events: those at work end. It holds for every runtime, over restarts, and for
    /// replays
    Pause(turn::Args),
    /// Take events again, from where the pipeline was paused
    Resume(turn::Args),
}

/// Does what the subcommand says.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list::execute(args, printer).await,
        Command::Pause(args) => turn::execute(args, true, printer).await,
        Command::Resume(args) => turn::execute(args, false, printer).await,
    }
}
