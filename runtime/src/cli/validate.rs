//! `syncline validate`: everything that is wrong with a configuration, at once.

use super::connection::{self, ConfigArgs};
use super::environment;
use super::failure::{Exit, Failure};
use super::place;
use super::print::Printer;
use super::run;
use serde::Serialize;
use std::path::Path;
use syncline::app;
use syncline::config::{Config, Problem, Problems};

/// Check a configuration with its plugins and targets, and report every problem with its place
///
/// Checks the file, then that each plugin's component loads, fits the contract, gets what it wants
/// and accepts its `config`, and that the targets it names exist. Nothing is connected to unless
/// `--connect` is given. Exit code 1 when there is a problem.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Also check on the server that streams and buckets exist or may be made
    #[arg(long)]
    connect: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    ok: bool,
    problems: Vec<Problem>,
}

/// Checks and reports.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let file = args.config.config.as_path();
    if !file.is_file() {
        let failure = Failure::new(format!("cannot check `{}`", file.display()));
        let failure = failure
            .why("there is no such file")
            .remedy("name it with `-c FILE`");
        return Err(failure.usage().into());
    }
    let config = match Config::load(file, &environment::any) {
        Ok(config) => config,
        Err(problems) => return report(file, problems.list, args.json, printer),
    };
    // Whether anybody answers is another question than what is wrong.
    let connected = match args.connect {
        true => connection::connect(&config.nats).await.map(Some),
        false => Ok(None),
    };
    let connect = matches!(connected, Ok(Some(_)));
    let mut problems = Box::pin(app::validate(&config, &run::options(), connect)).await;
    let text = std::fs::read_to_string(file).unwrap_or_default();
    place::fill_in(&mut problems, &text);
    let exit = report(file, problems, args.json, printer)?;
    connected.map(|_| exit)
}

fn report(
    file: &Path,
    problems: Vec<Problem>,
    json: bool,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    let ok = problems.is_empty();
    if json {
        printer.json(&Report { file, ok, problems })?;
    } else if ok {
        printer.line(&format!("{}: ok", file.display()))?;
    } else {
        let (file, list) = (file.to_owned(), problems);
        printer.line(&Problems { file, list }.to_string())?;
    }
    Ok(if ok { Exit::Fine } else { Exit::NotFine })
}
