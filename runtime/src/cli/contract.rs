//! `syncline contract`: what target modules take and give.

mod check;
mod list;

use super::failure::Exit;
use super::print::Printer;
use clap::Subcommand;

/// Show the contracts of targets, and tell what a later version of one breaks
///
/// A contract is a file: a name, a major version, and for each kind of entity a JSON Schema, its key,
/// its etags and its operations. A target names it as `contract` in the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Check(check::Args),
}

/// Does what the subcommand says.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list::execute(args, printer).await,
        Command::Check(args) => check::execute(args, printer),
    }
}
