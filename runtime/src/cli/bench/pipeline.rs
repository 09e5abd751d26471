//! The other side: the runtime as a user runs it, with one pipeline, in this process.

use super::super::environment;
use super::super::run;
use super::lap::{Clock, Lap};
use super::place::Place;
use super::streams::Track;
use std::path::Path;
use std::time::Duration;
use syncline::app::App;
use syncline::config::Config;
use syncline::shutdown::{Shutdown, Tasks};
use tokio::sync::oneshot;

/// The pipeline's name.
const PIPELINE: &str = "bench";
/// The name of its consumer.
pub(super) const DURABLE: &str = "syncline-bench";

/// What the pipeline promises.
pub(super) const AT_LEAST_ONCE: &str = r#"guarantee = "at-least-once""#;
/// The same, and to skip second copies.
pub(super) const DEDUPE: &str = r#"
    guarantee = "at-least-once"
    dedupe = { horizon = "1h" }
"#;

/// All effects of an event or none, once.
pub(super) const ATOMIC: &str = r#"guarantee = "atomic""#;

/// Where events come from, and where each goes to.
#[derive(Clone, Copy)]
pub(super) struct Tracks<'a> {
    pub(super) source: &'a Track,
    pub(super) targets: &'a [&'a Track],
    /// Databases with a table `orders`.
    pub(super) tables: &'a [String],
    /// Whether none of them has an effect.
    pub(super) is_idle: bool,
}

/// A runtime at work.
pub(super) struct Running {
    app: oneshot::Receiver<anyhow::Result<()>>,
    shutdown: Shutdown,
}

/// Carries the `n_events` of the source to every target, with these `promises`.
///
/// # Errors
/// When the runtime does not start or an event does not get through.
pub(super) async fn carry(
    place: &Place,
    plugin: Option<&Path>,
    tracks: Tracks<'_>,
    n_events: u64,
    promises: &str,
) -> anyhow::Result<Lap> {
    let source = tracks.source;
    let app = build(place, plugin, tracks, promises).await?;
    let metrics = app.metrics().pipeline(PIPELINE);
    let clock = Clock::start();
    let mut running = start(app);
    let ended = || metrics.done.get() + metrics.filtered.get() + metrics.dead.get();
    while ended() < n_events {
        tokio::select! {
            result = &mut running.app => {
                result??;
                anyhow::bail!("the runtime ended by itself");
            }
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    source.until_acked(DURABLE, n_events).await?;
    let lap = clock.stop(n_events);
    running.end().await?;
    let done = metrics.done.get();
    anyhow::ensure!(done >= n_events, "{done} of {n_events} events were done");
    source.stream.delete_consumer(DURABLE).await?;
    Ok(lap)
}

/// A runtime with the pipeline, ready to run.
///
/// # Errors
/// When it cannot start.
pub(super) async fn build(
    place: &Place,
    plugin: Option<&Path>,
    tracks: Tracks<'_>,
    promises: &str,
) -> anyhow::Result<App> {
    let source = tracks.source;
    let plugin = plugin.map(std::path::absolute).transpose()?;
    let (plugins, stages) = match &plugin {
        Some(path) => (format!("[plugins.json]\npath = {path:?}"), "[\"json\"]"),
        None => (String::new(), "[]"),
    };
    let (mut targets, mut to) = (String::new(), Vec::new());
    for (number, url) in tracks.tables.iter().enumerate() {
        targets += &format!(
            "[targets.d{number}]\nkind = \"postgres\"\nurl = {url:?}\ntable = \"orders\"\n\
             key = \"id\"\ncreate = true\n"
        );
        to.push(format!("{{ target = \"d{number}\" }}"));
    }
    for (number, target) in tracks.targets.iter().enumerate() {
        let (subject, stream) = (target.subject("{key}"), &target.name);
        targets += &format!(
            "[targets.t{number}]\nkind = \"subject\"\nsubject = {subject:?}\nstream = {stream:?}\n\
             create = true\n"
        );
        let when = match tracks.is_idle {
            true => r#", when = { type = "none.such" }"#,
            false => "",
        };
        to.push(format!("{{ target = \"t{number}\"{when} }}"));
    }
    let config = format!(
        r#"
        {plugins}
        [nats]
        url = {:?}
        {targets}
        [pipelines.{PIPELINE}]
        source = {{ stream = {:?}, subjects = [{:?}] }}
        key = "subject:4"
        stages = {stages}
        to = [{}]
        {promises}
        "#,
        place.url,
        source.name,
        source.subject("*"),
        to.join(", "),
    );
    let config = Config::parse(&config, Path::new(""), &environment::any)?;
    Ok(Box::pin(App::build(config, run::options())).await?)
}

/// Forgets which events have ended: the next turn has the same ones.
///
/// # Errors
/// When the server does not.
pub(super) async fn forget(place: &Place) -> anyhow::Result<()> {
    let stream = place.jetstream().get_stream("TX").await?;
    let markers = format!("tx.done.{PIPELINE}.>");
    stream.purge().filter(markers).await?;
    Ok(())
}

/// Runs `app` in a task of its own, as `syncline run` does.
pub(super) fn start(app: App) -> Running {
    let shutdown = Shutdown::new();
    let (end, ended) = oneshot::channel();
    let until = shutdown.clone();
    Tasks::new().spawn(async move {
        let result = Box::pin(app.run(until)).await;
        // Nobody waits any more when the measurement has failed.
        let _failed = end.send(result.map(drop).map_err(Into::into));
    });
    Running {
        app: ended,
        shutdown,
    }
}

impl Running {
    /// Drains and ends.
    ///
    /// # Errors
    /// When the runtime failed.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.shutdown.begin();
        self.app.await?
    }
}
