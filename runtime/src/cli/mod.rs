//! What a developer can type. This folder alone prints, exits, and reads arguments and environment;
//! it sees the library's public doors only.

mod backfill;
mod bench;
mod build;
mod call;
mod case;
mod component;
mod connection;
mod contract;
mod dev;
mod diff;
mod dlq;
mod embedded;
mod environment;
mod event_line;
mod failure;
mod inspect;
mod lines;
mod logging;
mod message;
mod new;
mod pace;
mod pipeline;
mod place;
mod print;
mod project;
mod publish;
mod rebuild;
mod run;
mod send;
mod server;
mod signals;
mod subject;
mod telling;
mod test;
mod tx;
mod validate;
mod verdict;
mod wiring;

use clap::{Parser, Subcommand};
use failure::Exit;
use print::Printer;
use std::process::ExitCode;

/// Keep the modules of a platform in step: events from NATS, through sandboxed WebAssembly plugins,
/// into target modules
#[derive(Debug, Parser)]
#[command(name = "syncline", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 fine; 1 the thing asked about is not fine; 2 usage, or a broken configuration;
3 a server cannot be reached.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Dev(dev::Args),
    New(new::Args),
    Build(build::Args),
    Test(test::Args),
    Call(call::Args),
    Inspect(inspect::Args),
    Validate(validate::Args),
    Send(send::Args),
    Pipeline(pipeline::Args),
    Dlq(dlq::Args),
    Tx(tx::Args),
    Contract(contract::Args),
    Diff(diff::Args),
    Backfill(backfill::Args),
    Bench(bench::Args),
}

/// Parses the arguments, does what they say, and reports how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" to clap, with exit code 0. A reader that is gone
            // changes nothing.
            let _reader_gone = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&anyhow::Error::new(error).context("cannot start the async runtime"));
            return Exit::NotFine.into();
        }
    };
    let result = runtime.block_on(cli.command.execute(&printer));
    // A thread may still be blocked in reading the terminal: nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(error) if print::reader_is_gone(&error) => Exit::Fine.into(),
        Err(error) => {
            printer.error(&error);
            Exit::of(&error).into()
        }
    }
}

impl Command {
    async fn execute(self, printer: &Printer) -> anyhow::Result<Exit> {
        match self {
            Self::Run(args) => Box::pin(run::execute(args, printer)).await,
            Self::Dev(args) => Box::pin(dev::execute(args, printer)).await,
            Self::New(args) => new::execute(&args, printer),
            Self::Build(args) => build::execute(&args, printer).await,
            Self::Test(args) => Box::pin(test::execute(&args, printer)).await,
            Self::Call(args) => Box::pin(call::execute(&args, printer)).await,
            Self::Inspect(args) => Box::pin(inspect::execute(&args, printer)).await,
            Self::Validate(args) => Box::pin(validate::execute(&args, printer)).await,
            Self::Send(args) => Box::pin(send::execute(&args, printer)).await,
            Self::Pipeline(args) => Box::pin(pipeline::execute(&args, printer)).await,
            Self::Dlq(args) => Box::pin(dlq::execute(&args, printer)).await,
            Self::Tx(args) => Box::pin(tx::execute(&args, printer)).await,
            Self::Contract(args) => Box::pin(contract::execute(&args, printer)).await,
            Self::Diff(args) => Box::pin(diff::execute(&args, printer)).await,
            Self::Backfill(args) => Box::pin(backfill::execute(&args, printer)).await,
            Self::Bench(args) => Box::pin(bench::execute(&args, printer)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
