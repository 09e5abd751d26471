//! Log lines of `run` and `dev`: to stderr, as text or JSON.

use super::environment;
use super::failure::Failure;
use clap::ValueEnum;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// How much is logged and in which form.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// What to log, as levels by module: `info`, `debug`, `syncline=debug,async_nats=warn`
    #[arg(
        long,
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info,async_nats=warn"
    )]
    log: String,

    /// How log lines are written to stderr
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends what the library traces to stderr.
///
/// # Errors
/// When the filter is not one.
pub(super) fn start(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        Failure::new(format!("cannot log by the filter `{}`", args.log))
            .because(error)
            .remedy("write a level, or levels by module: `info` or `syncline=debug,warn`")
            .usage()
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !environment::no_color());
    let started = match args.log_format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
