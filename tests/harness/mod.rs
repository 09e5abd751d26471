//! What the system tests share: a real nats-server per test, the runtime in process or as the real
//! program, events to publish, readers of what came out, and the law that holds at the end.
//!
//! ```ignore
//! let env = TestEnv::start().await;
//! env.stream("SRC", &["src.>"]).await;
//! let runtime = env.run(CONFIG).await;      // TOML; `[nats]` is added, `${PROBE}` is a guest's file
//! env.send("src.a", &Ce::new("1").data(json!({"do": "accept"}))).await;
//! runtime.settled("p", 1).await;
//! check_law(&runtime.drain().await);
//! ```

mod check;
mod cluster;
pub(crate) mod guests;
mod module;
mod nats;
mod postgres;
mod process;
mod publish;
mod read;
mod runtime;

use async_nats::jetstream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use syncline::config::Config;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use check::{check_law, check_law_of, eventually, stall, within};
pub(crate) use cluster::Cluster;
pub(crate) use module::{Fault, Module, OutsideModule, serve_where_asked};
pub(crate) use nats::{Server, free_ports};
pub(crate) use postgres::Postgres;
pub(crate) use process::{Process, binary};
pub(crate) use publish::Ce;
pub(crate) use read::Message;
pub(crate) use runtime::Running;

/// The plugin that does what an event tells it, and the targets that most tests use: the bucket
/// `crm` and the stream `SEARCH`.
pub(crate) const PARTS: &str = r#"
[plugins.probe]
path = "${PROBE}"
grants = { lookup = ["*"], state = true }

[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[targets.search]
kind = "subject"
subject = "search.{entity}.{key}"
stream = "SEARCH"
create = true
"#;

/// How many environments there are at once: each runtime reserves the address space of a pool, and
/// more servers than cores only slow each other down.
static ROOM: Semaphore = Semaphore::const_new(4);

/// A nats-server of its own, a folder for files, and a client.
pub(crate) struct TestEnv {
    /// The server; of a cluster the first.
    pub(crate) nats: Arc<Server>,
    /// JetStream on it.
    pub(crate) js: jetstream::Context,
    /// What stands under `[nats]`.
    pub(crate) reach: String,
    folder: tempfile::TempDir,
    _room: SemaphorePermit<'static>,
}

impl TestEnv {
    /// A fresh server with default settings.
    pub(crate) async fn start() -> Self {
        Self::with_server_settings("").await
    }

    /// A fresh server with lines added to its configuration.
    pub(crate) async fn with_server_settings(settings: &str) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let nats = Arc::new(Server::start(settings).await);
        Self {
            js: jetstream::new(nats.connect().await),
            reach: reach_of(&[nats.url()]),
            nats,
            folder: tempfile::tempdir().unwrap(),
            _room: room,
        }
    }

    /// A server that not everybody can use: `reach` is what clients write under `[nats]`, with
    /// `ADDRESS` for its host and port. Files that it names are in `folder`.
    pub(crate) async fn guarded(folder: tempfile::TempDir, settings: &str, reach: &str) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let nats = Arc::new(Server::launch(settings).await);
        let reach = nats.reached_by(reach);
        let text = format!("[nats]\n{reach}\n");
        let config = Config::parse(&text, folder.path(), &|_: &str| None).unwrap();
        let client = syncline::app::connect(&config.nats).await.unwrap();
        Self {
            js: syncline::app::jetstream(&config.nats, client),
            reach,
            nats,
            folder,
            _room: room,
        }
    }

    /// A cluster's environment: clients know all of its servers.
    pub(crate) async fn clustered(cluster: &Cluster) -> Self {
        let room = ROOM.acquire().await.unwrap();
        Self {
            js: jetstream::new(async_nats::connect(cluster.urls()).await.unwrap()),
            reach: reach_of(&cluster.urls()),
            nats: cluster.node(0).clone(),
            folder: tempfile::tempdir().unwrap(),
            _room: room,
        }
    }

    /// A folder that is gone with the environment. Relative paths of configurations start here.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A core NATS client.
    pub(crate) fn client(&self) -> async_nats::Client {
        self.js.client()
    }

    /// The whole configuration text: `config` with the server in front.
    pub(crate) fn text(&self, config: &str) -> String {
        format!("[nats]\n{}\n{config}", self.reach)
    }

    /// What `${NAME}` stands for: a guest's file.
    pub(crate) fn parse(&self, config: &str) -> Config {
        let env = |name: &str| guests::find(name).map(str::to_owned);
        Config::parse(&self.text(config), self.folder(), &env).unwrap_or_else(|error| {
            panic!("the test's configuration is wrong: {error}\n{config}");
        })
    }

    /// Starts the runtime in this process with [`PARTS`] and what `config` adds.
    pub(crate) async fn run_with_parts(&self, config: &str) -> Running {
        self.run(&[PARTS, config].concat()).await
    }

    /// Starts the runtime in this process.
    pub(crate) async fn run(&self, config: &str) -> Running {
        Running::start(self.parse(config)).await
    }

    /// Starts the real program and waits until it takes events.
    pub(crate) async fn spawn(&self, config: &str) -> Process {
        self.spawn_as("syncline", config).await
    }

    /// The same for one of several, whose files are called `name`.
    pub(crate) async fn spawn_as(&self, name: &str, config: &str) -> Process {
        let file = self.folder().join(name).with_extension("toml");
        std::fs::write(&file, self.text(config)).unwrap();
        Process::run(&file).await
    }

    /// Makes a stream.
    pub(crate) async fn stream(&self, name: &str, subjects: &[&str]) -> jetstream::stream::Stream {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
            allow_direct: true,
            ..Default::default()
        };
        self.js.create_stream(config).await.unwrap()
    }

    /// Makes a stream whose memory of message ids is so short that it holds hardly anything back.
    pub(crate) async fn forgetful(&self, name: &str, subjects: &[&str]) {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
            allow_direct: true,
            duplicate_window: Duration::from_millis(100),
            ..Default::default()
        };
        self.js.create_stream(config).await.unwrap();
    }

    /// Makes a stream with three replicas.
    pub(crate) async fn replicated(&self, name: &str, subjects: &[&str]) {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
            allow_direct: true,
            num_replicas: 3,
            ..Default::default()
        };
        self.js.create_stream(config).await.unwrap();
    }

    /// Makes a bucket.
    pub(crate) async fn bucket(&self, name: &str) -> jetstream::kv::Store {
        let config = jetstream::kv::Config {
            bucket: name.to_owned(),
            ..Default::default()
        };
        self.js.create_key_value(config).await.unwrap()
    }

    /// Where compiled guests are kept: one place for all tests, so that each is compiled once.
    pub(crate) fn cache() -> Arc<Path> {
        Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("compiled-guests")
            .into()
    }
}

/// What stands under `[nats]` for these servers.
fn reach_of(urls: &[String]) -> String {
    format!("url = {urls:?}")
}
