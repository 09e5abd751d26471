//! `syncline dev`: `run` for whoever writes plugins, with a server and builds of its own.

use super::connection::ConfigArgs;
use super::failure::{Exit, Failure};
use super::logging;
use super::print::Printer;
use super::rebuild::Projects;
use super::run;
use super::server::{self, Address, Server};
use super::signals::Signals;
use std::path::{Path, PathBuf};
use syncline::config::{Config, without_user};
use syncline::shutdown::Shutdown;

/// Run like `run`, with a nats-server of its own and plugins rebuilt when their sources change
///
/// When nothing answers at the configured NATS URL and that is this machine, a nats-server with
/// JetStream is started there and ended again at the end; its data stays in the store. Plugins
/// whose component lies in a plugin project are built when the component is missing or older than
/// the sources, and again whenever a source changes; the running pipelines then swap the new
/// version in.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    logging: logging::LogArgs,

    /// The nats-server program to start [default: $SYNCLINE_NATS_SERVER, else the one on PATH]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,

    /// Where that server keeps its streams [default: .syncline/nats beside the configuration]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Starts what is missing, runs, and reports.
pub(super) async fn execute(args: Args, printer: &Printer) -> anyhow::Result<Exit> {
    logging::start(&args.logging)?;
    let config = args.config.load()?;
    let projects = Projects::of(&config, &args.config.config)?;
    let mut signals = Signals::listen()?;
    let shutdown = Shutdown::new();
    let prepared = signals
        .during(&shutdown, prepare(&args, &config, &projects, &shutdown))
        .await?;
    let Some(server) = prepared? else {
        return Ok(Exit::Fine);
    };
    let work = async {
        tokio::select! {
            summary = run::run(config, shutdown.clone()) => summary,
            // Ends only with the other.
            summary = rebuild(&projects) => summary,
        }
    };
    let ended = Box::pin(signals.during(&shutdown, work)).await;
    if let Some(server) = server {
        server.end().await;
    }
    run::report(&ended??, args.json, printer)
}

/// Builds and starts what is missing; the outer `None`: asked to end before all was there.
async fn prepare(
    args: &Args,
    config: &Config,
    projects: &Projects,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Option<Server>>> {
    let work = async {
        projects.build_stale().await?;
        server(args, config).await
    };
    tokio::select! {
        prepared = work => prepared.map(Some),
        () = shutdown.begun() => Ok(None),
    }
}

/// The server that has to be started, if one has to.
async fn server(args: &Args, config: &Config) -> anyhow::Result<Option<Server>> {
    let mut addresses = config.nats.urls.iter().filter_map(|url| Address::of(url));
    for address in addresses.clone() {
        if address.answers().await {
            return Ok(None);
        }
    }
    let Some(address) = addresses.find(Address::is_loopback) else {
        let urls: Vec<_> = config
            .nats
            .urls
            .iter()
            .map(|url| without_user(url))
            .collect();
        let failure = Failure::new(format!("cannot reach NATS at {}", urls.join(", ")));
        let failure = failure.why("nothing answers, and it is not on this machine to be started");
        let remedy = "start that server, or set `url = \"nats://127.0.0.1:4222\"` under [nats]";
        return Err(failure.remedy(remedy).unreachable().into());
    };
    let program = server::find(args.nats_server.as_deref())?;
    let beside = args.config.config.parent().unwrap_or(Path::new(""));
    let store = args
        .store
        .clone()
        .unwrap_or_else(|| beside.join(".syncline").join("nats"));
    let server = Server::start(program, &address, &store).await?;
    tracing::info!(%address, store = %store.display(), "started a nats-server");
    Ok(Some(server))
}

async fn rebuild<T>(projects: &Projects) -> T {
    projects.rebuild_on_change().await;
    std::future::pending().await
}
