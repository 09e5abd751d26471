//! `make soak`: events at full rate for a long time, while a target stalls: memory stays as it is. A
//! short run is a test like any other; `make soak` sets how long it takes.

mod module;

use crate::harness::{Ce, Process, TestEnv, check_law_of, eventually, stall, within};
use async_nats::jetstream::{self, message::PublishMessage};
use module::Module;
use serde::Serialize;
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

const CONFIG: &str = r#"
[plugins.probe]
path = "${PROBE}"

[targets.search]
kind = "subject"
subject = "search.{key}"
stream = "SEARCH"

[targets.api]
kind = "http"
url = "API"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
key = "json:/key"
stages = ["probe"]
to = [{ target = "search" }, { target = "api", when = { type = "api.*" } }]
guarantee = "at-least-once"
retry = { attempts = 5, backoff = "100ms..2s" }
"#;

/// One event of so many goes to the target that stalls as well.
const RARE: u64 = 20;
const N_KEYS: u64 = 1_000;
/// Published in one go.
const CHUNK: u64 = 500;
/// Events that wait in the source at most; more than are in flight, so that there is always work.
const BACKLOG: u64 = 20_000;
/// Messages that the streams keep, more than that backlog: the disk has an end.
const KEPT: i64 = 100_000;
/// How long nothing may end beyond the stall.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_millis(250);

/// What came of it, as `make soak JSON=1` prints it.
#[derive(Debug, Default, Serialize)]
struct Report {
    seconds: u64,
    stall_seconds: u64,
    events: u64,
    events_per_second: u64,
    /// Requests that the target got in all, and that waited while it stalled.
    requests: u64,
    stalled_requests: u64,
    /// Events that ended from ten seconds, or a third, of the stall on: nearly none.
    ended_in_stall: u64,
    /// Resident memory between the warm-up and the stall: its middle and its most.
    rss_before_mb: f64,
    rss_before_peak_mb: f64,
    /// Its middle in the last quarter, and its most since the stall began.
    rss_after_mb: f64,
    rss_after_peak_mb: f64,
    /// The middle against the middle, and the most against the most.
    growth: f64,
    peak_growth: f64,
    unfinished: u64,
    verdict: &'static str,
}

struct Plan {
    time: Duration,
    stall: Duration,
    /// How much more memory there may be.
    most: f64,
}

impl Plan {
    /// `SOAK_SECONDS` and `SOAK_STALL`, as `make soak` sets them.
    fn of_the_environment() -> Self {
        let seconds = |name: &str, otherwise: u64| {
            let set = std::env::var(name).ok().filter(|set| !set.is_empty());
            Duration::from_secs(set.map_or(otherwise, |set| set.parse().unwrap()))
        };
        let time = seconds("SOAK_SECONDS", 16);
        Self {
            time,
            stall: seconds("SOAK_STALL", 3),
            // In a short run the memory has hardly found its measure when it is looked at first.
            most: if time.as_secs() >= 300 { 1.1 } else { 1.5 },
        }
    }

    /// The part that only warms up.
    fn warm_up(&self) -> Duration {
        self.time / 5
    }

    /// When the target begins to stall, and when it goes on.
    fn stalls(&self) -> (Duration, Duration) {
        let begin = self.time * 2 / 5;
        (begin, begin + self.stall)
    }
}

struct Soak<'a> {
    env: &'a TestEnv,
    plan: &'a Plan,
    began: Instant,
    n_published: Cell<u64>,
    n_ended: Cell<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_as_it_is_while_a_target_stalls() {
    let plan = Plan::of_the_environment();
    let env = TestEnv::start().await;
    for (name, subject) in [("SRC", "src.>"), ("SEARCH", "search.>")] {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            max_messages: KEPT,
            allow_direct: true,
            ..Default::default()
        };
        env.js.create_stream(config).await.unwrap();
    }
    let module = Module::start().await;
    let process = env
        .spawn(&CONFIG.replace("API", &module.url("/{key}")))
        .await;
    let soak = Soak {
        env: &env,
        plan: &plan,
        began: Instant::now(),
        n_published: Cell::new(0),
        n_ended: Cell::new(0),
    };
    let (samples, (), in_stall) =
        tokio::join!(soak.sample(&process), soak.publish(), soak.stall(&module));
    let mut report = soak.report(&samples);
    eventually("every event is acknowledged", async || {
        soak.look().await;
        soak.n_ended.get() >= soak.n_published.get()
    })
    .await;
    report.unfinished = soak.n_published.get() - soak.n_ended.get();
    (report.stalled_requests, report.ended_in_stall) = in_stall;
    report.requests = module.n_requests();
    let summary = process.drain().await;
    check_law_of(&summary);
    assert_eq!(summary["pipelines"]["p"]["done"], report.events);
    report.judge(&plan);
    assert_eq!(report.verdict, "ok", "{report:#?}");
}

impl Soak<'_> {
    /// Publishes as fast as the backlog allows.
    async fn publish(&self) {
        while self.began.elapsed() < self.plan.time {
            let begin = self.n_published.get();
            // Longer than the stall, and than what follows it.
            let goes_on = within(self.plan.stall + PATIENCE, async || {
                begin < self.n_ended.get() + BACKLOG || self.began.elapsed() > self.plan.time
            });
            assert!(goes_on.await, "no event ends any more");
            let mut acks = Vec::new();
            for n in begin..begin + CHUNK {
                let kind = if n % RARE == 0 { "api.event" } else { "event" };
                let data = json!({"key": format!("k-{}", n % N_KEYS), "text": "x".repeat(200)});
                let event = Ce::new(n).kind(kind).data(data);
                let message = PublishMessage::build()
                    .headers(event.headers())
                    .payload(event.data);
                acks.push(self.env.js.send_publish("src.e", message).await.unwrap());
            }
            for ack in acks {
                ack.await.unwrap();
            }
            self.n_published.set(begin + CHUNK);
        }
    }

    /// Has the target stall; gives how many requests waited then, and how many events ended all the
    /// same.
    async fn stall(&self, module: &Module) -> (u64, u64) {
        let (begin, end) = self.plan.stalls();
        stall(begin.saturating_sub(self.began.elapsed())).await;
        module.stall(true);
        // Until everything that is in flight waits for it.
        let settled = (self.plan.stall / 3).min(Duration::from_secs(10));
        stall(settled).await;
        let before = self.n_ended.get();
        stall(end.saturating_sub(self.began.elapsed())).await;
        let ended = self.n_ended.get() - before;
        let waiting = module.n_waiting();
        module.stall(false);
        (waiting, ended)
    }

    /// The resident memory from time to time.
    async fn sample(&self, process: &Process) -> Vec<(Duration, f64)> {
        let mut samples = Vec::new();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.began.elapsed() < self.plan.time {
            looks.tick().await;
            self.look().await;
            let resident = process.resident_memory() as f64 / f64::from(1 << 20);
            samples.push((self.began.elapsed(), resident));
        }
        samples
    }

    async fn look(&self) {
        let source = self.env.js.get_stream("SRC").await.unwrap();
        let info = source.consumer_info("syncline-p").await.unwrap();
        self.n_ended.set(info.ack_floor.stream_sequence);
    }

    fn report(&self, samples: &[(Duration, f64)]) -> Report {
        let (warm, (stall, _)) = (self.plan.warm_up(), self.plan.stalls());
        let last = self.plan.time * 3 / 4;
        let of = |from: Duration, to: Duration| {
            let taken = samples.iter().filter(|(at, _)| (from..to).contains(at));
            let mut taken: Vec<_> = taken.map(|(_, resident)| *resident).collect();
            taken.sort_by(f64::total_cmp);
            taken
        };
        let middle = |taken: Vec<f64>| taken[taken.len() / 2];
        let most = |taken: Vec<f64>| *taken.last().unwrap();
        let (before, before_peak) = (middle(of(warm, stall)), most(of(warm, stall)));
        let after = middle(of(last, Duration::MAX));
        let after_peak = most(of(stall, Duration::MAX));
        let events = self.n_published.get();
        Report {
            seconds: self.plan.time.as_secs(),
            stall_seconds: self.plan.stall.as_secs(),
            events,
            events_per_second: self.n_ended.get() / self.plan.time.as_secs(),
            rss_before_mb: rounded(before),
            rss_before_peak_mb: rounded(before_peak),
            rss_after_mb: rounded(after),
            rss_after_peak_mb: rounded(after_peak),
            growth: rounded(after / before),
            peak_growth: rounded(after_peak / before_peak),
            ..Report::default()
        }
    }
}

impl Report {
    /// Says what the figures mean, and writes them where `SOAK_REPORT` says, if it says so.
    fn judge(&mut self, plan: &Plan) {
        let flat = self.growth.max(self.peak_growth) <= plan.most;
        self.verdict = match (self.stalled_requests, self.unfinished) {
            (0, _) => "void",
            (_, 0) if flat => "ok",
            _ => "violated",
        };
        if let Some(file) = std::env::var_os("SOAK_REPORT") {
            let line = serde_json::to_string(self).unwrap();
            std::fs::write(file, line + "\n").unwrap();
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
