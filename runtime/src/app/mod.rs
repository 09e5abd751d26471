//! How the rooms are joined: from a configuration to a runtime, and to its end.

mod adapters;
mod backfill;
mod connection;
mod drift;
mod notices;
mod permissions;
mod post;
mod refusal;
mod replays;
mod retrieve;
mod serving;
mod several;
mod state;
mod status;
mod uses;
mod validate;
mod way;

use crate::api;
use crate::config::Config;
use crate::contract::{AdaptedVersions, Contract};
use crate::control::{self, ControlError, Wishes};
use crate::dead_letter::{DeadLetterError, DeadLetters};
use crate::feed::Feeds;
use crate::intake::{self, Gauge, IntakeError, Pause};
use crate::pipeline::{self, Pipeline};
use crate::plugin::{self, Engine, EngineConfig, PluginError, Plugins, Surroundings};
use crate::shutdown::{Shutdown, Tasks};
use crate::target::{self, Targets};
use crate::telemetry::{
    HttpCounts, LookupCounts, Metrics, PipelineCounts, SeriesValue, TargetCounts,
};
use crate::txn::{self, Coordinator, Lease, LeaseError, MarkerError, Members, Presence};
use async_nats::jetstream;
use post::Post;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

use serving::Serving;
use state::States;
use status::{Reported, Reporter};
use uses::uses;

pub use backfill::{Backfill, BackfillError, Filled, Of, Shown, Stage, backfill};
pub use connection::{connect, jetstream};
pub use drift::{Drift, DriftFailure, drift};
pub use several::Unprepared;
pub use validate::validate;

/// Settings of the process, not of the configuration file.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled plugins are kept between runs; none: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// How long events at work may take to end once the shutdown has begun.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_dir: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// Why a runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// NATS does not answer.
    #[error("cannot reach NATS at {urls}: {cause}")]
    Unreachable {
        /// The servers, without users.
        urls: String,
        /// Why.
        cause: String,
    },
    /// NATS answers, and we do not come together.
    #[error("cannot connect to NATS at {urls}: {fault}: {remedy}")]
    Refused {
        /// The servers, without users.
        urls: String,
        /// What is refused, with the server as `it`.
        fault: String,
        /// The key of the configuration to look at.
        key: &'static str,
        /// What to do.
        remedy: String,
    },
    /// The server does not permit what the configuration needs.
    #[error("NATS at {urls} does not permit us to {operation}: {remedy}")]
    Denied {
        /// The servers, without users.
        urls: String,
        /// Publishing or subscribing, and to which subject.
        operation: String,
        /// What to do.
        remedy: String,
    },
    /// Plugins cannot be loaded.
    #[error("{}", lines(.0))]
    Plugins(Vec<PluginError>),
    /// Targets cannot be opened.
    #[error("{}", lines(.0))]
    Targets(Vec<target::OpenError>),
    /// A database cannot take part in the transactions of a pipeline.
    #[error(transparent)]
    Unprepared(#[from] Unprepared),
    /// A pipeline's source cannot be opened.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] api::BindError),
    /// The stream of dead letters cannot be opened.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// The stream of markers cannot be opened.
    #[error(transparent)]
    Markers(#[from] MarkerError),
    /// What operators wish of pipelines cannot be known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The leases cannot be used.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The bucket of plugin state cannot be opened.
    #[error("cannot open the bucket of plugin state {bucket}: {cause}")]
    State {
        /// The bucket.
        bucket: &'static str,
        /// Why.
        cause: String,
    },
}

fn lines<T: ToString>(problems: &[T]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A runtime that is ready to run.
pub struct App {
    posts: Vec<Post>,
    plugins: Arc<Plugins>,
    metrics: Arc<Metrics>,
    client: async_nats::Client,
    tasks: Tasks,
    shutdown: Shutdown,
    grace: Duration,
    wishes: Wishes,
    pauses: BTreeMap<String, watch::Sender<bool>>,
    reporter: Reporter,
    api: Option<Serving>,
}

/// What became of the events.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Each pipeline's counts.
    pub pipelines: BTreeMap<String, PipelineCounts>,
    /// Series that plugins made.
    pub plugins: BTreeMap<String, BTreeMap<String, SeriesValue>>,
    /// What plugins looked up, by pipeline and target.
    pub lookups: BTreeMap<String, BTreeMap<String, LookupCounts>>,
    /// What plugins asked of hosts over HTTP, by pipeline and plugin.
    pub http: BTreeMap<String, BTreeMap<String, HttpCounts>>,
    /// Each target's counts.
    pub targets: BTreeMap<String, TargetCounts>,
    /// Whether every event at work ended within the grace.
    pub drained: bool,
}

/// What every pipeline of a runtime shares.
struct Shared {
    context: jetstream::Context,
    targets: Arc<Targets>,
    plugins: Arc<Plugins>,
    dead_letters: DeadLetters,
    surroundings: Surroundings,
    states: States,
    kinds: BTreeMap<String, target::Kind>,
    contracts: BTreeMap<String, Arc<Contract>>,
    adapted: AdaptedVersions,
    feeds: Arc<Feeds>,
    presence: Arc<Presence>,
    tasks: Tasks,
    shutdown: Shutdown,
    wishes: Wishes,
}

/// A pipeline that is ready to run.
struct Ready {
    posts: Vec<Post>,
    pause: watch::Sender<bool>,
    reported: Reported,
}

impl App {
    /// Connects, loads, checks, opens. No event is taken yet.
    ///
    /// # Errors
    /// [`AppError`] naming what is missing or wrong.
    pub async fn build(config: Config, options: Options) -> Result<Self, AppError> {
        let (client, denials) = connection::open(&config.nats).await?;
        let nats = config.nats.clone();
        let assembled = Box::pin(Self::assemble(config, options, client));
        let app = denials.during(assembled).await;
        app.unwrap_or_else(|denied| Err(denied.into_error(&nats)))
    }

    async fn assemble(
        config: Config,
        options: Options,
        client: async_nats::Client,
    ) -> Result<Self, AppError> {
        let context = connection::jetstream(&config.nats, client.clone());
        let metrics = Arc::new(Metrics::new());
        let targets = open_targets(&context, &config, &metrics).await?;
        let dead_letters = DeadLetters::open(&context, &config.nats.provision()).await?;
        let wishes = Wishes::open(&context, &config.nats.provision()).await?;
        notices::say_whether_one_replica_is_enough(&client, &config);
        let contracts = uses::contracts(&config);
        let retrieve = retrieve::FromTargets::new(targets.clone(), contracts.clone());
        let known = retrieve.adapted();
        let surroundings = uses::surroundings(&config, Some(Arc::new(retrieve)), &metrics);
        let engine = Engine::new(&EngineConfig {
            cache_dir: options.cache_dir,
        })
        .map_err(|error| AppError::Plugins(vec![error]))?;
        let states = States::open(&context, &config).await?;
        let uses = uses(&config, &states);
        let loaded = adapters::load(&engine, (&config, &uses), &surroundings).await;
        let (plugins, adapted) = loaded.map_err(AppError::Plugins)?;
        let adapted = known.get_or_init(|| adapted).clone();
        let tasks = Tasks::new();
        let shared = Shared {
            context,
            targets,
            plugins: Arc::new(plugins),
            dead_letters,
            surroundings,
            states,
            kinds: uses::kinds(&config),
            contracts,
            adapted,
            feeds: Arc::new(uses::feeds(&config)),
            presence: Presence::announce(client.clone(), &tasks).await?,
            tasks: tasks.clone(),
            shutdown: Shutdown::new(),
            wishes,
        };
        let (mut posts, mut pauses, mut pipelines) = (Vec::new(), BTreeMap::new(), Vec::new());
        for pipeline in &config.pipelines {
            let ready = Box::pin(shared.open(pipeline)).await?;
            posts.extend(ready.posts);
            pauses.insert(pipeline.name.clone(), ready.pause);
            pipelines.push(ready.reported);
        }
        let api = Box::pin(serving::open(&config, &shared, options.grace)).await?;
        let uses = api.as_ref().map(|api| api.server.uses());
        Ok(Self {
            posts,
            api,
            plugins: shared.plugins.clone(),
            metrics,
            tasks,
            shutdown: shared.shutdown,
            grace: options.grace,
            wishes: shared.wishes,
            pauses,
            reporter: Reporter {
                runtime: shared.presence.id().to_owned(),
                name: config.nats.name,
                pipelines,
                plugins: shared.plugins.clone(),
                uses,
            },
            client,
        })
    }

    /// The counts, while the runtime runs and after.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The plugins at work.
    #[must_use]
    pub fn plugins(&self) -> Arc<Plugins> {
        self.plugins.clone()
    }

    /// Where the API listens.
    #[must_use]
    pub fn api(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.server.address())
    }

    /// Takes events in until `shutdown`, or until every pipeline has stopped at a failure, then
    /// drains: intake, lanes, answers.
    ///
    /// # Errors
    /// None at present: what fails while it runs is tried again or becomes a dead letter.
    pub async fn run(self, shutdown: Shutdown) -> Result<Summary, AppError> {
        let tasks = self.tasks;
        tasks.spawn(plugin::watch(self.plugins.clone(), self.shutdown.clone()));
        tasks.spawn(self.wishes.follow(self.pauses, self.shutdown.clone()));
        let (outer, inner) = (shutdown, self.shutdown.clone());
        let ended = Shutdown::new();
        let (client, reporter) = (self.client.clone(), self.reporter);
        tasks.spawn(control::report(
            client,
            move || reporter.status(),
            ended.clone(),
        ));
        let until = ended.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = outer.begun() => info!("draining: no more events are taken"),
                () = until.begun() => {}
            }
            inner.begin();
        });
        let serves = self.api.is_some();
        let mut clerk = None;
        if let Some(api) = self.api {
            if let Some(service) = api.server.service(&self.client) {
                tasks.spawn(service.serve(tasks.clone(), self.shutdown.clone()));
            }
            tasks.spawn(api.server.serve(tasks.clone(), self.shutdown.clone()));
            clerk = api.clerk.map(|clerk| clerk.run(self.shutdown.clone()));
        }
        info!(pipelines = self.metrics.counts().len(), "ready");
        let working = async {
            // Without pipelines there is nothing to work off, and something to serve.
            if serves && self.posts.is_empty() {
                self.shutdown.begun().await;
            }
            let posts = self.posts.into_iter().map(|post| post.work(self.grace));
            let drained = futures::future::join_all(posts).await;
            ended.begin();
            drained.into_iter().all(|drained| drained)
        };
        let changing = futures::future::OptionFuture::from(clerk);
        let (drained, _) = futures::join!(working, changing);
        let drained = tasks.finish(Duration::from_secs(5)).await && drained;
        if let Err(error) = self.client.drain().await {
            warn!(%error, "the connection to NATS was not closed in order");
        }
        let (pipelines, plugins) = (self.metrics.counts(), self.metrics.plugins.values());
        Ok(Summary {
            pipelines,
            plugins,
            lookups: self.metrics.lookup_counts(),
            http: self.metrics.http_counts(),
            targets: self.metrics.targets(),
            drained,
        })
    }
}

impl Shared {
    async fn open(&self, config: &pipeline::Config) -> Result<Ready, AppError> {
        notices::say_what_holds(config);
        let metrics = self.surroundings.metrics.pipeline(&config.name);
        let shutdown = self.shutdown.child();
        let stages = config
            .stages
            .iter()
            .filter_map(|s| self.plugins.slot(s, &config.name));
        let way = way::of(&self.context, &self.targets, config).await?;
        let attempts = way::attempts(&self.context, config).await?;
        let coordinator = Coordinator::new(
            &config.name,
            self.targets.clone(),
            self.states.of(config.guarantee).cloned(),
            self.dead_letters.clone(),
            way,
        );
        let pipeline = Arc::new(Pipeline::new(
            config,
            pipeline::Parts {
                stages: stages.collect(),
                kinds: self.kinds.clone(),
                contracts: self.contracts.clone(),
                adapted: self.adapted.clone(),
                feeds: self.feeds.clone(),
                coordinator,
                attempts,
                secrets: self.surroundings.secrets.clone(),
                metrics: metrics.clone(),
                shutdown: shutdown.clone(),
            },
        ));
        let is_paused = self.wishes.is_paused(&config.name).await?;
        let (pause, wished) = watch::channel(is_paused.unwrap_or_default());
        let gauge = Gauge::new(config.intake.max_bytes, Pause::new(wished));
        let posts = self.posts(config, &pipeline, (&shutdown, &gauge)).await?;
        Ok(Ready {
            posts,
            pause,
            reported: Reported::new(config, gauge, metrics, shutdown),
        })
    }

    /// One post for each share of a pipeline's work.
    async fn posts(
        &self,
        config: &pipeline::Config,
        pipeline: &Arc<Pipeline>,
        (shutdown, gauge): (&Shutdown, &Gauge),
    ) -> Result<Vec<Post>, AppError> {
        let replays = replays::of(&config.name)?;
        let members = match config.intake.lease {
            Some(length) => {
                intake::prepare(&self.context, &config.intake, &replays).await?;
                Some((self.join(config, length, shutdown).await?, length))
            }
            None => None,
        };
        let mut posts = Vec::new();
        for share in 0..config.intake.n_shares() {
            let lease = match &members {
                Some((members, length)) => {
                    let place = (&self.context, &config.intake.provision);
                    let share = (config.name.as_str(), share);
                    let keeping = (self.presence.clone(), self.tasks.clone());
                    Some(Lease::open(place, share, *length, members.clone(), keeping).await?)
                }
                None => None,
            };
            let parts = post::Parts {
                context: self.context.clone(),
                config: config.intake.of_share(share),
                pipeline: pipeline.clone(),
                replays: replays.clone(),
                dead_letters: self.dead_letters.clone(),
                metrics: self.surroundings.metrics.pipeline(&config.name),
                shutdown: shutdown.clone(),
                gauge: gauge.clone(),
            };
            posts.push(Post::open(parts, lease).await?);
        }
        Ok(posts)
    }

    async fn join(
        &self,
        config: &pipeline::Config,
        patience: Duration,
        shutdown: &Shutdown,
    ) -> Result<Arc<Members>, LeaseError> {
        let pipeline = (config.name.as_str(), config.intake.n_shares());
        let calling = (self.presence.clone(), &self.tasks);
        Members::join(pipeline, patience, calling, shutdown.clone()).await
    }
}

async fn open_targets(
    context: &jetstream::Context,
    config: &Config,
    metrics: &Metrics,
) -> Result<Arc<Targets>, AppError> {
    // Made as it has to be, before a target adds its subjects.
    if config.targets.iter().any(target::Config::is_joined) {
        txn::provide(context, &config.nats.provision()).await?;
    }
    let targets = Targets::open(context, &config.targets, metrics).await;
    let targets = targets.map_err(AppError::Targets)?;
    several::check(config, &targets)?;
    Ok(Arc::new(targets))
}
