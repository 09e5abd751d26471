//! `syncline call`: events on stdin, verdicts on stdout.

use super::case::Surroundings;
use super::component::{self, Lone};
use super::event_line;
use super::failure::{Exit, Failure};
use super::lines::{Line, Lines};
use super::print::{Printer, Stream};
use serde_json::{Map, Value};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use syncline::event::{Envelope, KeySpec};

/// Ask one plugin about events, offline: NDJSON CloudEvents on stdin, NDJSON verdicts on stdout
///
/// Each line of stdin is one CloudEvent in the JSON format; each line of stdout is the verdict on
/// it, in the same order, as soon as it is there. The plugin runs in the real host with everything
/// granted that its manifest asks for; state, lookups and secrets are in memory. A line that is no
/// event is reported on stderr with its number and skipped; the exit code is then 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,

    /// The plugin's configuration, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,

    /// What the plugin finds around it: a JSON file with `entities`, `state` and `secrets` as in a
    /// case
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,

    /// What events are ordered by, as in the configuration: `json:/id`, `header:NAME`,
    /// `subject:N` [default: the event's id]
    #[arg(long, value_name = "KEY")]
    key: Option<KeySpec>,

    /// The NATS subject that the events seem to come from
    #[arg(long, value_name = "SUBJECT", default_value = "test")]
    address: String,
}

/// Answers every event of stdin.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let settings = settings(&args.config)?;
    let world = match &args.world {
        Some(file) => surroundings(file)?.world(settings),
        None => Surroundings::default().world(settings),
    };
    let engine = component::engine()?;
    let component = component::load(&engine, &args.file).await?;
    let plugin = Lone::start(&engine, &component, world).await?;
    if std::io::stdin().is_terminal() {
        printer
            .note("reading CloudEvents from the terminal, one JSON object per line; ctrl-d ends");
    }
    let mut lines = Lines::of_stdin();
    let mut answers = Stream::new();
    let mut exit = Exit::Fine;
    while let Some(line) = lines.next().await? {
        if let Err(error) = answer(args, &plugin, line, &mut answers).await? {
            answers.flush()?;
            printer.error(&error);
            exit = Exit::NotFine;
        }
        if !lines.has_next() {
            answers.flush()?;
        }
    }
    answers.flush()?;
    Ok(exit)
}

/// Answers one line. The inner error is the line's, the outer one ends everything.
async fn answer(
    args: &Args,
    plugin: &Lone<'_>,
    line: Line,
    answers: &mut Stream,
) -> anyhow::Result<anyhow::Result<()>> {
    let number = line.number;
    let envelope = match envelope(args, line) {
        Ok(envelope) => envelope,
        Err(error) => return Ok(Err(error)),
    };
    match plugin.answer(&envelope, 1).await {
        Ok(answer) => {
            answers.json(&answer.with_id(&envelope.event.id))?;
            Ok(Ok(()))
        }
        Err(fault) => {
            let attempted = format!("line {number}: the plugin could not be asked");
            Ok(Err(Failure::new(attempted).because(fault).into()))
        }
    }
}

fn envelope(args: &Args, line: Line) -> anyhow::Result<Envelope> {
    let number = line.number;
    let failure = || Failure::new(format!("line {number} of stdin is no event"));
    let Some(content) = line.content else {
        return Err(failure().why("it is longer than 64 MiB").into());
    };
    let event = event_line::strict(&content).map_err(|error| {
        failure()
            .because(error)
            .remedy("write a CloudEvent 1.0 in the JSON format, on one line")
    })?;
    let key = args
        .key
        .as_ref()
        .and_then(|spec| spec.derive(&args.address, &event.event, &event.data));
    let key = key.as_ref().map(syncline::event::OrderingKey::as_str);
    Ok(event.envelope(&args.address, number, key))
}

fn settings(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(format!("cannot use `--config {text}`"))
            .because(error)
            .remedy("write a JSON object, as in --config '{\"region\":\"eu\"}'")
            .usage()
            .into()
    })
}

fn surroundings(file: &Path) -> anyhow::Result<Surroundings> {
    let failure = || Failure::new(format!("cannot use the world `{}`", file.display())).usage();
    let text = std::fs::read(file).map_err(|error| failure().because(error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| failure().because(error))?)
}
