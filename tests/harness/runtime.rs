//! The runtime in this process.

use super::TestEnv;
use super::check::PATIENCE;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use syncline::app::{App, AppError, Options, Summary};
use syncline::config::Config;
use syncline::plugin::Plugins;
use syncline::shutdown::Shutdown;
use syncline::telemetry::{HttpCounts, LookupCounts, Metrics, PipelineCounts, TargetCounts};
use tokio::task::JoinSet;

/// A runtime at work. Dropped, it ends at once.
pub(crate) struct Running {
    metrics: Arc<Metrics>,
    plugins: Arc<Plugins>,
    shutdown: Shutdown,
    api: Option<SocketAddr>,
    work: JoinSet<Result<Summary, AppError>>,
}

impl Running {
    /// Starts it.
    pub(crate) async fn start(config: Config) -> Self {
        let built = Self::try_start(config).await;
        built.unwrap_or_else(|error| panic!("the runtime does not start: {error}"))
    }

    /// Starts it, or says why it cannot.
    pub(crate) async fn try_start(config: Config) -> Result<Self, AppError> {
        let options = Options {
            cache_dir: Some(TestEnv::cache().to_path_buf()),
            grace: Duration::from_secs(20),
        };
        let app = Box::pin(App::build(config, options)).await?;
        let (metrics, plugins, shutdown) = (app.metrics(), app.plugins(), Shutdown::new());
        let api = app.api();
        let mut work = JoinSet::new();
        work.spawn(Box::pin(app.run(shutdown.clone())));
        Ok(Self {
            metrics,
            plugins,
            shutdown,
            api,
            work,
        })
    }

    /// A pipeline's counts at this moment.
    pub(crate) fn counts(&self, pipeline: &str) -> PipelineCounts {
        self.metrics
            .counts()
            .remove(pipeline)
            .unwrap_or_else(|| panic!("there is no pipeline {pipeline}"))
    }

    /// A target's counts at this moment.
    pub(crate) fn target(&self, target: &str) -> TargetCounts {
        self.metrics
            .targets()
            .remove(target)
            .unwrap_or_else(|| panic!("there is no target {target}"))
    }

    /// What the plugins of a pipeline have looked up in a target at this moment.
    pub(crate) fn lookups(&self, pipeline: &str, target: &str) -> LookupCounts {
        let mut counts = self.metrics.lookup_counts();
        let of_pipeline = counts.remove(pipeline);
        let counts = of_pipeline.and_then(|mut counts| counts.remove(target));
        counts.unwrap_or_default()
    }

    /// What a plugin asked of hosts at this moment.
    pub(crate) fn http(&self, pipeline: &str, plugin: &str) -> HttpCounts {
        let mut counts = self.metrics.http_counts();
        let of_pipeline = counts.remove(pipeline);
        let counts = of_pipeline.and_then(|mut counts| counts.remove(plugin));
        counts.unwrap_or_default()
    }

    /// Where its API listens.
    pub(crate) fn api(&self) -> SocketAddr {
        self.api.expect("the configuration has no API")
    }

    /// The plugins at work.
    pub(crate) fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The digest of the version that works for a pipeline.
    pub(crate) fn digest(&self, plugin: &str, pipeline: &str) -> String {
        let slot = self.plugins.slot(plugin, pipeline).unwrap();
        slot.active().component().digest().to_owned()
    }

    /// Waits until so many events were received and all of them have ended.
    pub(crate) async fn settled(&self, pipeline: &str, n_events: u64) -> PipelineCounts {
        let what = format!("{pipeline} has ended {n_events} events");
        self.until(pipeline, &what, |counts| {
            counts.received == n_events && counts.in_flight == 0
        })
        .await
    }

    /// Waits until the counts of a pipeline are as wanted, and gives them.
    pub(crate) async fn until(
        &self,
        pipeline: &str,
        what: &str,
        wanted: impl Fn(&PipelineCounts) -> bool,
    ) -> PipelineCounts {
        let mut last = self.counts(pipeline);
        let (mut n_looks, most) = (0, 6_000);
        // Not `eventually`: a failure here must show the counts.
        while !wanted(&last) {
            n_looks += 1;
            assert!(n_looks < most, "not in time: {what}: {last:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            last = self.counts(pipeline);
        }
        last
    }

    /// Gives the signal to end without waiting for the end.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.begin();
    }

    /// Ends it in order and gives what became of the events.
    pub(crate) async fn drain(mut self) -> Summary {
        self.begin_shutdown();
        let ended = tokio::time::timeout(PATIENCE, self.work.join_next()).await;
        let ended = ended.expect("the runtime does not drain").unwrap();
        ended.unwrap().unwrap()
    }
}
