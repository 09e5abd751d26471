//! `syncline pipeline pause` and `resume`: the wish, and whether the runtimes follow it.

use super::super::connection::NatsArgs;
use super::super::failure::{Exit, Failure};
use super::super::print::Printer;
use super::seen::{self, Seen};
use async_nats::jetstream::Context;
use std::time::Duration;
use syncline::control::{PipelineState, Wishes};
use syncline::provision::Provision;
use tokio::time::Instant;

/// How long the runtimes may take to follow.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    /// The pipeline
    #[arg(value_name = "NAME")]
    pipeline: String,

    /// Print one JSON object, as `pipeline list` does
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(args: &Args, paused: bool, printer: &Printer) -> anyhow::Result<Exit> {
    let context = args.nats.jetstream().await?;
    let name = &args.pipeline;
    let pipelines = seen::look(&context).await?;
    if !pipelines.iter().any(|seen| seen.pipeline == *name) {
        return Err(unknown(name, paused, &pipelines).into());
    }
    let wishes = Wishes::open(&context, &Provision::default()).await?;
    wishes.set_paused(name, paused).await?;
    let Some(seen) = followed(&context, name, paused).await? else {
        return Ok(Exit::Fine);
    };
    if args.json {
        printer.json(&seen)?;
    } else {
        printer.line(&format!("{name}: {}", seen.state))?;
    }
    let n_behind = seen.runtimes.iter().filter(|h| !follows(h.state, paused));
    let n_behind = n_behind.count();
    if n_behind > 0 {
        printer.note(&format!(
            "{n_behind} of {} runtimes do not say so yet: the wish is kept, and `syncline pipeline \
             list` shows when they follow",
            seen.runtimes.len()
        ));
    } else if paused && seen.in_flight > 0 {
        printer.note(&format!("{} events are at work and end", seen.in_flight));
    }
    Ok(Exit::Fine)
}

/// The pipeline, as soon as every runtime that runs it follows, or when that takes too long.
async fn followed(context: &Context, name: &str, paused: bool) -> anyhow::Result<Option<Seen>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pipelines = seen::look(context).await?;
        let seen = pipelines.into_iter().find(|seen| seen.pipeline == name);
        let is_there = |seen: &Seen| {
            let all = seen.runtimes.iter().all(|h| follows(h.state, paused));
            // Without events at work it takes a moment; with them, as long as they take.
            all && (!paused || seen.state != "pausing" || seen.in_flight > 0)
        };
        if seen.as_ref().is_none_or(is_there) || Instant::now() > deadline {
            return Ok(seen);
        }
    }
}

fn follows(state: PipelineState, paused: bool) -> bool {
    match state {
        PipelineState::Running => !paused,
        PipelineState::Pausing | PipelineState::Paused => paused,
        PipelineState::Stopped | PipelineState::Draining => true,
    }
}

fn unknown(name: &str, paused: bool, pipelines: &[Seen]) -> Failure {
    let verb = if paused { "pause" } else { "resume" };
    let failure = Failure::new(format!("cannot {verb} pipeline `{name}`"));
    let failure = failure.why(
        "no runtime that answers runs it, no stream has a consumer of it, and it is not paused",
    );
    if pipelines.is_empty() {
        return failure.remedy(
            "there are no pipelines on this server: is it the right one? -c FILE or --nats URL \
             names another",
        );
    }
    let names: Vec<_> = pipelines
        .iter()
        .map(|seen| seen.pipeline.as_str())
        .collect();
    failure.remedy(format!("pipelines on this server: {}", names.join(", ")))
}
