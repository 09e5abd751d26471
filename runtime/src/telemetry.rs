//! What is counted. The words are those of the law: per pipeline,
//! `received = done + filtered + dead + parked + duplicate + in flight`.

mod requests;

use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use requests::ByTwo;

pub use requests::{HttpCounts, HttpMetrics, LookupCounts, LookupMetrics};

/// Every count of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    pipelines: Mutex<BTreeMap<String, Arc<PipelineMetrics>>>,
    targets: Mutex<BTreeMap<String, Arc<TargetMetrics>>>,
    http: ByTwo<HttpMetrics>,
    lookups: ByTwo<LookupMetrics>,
    /// Series that plugins made.
    pub plugins: PluginSeries,
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one pipeline.
#[derive(Debug, Default)]
pub struct PipelineMetrics {
    /// Events that were taken on, each once however often it was tried.
    pub received: Counter,
    /// Events whose effects were applied, or that had none to apply.
    pub done: Counter,
    /// Events that a plugin dropped.
    pub filtered: Counter,
    /// Events that became dead letters.
    pub dead: Counter,
    /// Events that wait behind a failed one of their key.
    pub parked: Counter,
    /// Events that had been done before.
    pub duplicate: Counter,
    /// Events given back to the server unfinished: at shutdown.
    pub given_back: Counter,
    /// Attempts after the first.
    pub retries: Counter,
    /// Effects that targets accepted.
    pub effects: Counter,
    /// Events that stood after the last stage and had nowhere to go.
    pub unrouted: Counter,
    /// Events without a usable ordering key: their identity was the key.
    pub unkeyed: Counter,
    /// Copies of an event that was in flight already.
    pub redelivered: Counter,
    /// Events that the pipeline stopped at.
    pub stopped: Counter,
    /// Dead letters that were taken on again.
    pub replayed: Counter,
    /// Messages of core NATS that were thrown away, since too many waited. They were not received.
    pub missed: Counter,
    /// How often the connection was gone while core NATS was listened to: nobody knows what was
    /// sent meanwhile.
    pub interrupted: Counter,
    drops: Mutex<BTreeMap<String, u64>>,
}

/// The counts of one target.
#[derive(Debug, Default)]
pub struct TargetMetrics {
    /// How often its breaker opened: it gave no answer, and was left alone.
    pub opened: Counter,
    /// How often it was tried while its breaker was open.
    pub probes: Counter,
    is_open: AtomicBool,
}

/// The counts of one target at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetCounts {
    /// Whether its breaker is open.
    pub open: bool,
    /// See [`TargetMetrics::opened`].
    pub opened: u64,
    /// See [`TargetMetrics::probes`].
    pub probes: u64,
}

impl TargetMetrics {
    /// Says whether its breaker is open.
    pub fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Release);
    }

    /// Whether its breaker is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// The counts at this moment.
    #[must_use]
    pub fn counts(&self) -> TargetCounts {
        TargetCounts {
            open: self.is_open(),
            opened: self.opened.get(),
            probes: self.probes.get(),
        }
    }
}

/// Reasons for dropping that are counted apart; what comes after is counted as `other`.
const DROP_REASONS: usize = 100;

/// The counts of one pipeline at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PipelineCounts {
    /// See [`PipelineMetrics::received`]; events given back are not among them.
    pub received: u64,
    /// See [`PipelineMetrics::done`].
    pub done: u64,
    /// See [`PipelineMetrics::filtered`].
    pub filtered: u64,
    /// See [`PipelineMetrics::dead`].
    pub dead: u64,
    /// See [`PipelineMetrics::parked`].
    pub parked: u64,
    /// See [`PipelineMetrics::duplicate`].
    pub duplicate: u64,
    /// Taken on and not ended yet.
    pub in_flight: u64,
    /// See [`PipelineMetrics::retries`].
    pub retries: u64,
    /// See [`PipelineMetrics::effects`].
    pub effects: u64,
    /// See [`PipelineMetrics::unrouted`].
    pub unrouted: u64,
    /// See [`PipelineMetrics::unkeyed`].
    pub unkeyed: u64,
    /// See [`PipelineMetrics::redelivered`].
    pub redelivered: u64,
    /// Whether the pipeline stopped at an event that failed.
    pub stopped: bool,
    /// See [`PipelineMetrics::replayed`].
    pub replayed: u64,
    /// See [`PipelineMetrics::missed`].
    pub missed: u64,
    /// See [`PipelineMetrics::interrupted`].
    pub interrupted: u64,
    /// How often plugins dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts of a pipeline, made when they are asked for first.
    #[must_use]
    pub fn pipeline(&self, name: &str) -> Arc<PipelineMetrics> {
        self.pipelines
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    /// The counts of a target, made when they are asked for first.
    #[must_use]
    pub fn target(&self, name: &str) -> Arc<TargetMetrics> {
        self.targets
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    /// Every target's counts at this moment.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<String, TargetCounts> {
        let targets = self.targets.lock();
        targets
            .iter()
            .map(|(name, metrics)| (name.clone(), metrics.counts()))
            .collect()
    }

    /// The counts of the HTTP requests of a plugin in a pipeline.
    #[must_use]
    pub fn http(&self, pipeline: &str, plugin: &str) -> Arc<HttpMetrics> {
        self.http.of(pipeline, plugin)
    }

    /// The counts of every plugin's HTTP requests at this moment, by pipeline and plugin.
    #[must_use]
    pub fn http_counts(&self) -> BTreeMap<String, BTreeMap<String, HttpCounts>> {
        self.http.read(HttpMetrics::counts)
    }

    /// The counts of what the plugins of a pipeline look up in a target.
    #[must_use]
    pub fn lookup(&self, pipeline: &str, target: &str) -> Arc<LookupMetrics> {
        self.lookups.of(pipeline, target)
    }

    /// The counts of all lookups at this moment, by pipeline and target.
    #[must_use]
    pub fn lookup_counts(&self) -> BTreeMap<String, BTreeMap<String, LookupCounts>> {
        self.lookups.read(LookupMetrics::counts)
    }

    /// Every pipeline's counts at this moment.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, PipelineCounts> {
        let pipelines = self.pipelines.lock();
        pipelines
            .iter()
            .map(|(name, metrics)| (name.clone(), metrics.counts()))
            .collect()
    }
}

impl PipelineMetrics {
    /// Counts a plugin's reason for dropping.
    pub fn dropped(&self, reason: &str) {
        let mut drops = self.drops.lock();
        if let Some(n_drops) = drops.get_mut(reason) {
            *n_drops += 1;
        } else if drops.len() < DROP_REASONS {
            drops.insert(reason.to_owned(), 1);
        } else {
            *drops.entry("other".to_owned()).or_default() += 1;
        }
    }

    /// The counts at this moment. Ends are read before beginnings, so that none goes missing.
    #[must_use]
    pub fn counts(&self) -> PipelineCounts {
        let (done, filtered, dead) = (self.done.get(), self.filtered.get(), self.dead.get());
        let (parked, duplicate) = (self.parked.get(), self.duplicate.get());
        let received = self.received.get().saturating_sub(self.given_back.get());
        PipelineCounts {
            received,
            done,
            filtered,
            dead,
            parked,
            duplicate,
            in_flight: received.saturating_sub(done + filtered + dead + parked + duplicate),
            retries: self.retries.get(),
            effects: self.effects.get(),
            unrouted: self.unrouted.get(),
            unkeyed: self.unkeyed.get(),
            redelivered: self.redelivered.get(),
            stopped: self.stopped.get() > 0,
            replayed: self.replayed.get(),
            missed: self.missed.get(),
            interrupted: self.interrupted.get(),
            drops: self.drops.lock().clone(),
        }
    }
}

/// The name of a plugin's series.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The pipeline it works for.
    pub pipeline: &'a str,
    /// The metric.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a [(String, String)],
}

/// The value of a plugin's series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SeriesValue {
    /// Sum of the counts, or number of the observations.
    pub count: u64,
    /// Sum of the observations.
    pub sum: f64,
}

/// The most bytes of a series' name and labels: they are kept as long as the process lives.
const LONGEST_SERIES: usize = 1_024;

/// Series that plugins made, up to a limit for each plugin.
#[derive(Debug, Default)]
pub struct PluginSeries {
    by_plugin: Mutex<BTreeMap<String, BTreeMap<String, SeriesValue>>>,
    /// Series that were refused: over the limit, with a name that is not `[a-z0-9_]+`, or too long.
    pub refused: Counter,
}

impl PluginSeries {
    /// Adds to a count.
    pub fn count(&self, series: Series<'_>, delta: u64, limit: u32) {
        self.change(series, limit, |value| {
            value.count = value.count.saturating_add(delta);
        });
    }

    /// Adds an observation.
    pub fn observe(&self, series: Series<'_>, observed: f64, limit: u32) {
        self.change(series, limit, |value| {
            value.count += 1;
            value.sum += observed;
        });
    }

    /// Every plugin's series at this moment, as `name{label="value"}`.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, BTreeMap<String, SeriesValue>> {
        self.by_plugin.lock().clone()
    }

    fn change(&self, series: Series<'_>, limit: u32, change: impl FnOnce(&mut SeriesValue)) {
        let named = series
            .labels
            .iter()
            .map(|(name, _)| name.as_str())
            .chain([series.name]);
        let length: usize = series.labels.iter().map(|(n, v)| n.len() + v.len()).sum();
        let is_too_long = series.name.len() + length > LONGEST_SERIES;
        if is_too_long || !named.into_iter().all(is_metric_name) {
            self.refused.increment();
            return;
        }
        let mut by_plugin = self.by_plugin.lock();
        let of_plugin = by_plugin.entry(series.plugin.to_owned()).or_default();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let key = series.key();
        if let Some(value) = of_plugin.get_mut(&key) {
            change(value);
        } else if of_plugin.len() < limit {
            change(of_plugin.entry(key).or_default());
        } else {
            self.refused.increment();
        }
    }
}

impl Series<'_> {
    fn key(&self) -> String {
        let mut labels: Vec<_> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        labels.push(format!("pipeline={:?}", self.pipeline));
        labels.sort();
        format!("{}{{{}}}", self.name, labels.join(","))
    }
}

fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_makes_series_up_to_its_limit() {
        let series = PluginSeries::default();
        let labels: Vec<_> = (0..5).map(|n| [("n".to_owned(), n.to_string())]).collect();
        for labels in &labels {
            let named = Series {
                plugin: "p",
                pipeline: "x",
                name: "seen",
                labels,
            };
            series.count(named, 2, 3);
            series.count(named, 1, 3);
        }
        assert_eq!(series.values()["p"].len(), 3);
        assert_eq!(
            series.values()["p"]["seen{n=\"0\",pipeline=\"x\"}"].count,
            3
        );
        assert_eq!(series.refused.get(), 4);
        let odd = Series {
            plugin: "p",
            pipeline: "x",
            name: "A b",
            labels: &[],
        };
        series.observe(odd, 1.0, 3);
        assert_eq!(series.refused.get(), 5);
        let labels = [("n".to_owned(), "x".repeat(LONGEST_SERIES))];
        let long = Series {
            name: "seen",
            labels: &labels,
            ..odd
        };
        series.count(long, 1, 9);
        assert_eq!(series.refused.get(), 6);
    }

    #[test]
    fn what_is_not_ended_is_in_flight() {
        let metrics = PipelineMetrics::default();
        for _ in 0..5 {
            metrics.received.increment();
        }
        metrics.done.increment();
        metrics.dead.increment();
        metrics.given_back.increment();
        let counts = metrics.counts();
        assert_eq!((counts.received, counts.in_flight), (4, 2));
    }
}
