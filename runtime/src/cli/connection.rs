//! Which configuration and which NATS server a command works with.

use super::environment;
use super::failure::{Exit, Failure};
use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use syncline::app::{self, AppError};
use syncline::config::{Config, DEFAULT_FILE, Nats, Problems};

/// How long a server that failed an answer may take to show that it is there.
const STILL_THERE: Duration = Duration::from_secs(2);

/// The configuration file of a command that needs one.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub(super) config: PathBuf,
}

/// The server of a command that only talks to NATS.
#[derive(Debug, clap::Args)]
pub(super) struct NatsArgs {
    /// Take the server from this configuration file
    #[arg(short, long = "config", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The server's URL [default: $NATS_URL, else what ./syncline.toml says, else
    /// nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    nats: Option<String>,
}

impl ConfigArgs {
    /// The configuration, checked.
    ///
    /// # Errors
    /// Every problem of the file.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        load(&self.config)
    }
}

impl NatsArgs {
    /// A connection to the server's JetStream.
    ///
    /// # Errors
    /// When it does not answer, or the configuration that should name it is broken.
    pub(super) async fn jetstream(&self) -> anyhow::Result<Context> {
        let nats = self.nats()?;
        let client = connect(&nats).await?;
        Ok(app::jetstream(&nats, client))
    }

    fn nats(&self) -> anyhow::Result<Nats> {
        if let Some(file) = &self.config {
            return Ok(load(file)?.nats);
        }
        if let Some(url) = self.nats.clone().or_else(environment::nats_url) {
            return Ok(Nats {
                urls: vec![url],
                ..Nats::default()
            });
        }
        let file = Path::new(DEFAULT_FILE);
        if file.is_file() {
            return Ok(load(file)?.nats);
        }
        Ok(Nats::default())
    }
}

/// A connection to the server.
///
/// # Errors
/// When it does not answer.
pub(super) async fn connect(nats: &Nats) -> anyhow::Result<Client> {
    app::connect(nats)
        .await
        .map_err(|error| match failed(error) {
            Ok(failure) => failure.into(),
            Err(other) => other.into(),
        })
}

/// What to say of a connection that did not come about; other errors come back as they are.
pub(super) fn failed(error: AppError) -> Result<Failure, AppError> {
    match error {
        AppError::Unreachable { urls, cause } => Ok(no_answer(&urls, cause)),
        AppError::Refused {
            urls,
            fault,
            remedy,
            ..
        } => {
            let failure = Failure::new(format!("cannot connect to NATS at {urls}"));
            Ok(failure.why(fault).remedy(remedy).unreachable())
        }
        other => Err(other),
    }
}

/// A server that does not answer.
fn no_answer(urls: &str, cause: String) -> Failure {
    let failure = Failure::new(format!("cannot reach NATS at {urls}")).why(cause);
    let remedy = "start the server (`syncline dev` brings its own), or name another: `url` under \
                  [nats] in the configuration, or `--nats`";
    failure.remedy(remedy).unreachable()
}

/// What `work` comes to. A server that goes meanwhile is one that cannot be reached.
///
/// # Errors
/// Those of `work`.
pub(super) async fn while_it_answers(
    context: &Context,
    work: Pin<Box<impl Future<Output = anyhow::Result<Exit>>>>,
) -> anyhow::Result<Exit> {
    match work.await {
        Err(error) if Exit::of(&error) == Exit::NotFine && !answers(context).await => {
            let failure = Failure::new("NATS does not answer any more").because(error);
            let remedy = "ask again once it is back: what was done is done once";
            Err(failure.remedy(remedy).unreachable().into())
        }
        done => done,
    }
}

/// Whether the server still answers.
async fn answers(context: &Context) -> bool {
    let answered = tokio::time::timeout(STILL_THERE, context.query_account()).await;
    context.client().connection_state() == State::Connected && answered.is_ok()
}

/// The configuration in `file`, checked.
///
/// # Errors
/// Every problem of the file.
pub(super) fn load(file: &Path) -> anyhow::Result<Config> {
    Config::load(file, &environment::any).map_err(|problems| unusable(file, problems))
}

fn unusable(file: &Path, problems: Problems) -> anyhow::Error {
    let failure = Failure::new(format!("cannot use the configuration `{}`", file.display()));
    let failure = match file.exists() {
        true => failure.remedy("correct the file; `syncline validate` checks it again"),
        false => failure.remedy(
            "name the file with `-c FILE`, or make a first plugin and its configuration with \
             `syncline new NAME`",
        ),
    };
    failure.because(problems).into()
}
