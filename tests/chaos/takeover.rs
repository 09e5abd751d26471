//! A run in which two runtimes share the partitions of one pipeline, and one of them is killed again
//! and again while events come in: how soon the other one works on what was the dead one's.

use super::ground::Ground;
use super::publisher::Publisher;
use super::report::{Dealt, Report, Shares};
use super::servers::Servers;
use super::settings::Settings;
use super::workload::{self, LEASE, Planned};
use super::{PATIENCE, judge, patiently};
use crate::harness::{Process, TestEnv, within};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use syncline::txn::holders;
use tokio::time::Instant;

/// A quarter of the events is for one runtime alone, another one for two, as fast as they can.
const PART: u64 = 4;
/// While runtimes are killed, events come at a pace that leaves no backlog: what is measured is the
/// takeover. So many come in one go.
const STEP: u64 = 100;
/// From one go to the next.
const PACE: Duration = Duration::from_millis(200);
/// Goes before a kill, and after a takeover.
const GOES: u32 = 5;
/// Events that one kill takes, roughly.
const PER_KILL: u64 = 2_500;
/// Where the server shares the events out.
const SHARED: &str = "SYNCLINE_PARTITIONS_p";

/// A kill.
struct Kill {
    at: SystemTime,
    /// The first event that was published after it.
    next: usize,
    /// What the dead runtime had held.
    partitions: HashSet<u32>,
}

struct Takeover<'a> {
    settings: &'a Settings,
    env: &'a TestEnv,
    publisher: &'a Publisher,
    config: PathBuf,
    n_runs: u64,
    n_allowed: u64,
    kills: Vec<Kill>,
}

/// Runs one.
pub(super) async fn run(settings: &Settings) -> Report {
    let began = Instant::now();
    assert_eq!((settings.runtimes, settings.partitions % 2), (2, 0));
    let (servers, env) = Servers::start(settings).await;
    let events = workload::events(settings);
    let publisher = Publisher::new(servers.connect().await);
    let config = settings.logs(env.folder()).join("chaos.toml");
    let ground = Ground::prepare(&env, &servers, settings).await;
    let text = env.text(&workload::config(settings, &ground.targets()));
    std::fs::write(&config, text).unwrap();
    servers.stream(&env, "SRC", "src.>", false).await;
    let mut takeover = Takeover {
        settings,
        env: &env,
        publisher: &publisher,
        config,
        n_runs: 0,
        n_allowed: 0,
        kills: Vec::new(),
    };
    let ((mut shares, unfinished), ()) = tokio::join!(takeover.work(), publisher.run(&events));
    let kills = takeover.kills;
    for kill in &kills {
        let took = took(&env, &events, kill, shares.partitions).await;
        shares.add(took);
    }
    let found = judge::judge(&env, &ground.held().await, &events).await;
    let mut dealt = Dealt::default();
    kills.iter().for_each(|_| dealt.kill("runtime"));
    Report::of(
        settings,
        "takeover",
        (dealt, Some(shares)),
        (found, unfinished),
        began.elapsed(),
    )
}

impl Takeover<'_> {
    /// Gives what was measured, and how many events were not done in the end.
    async fn work(&mut self) -> (Shares, u64) {
        let part = self.settings.events / PART;
        let mut shares = Shares::of(self.settings.partitions, LEASE);
        let mut older = self.started().await;
        shares.events_per_second_alone = self.rate(part).await;
        let mut younger = self.started().await;
        self.shared_out().await;
        shares.events_per_second = self.rate(part).await;
        let n_kills = (self.settings.events / 2 / PER_KILL).clamp(1, self.settings.hits);
        for _ in 0..n_kills {
            self.kill(older).await;
            older = younger;
            younger = self.started().await;
            self.shared_out().await;
        }
        self.allow(u64::MAX);
        let all = self.settings.events;
        let done = within(PATIENCE, async || self.is_done(all).await).await;
        let left = match done {
            true => 0,
            false => self.env.n_messages(SHARED).await.max(1),
        };
        drop(older.drain().await);
        drop(younger.drain().await);
        (shares, left)
    }

    /// Kills a runtime while events come, which go on coming until the other one has what it had.
    async fn kill(&mut self, victim: Process) {
        let mut pace = tokio::time::interval(PACE);
        let mut flow = async |takeover: &mut Self| {
            pace.tick().await;
            takeover.allow(STEP);
        };
        for _ in 0..GOES {
            flow(self).await;
        }
        let before = self.owners().await;
        let (at, next) = (SystemTime::now(), self.n_allowed);
        victim.kill();
        let deadline = Instant::now() + PATIENCE;
        let mut after = before.clone();
        while after.values().collect::<HashSet<_>>().len() > 1 {
            assert!(Instant::now() < deadline, "nobody takes over: {after:?}");
            flow(self).await;
            after = self.owners().await;
        }
        for _ in 0..GOES {
            flow(self).await;
        }
        let allowed = self.n_allowed;
        patiently("events end", async || self.is_done(allowed).await).await;
        let lost = before.iter().filter(|(n, owner)| after[n] != **owner);
        self.kills.push(Kill {
            at,
            next: usize::try_from(next).unwrap(),
            partitions: lost.map(|(n, _)| *n).collect(),
        });
    }

    /// Has so many events come as fast as they can, and gives how many ended in a second.
    async fn rate(&mut self, n_events: u64) -> u64 {
        let began = Instant::now();
        self.allow(n_events);
        let allowed = self.n_allowed;
        patiently("events end", async || self.is_done(allowed).await).await;
        (n_events as f64 / began.elapsed().as_secs_f64()).round() as u64
    }

    /// Lets so many more events come.
    fn allow(&mut self, n_events: u64) {
        let allowed = self.n_allowed.saturating_add(n_events);
        self.n_allowed = allowed.min(self.settings.events);
        self.publisher.allow(self.n_allowed);
    }

    /// Whether the first `n_events`, as far as they come in whole chunks, have been shared out and
    /// none is left.
    async fn is_done(&self, n_events: u64) -> bool {
        let Ok(shared) = self.env.js.get_stream(SHARED).await else {
            return false;
        };
        let state = &shared.cached_info().state;
        state.last_sequence >= Publisher::whole_chunks(n_events) && state.messages == 0
    }

    /// Who holds each partition, or held it last.
    async fn owners(&self) -> BTreeMap<u32, String> {
        let holders = holders(&self.env.js, Some("p")).await.unwrap();
        let owned = holders.into_iter().filter(|holder| !holder.released);
        owned.map(|h| (h.partition, h.owner)).collect()
    }

    /// Waits until two runtimes hold as many partitions each.
    async fn shared_out(&self) {
        let half = usize::try_from(self.settings.partitions).unwrap() / 2;
        patiently("the partitions are shared out", async || {
            let mut held: HashMap<String, usize> = HashMap::new();
            for owner in self.owners().await.into_values() {
                *held.entry(owner).or_default() += 1;
            }
            held.into_values().collect::<Vec<_>>() == [half, half]
        })
        .await;
    }

    async fn started(&mut self) -> Process {
        self.n_runs += 1;
        let name = format!("chaos-{}.toml", self.n_runs);
        let config = self.config.with_file_name(name);
        std::fs::copy(&self.config, &config).unwrap();
        Process::run(&config).await
    }
}

/// From a kill until an event of each of the dead runtime's partitions, published after it, had
/// its first effect: nobody but the other one can have been the cause.
async fn took(env: &TestEnv, events: &[Planned], kill: &Kill, n_partitions: u64) -> Duration {
    let mut first = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        first.entry(event.id.clone()).or_insert((at, &event.key));
    }
    let mut reached: BTreeMap<u32, Duration> = BTreeMap::new();
    for message in env.messages("SEARCH").await {
        let data = message.json();
        let (at, key) = first[data["id"].as_str().unwrap()];
        let partition = partition_of(key, n_partitions);
        if at >= kill.next && kill.partitions.contains(&partition) {
            let after = message.stored.unwrap().duration_since(kill.at).unwrap();
            let reached = reached.entry(partition).or_insert(after);
            *reached = after.min(*reached);
        }
    }
    assert_eq!(reached.len(), kill.partitions.len(), "too few events");
    reached.into_values().max().unwrap()
}

/// As the server tells it: FNV-1a.
fn partition_of(key: &str, n_partitions: u64) -> u32 {
    let mixed = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    mixed % u32::try_from(n_partitions).unwrap()
}
