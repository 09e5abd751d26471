//! A run: events come in, processes are killed and stopped, and in the end the judge looks.

use super::ground::Ground;
use super::publisher::Publisher;
use super::report::{Dealt, Report};
use super::schedule::{self, Blow, Schedule};
use super::servers::{Role, Servers};
use super::settings::Settings;
use super::workload;
use super::{PATIENCE, clean, judge, patiently};
use crate::harness::{Process, TestEnv, stall, within};
use fastrand::Rng;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How many deaths that did not come are tried again, for each blow.
const TRIES: u64 = 4;
/// How many events there are at most beyond the one that a blow waits for: in a long run more than
/// the pipeline takes at once, so that it has its hands full.
const AHEAD: u64 = 1_500;
/// At least so many, which is more than one chunk.
const LEAST_AHEAD: u64 = 15;
/// How long a runtime whose lease was lost while it stood still may try to go on.
const WAKE: Duration = Duration::from_millis(300);
/// The longest moment between a blow's time and the blow.
const JITTER_MS: u64 = 40;
/// How long a server stays away at most once others lead in its place.
const DOWN_MS: u64 = 2_000;

/// What a runtime says that dies of its fault.
pub(super) const DIES: &str = "fault: the program dies here";

pub(super) struct Storm<'a> {
    settings: &'a Settings,
    env: &'a TestEnv,
    servers: &'a Servers,
    ground: &'a Ground<'a>,
    pub(super) publisher: &'a Publisher,
    rng: Rng,
    config: PathBuf,
    /// The runtime that takes over when the one at work goes.
    standby: Option<Process>,
    ahead: u64,
    n_runs: u64,
    pub(super) dealt: Dealt,
}

/// Runs one.
pub(super) async fn run(settings: &Settings) -> Report {
    let began = Instant::now();
    let (servers, env) = Servers::start(settings).await;
    let ground = Ground::prepare(&env, &servers, settings).await;
    let events = workload::events(settings);
    let publisher = Publisher::new(servers.connect().await);
    let config = settings.logs(env.folder()).join("chaos.toml");
    let text = env.text(&workload::config(settings, &ground.targets()));
    std::fs::write(&config, text).unwrap();
    let schedule = settings.schedule.clone();
    let schedule = schedule.unwrap_or_else(|| Schedule::of(settings));
    let mut storm = Storm {
        settings,
        env: &env,
        servers: &servers,
        ground: &ground,
        publisher: &publisher,
        rng: Rng::with_seed(settings.seed),
        config,
        standby: None,
        ahead: ahead(&schedule, settings),
        n_runs: 0,
        dealt: Dealt::nothing_of(&schedule),
    };
    servers.stream(&env, "SRC", "src.>", false).await;
    let (last, ()) = tokio::join!(storm.blow(schedule), publisher.run(&events));
    let unfinished = storm.calm(last).await;
    let dealt = storm.dealt;
    let mut held = ground.held().await;
    held.open.extend(clean::left(&env, ground.server()).await);
    let mut found = judge::judge(&env, &held, &events).await;
    for late in clean::undone_late(&ground).await {
        found.disorder(late);
    }
    Report::of(
        settings,
        "kill",
        (dealt, None),
        (found, unfinished),
        began.elapsed(),
    )
}

/// A quarter of the events that there are for each blow: whoever takes over works them off before the
/// next one.
fn ahead(schedule: &Schedule, settings: &Settings) -> u64 {
    let n_blows = u64::try_from(schedule.0.len()).unwrap() + 1;
    // The publisher publishes by the chunk: with less than one, it and the storm would wait for each other.
    AHEAD.min(settings.events / n_blows / 4).max(LEAST_AHEAD)
}

/// Whether the point is only reached when an earlier run has left something unfinished.
fn needs_unfinished(point: &str) -> bool {
    ["set-back", "recovering", "undoing"].contains(&point)
}

impl Storm<'_> {
    /// Deals the blows, spread over the events; gives the runtime that is left.
    async fn blow(&mut self, schedule: Schedule) -> Option<Process> {
        let mut blows: VecDeque<Blow> = schedule.0.into();
        let mut tries = u64::try_from(blows.len()).unwrap() * TRIES;
        let mut runtime = None;
        while let Some(blow) = blows.pop_front() {
            // From where the events are, which may be further than the last blow waited for.
            let ended = self.publisher.n_ended().await;
            if ended >= self.settings.events {
                // What would still be hit?
                break;
            }
            let left = u64::try_from(blows.len()).unwrap() + 2;
            let rest = (self.settings.events - ended).saturating_sub(left * self.ahead);
            let until = ended + rest / left;
            let again = self.strike(blow, &mut runtime, until).await;
            if let Some(again) = again.filter(|_| tries > 0) {
                tries -= 1;
                // Soon: in the end too few events are left.
                blows.insert(blows.len().min(1), again);
            }
        }
        self.publisher.allow(u64::MAX);
        runtime
    }

    /// Deals one blow once events up to `until` have ended. A death that did not come is given back.
    async fn strike(
        &mut self,
        blow: Blow,
        runtime: &mut Option<Process>,
        until: u64,
    ) -> Option<Blow> {
        self.allow(until);
        if let Blow::Die { point, hit, after } = &blow {
            self.make_way(point, runtime.take(), until).await;
            let fault = format!("die={point}:{hit}:{}", after.as_millis());
            let armed = self.start(&fault);
            if self.dies(armed, !needs_unfinished(point)).await {
                self.dealt.kill("runtime");
                self.dealt.fire(point);
                return None;
            }
            // Sooner than the last time.
            return Some(schedule::death(point, hit.div_ceil(2), &mut self.rng));
        }
        if blow == Blow::Outpace {
            self.make_way("", runtime.take(), until).await;
            *runtime = self.outpace().await;
            return runtime.is_none().then_some(blow);
        }
        let running = match runtime.take() {
            Some(running) => running,
            None => self.ready().await,
        };
        self.wait_for(until).await;
        stall(Duration::from_millis(self.rng.u64(0..JITTER_MS))).await;
        *runtime = self.hit(blow, running).await;
        None
    }

    /// Lets events come as far as the one at `until`, and some more.
    fn allow(&self, until: u64) {
        self.publisher
            .allow((until + self.ahead).min(self.settings.events));
    }

    /// No runtime is left, and where the point asks for it, events that it had begun are.
    async fn make_way(&mut self, point: &str, running: Option<Process>, until: u64) {
        let standby = self.standby.take();
        let running = match (running, standby) {
            (Some(running), standby) => {
                // Nobody but the one that is to die takes over.
                standby.into_iter().for_each(|standby| self.kill(standby));
                running
            }
            (None, Some(standby)) => standby,
            (None, None) if needs_unfinished(point) => self.ready().await,
            (None, None) => return,
        };
        self.wait_for(until).await;
        self.allow(until + self.ahead);
        if point == "undoing" {
            self.kill(running);
            self.leave_prepared().await;
            return;
        }
        if needs_unfinished(point) {
            self.standby.take().into_iter().for_each(|s| self.kill(s));
            self.catch_at_work(&running).await;
        }
        self.kill(running);
    }

    /// A runtime dies between a change and its decision, and nobody stands by: the next one finds something
    /// to take back.
    async fn leave_prepared(&mut self) {
        self.standby.take().into_iter().for_each(|s| self.kill(s));
        let mut armed = self.start("die=prepared:1:0");
        let mut ended = !armed.is_active().await;
        patiently("a program dies with a change on its way", async || {
            ended |= armed.has_ended();
            ended || self.publisher.has_caught_up().await
        })
        .await;
        match ended {
            true => self.dealt.kill("runtime"),
            false => self.kill(armed),
        }
    }

    /// Stops the runtime at a moment at which it has events to answer for, if there are any left.
    async fn catch_at_work(&self, running: &Process) {
        patiently("the program is caught at work", async || {
            running.pause();
            // While nobody leads the consumer, nobody knows.
            let unacked = self.env.try_unacked("SRC", "syncline-p").await;
            let works = unacked.is_some_and(|(working, _)| working > 0);
            if !works {
                running.resume();
            }
            works || self.publisher.has_caught_up().await
        })
        .await;
    }

    async fn hit(&mut self, blow: Blow, running: Process) -> Option<Process> {
        match blow {
            Blow::KillRuntime => {
                self.kill(running);
                return None;
            }
            Blow::KillServer => {
                self.servers.only().kill();
                self.dealt.kill("nats");
                self.servers.only().restart().await;
            }
            Blow::KillDatabase => {
                self.ground.strike().await;
                self.dealt.kill("postgres");
            }
            Blow::KillModule => {
                self.ground.strike_module().await;
                self.dealt.kill("module");
            }
            Blow::StopRuntime(time) => {
                running.pause();
                stall(time).await;
                running.resume();
                self.dealt.stop("runtime");
                if self.standby.is_some() {
                    // Its lease may be lost by now. It wakes with its hands full, and goes.
                    stall(WAKE).await;
                    self.kill(running);
                    return None;
                }
            }
            Blow::StopServer(time) => {
                self.servers.only().pause();
                stall(time).await;
                self.servers.only().resume();
                self.dealt.stop("nats");
            }
            Blow::KillLeader(role) => self.kill_leader(role).await,
            Blow::StopLeader(role, time) => self.stop_leader(role, time).await,
            // These are dealt by other means.
            Blow::Outpace | Blow::Die { .. } => {}
        }
        Some(running)
    }

    /// The events go on with the two that are left, at least for a moment.
    async fn kill_leader(&mut self, role: Role) {
        self.servers.whole().await;
        let leader = self.servers.leader(self.env, role).await;
        leader.kill();
        self.dealt.kill("nats");
        let fired = self.dealt.leaders_killed.entry(role.name()).or_default();
        fired.fired += 1;
        self.servers.led(self.env, self.settings).await;
        stall(Duration::from_millis(self.rng.u64(0..DOWN_MS))).await;
        leader.relaunch().await;
        self.servers.led(self.env, self.settings).await;
    }

    /// It wakes as one who may have been replaced meanwhile.
    async fn stop_leader(&mut self, role: Role, time: Duration) {
        self.servers.whole().await;
        let leader = self.servers.leader(self.env, role).await;
        leader.pause();
        stall(time).await;
        leader.resume();
        self.dealt.stop("nats");
        let fired = self.dealt.leaders_stopped.entry(role.name()).or_default();
        fired.fired += 1;
        self.servers.led(self.env, self.settings).await;
    }

    pub(super) fn kill(&mut self, running: Process) {
        running.kill();
        self.dealt.kill("runtime");
    }

    /// Waits for the death of an armed runtime, at most until there is nothing left to do; with `more`
    /// that is when there is no other event. Gives whether it died of its fault.
    async fn dies(&mut self, mut armed: Process, more: bool) -> bool {
        let mut ended = !armed.is_active().await;
        if !ended && self.settings.runtimes > 1 {
            // It takes over from the one that dies. Sooner, it might take the lease before that one.
            self.standby = Some(self.started().await);
        }
        loop {
            patiently("the armed program dies", async || {
                ended = armed.has_ended();
                ended || self.publisher.has_caught_up().await
            })
            .await;
            if ended || !more || !self.allow_more() {
                break;
            }
        }
        if !ended {
            // It would die at a time when nobody expects it.
            self.kill(armed);
            return false;
        }
        let log = armed.log();
        let fired = log.contains(DIES);
        assert!(fired, "the program ended by itself:\n{log}");
        true
    }

    /// Lets some more events come; false when all of them may.
    fn allow_more(&self) -> bool {
        let allowed = self.publisher.allowed();
        self.allow(allowed);
        allowed < self.settings.events
    }

    /// Waits until the events up to `until` have ended.
    async fn wait_for(&self, until: u64) {
        patiently("events end", async || {
            self.publisher.n_ended().await >= until
        })
        .await;
    }

    /// Starts the program, with the promise broken that the run is about.
    pub(super) fn start(&mut self, fault: &str) -> Process {
        self.n_runs += 1;
        let config = self
            .config
            .with_file_name(format!("chaos-{}.toml", self.n_runs));
        std::fs::copy(&self.config, &config).unwrap();
        let broken = self.settings.broken.iter();
        let broken = broken.map(|promise| format!("break={promise}"));
        let faults: Vec<String> = broken.chain([fault.to_owned()]).collect();
        Process::launch(&config, &faults.join(" "))
    }

    /// The runtime at work, and one that stands by where the run asks for it.
    async fn ready(&mut self) -> Process {
        let running = match self.standby.take() {
            Some(standby) => standby,
            None => self.started().await,
        };
        if self.settings.runtimes > 1 {
            self.standby = Some(self.started().await);
        }
        running
    }

    /// Starts the program without another fault, and waits until it takes events or stands by.
    async fn started(&mut self) -> Process {
        let mut started = self.start("");
        let ready = started.is_ready().await;
        assert!(ready, "{}", started.log());
        started
    }

    /// No more blows: everything is to end. Gives how many events did not.
    async fn calm(&mut self, last: Option<Process>) -> u64 {
        drop(last);
        drop(self.standby.take());
        self.servers.led(self.env, self.settings).await;
        let running = self.started().await;
        // What a server tells that is behind the others may be of yesterday.
        self.servers.whole().await;
        let mut left = u64::MAX;
        within(PATIENCE, async || {
            if let Some((working, waiting)) = self.env.try_unacked("SRC", "syncline-p").await {
                left = waiting + u64::try_from(working).unwrap();
            }
            left == 0
        })
        .await;
        drop(running.drain().await);
        left
    }
}
