//! What came of a run.

use super::judge::Findings;
use super::schedule::{Blow, Schedule};
use super::settings::Settings;
use super::table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What [`Blow::Outpace`] is called: the point at which the event stands still.
pub(super) const OUTPACED: &str = "deciding";

/// The judge's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Everything is as it must be, and enough faults fired to say so.
    Ok,
    /// Too few faults fired: the run proves nothing.
    Void,
    /// Something is not as it must be.
    Violated,
}

/// How often a fault fired, and how often it had to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Fired {
    /// How often it did.
    pub(super) fired: u64,
    /// How often it must have, at least.
    pub(super) expected: u64,
}

/// What was done to the processes.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Dealt {
    /// Processes that were killed, by SIGKILL or by their own hand at a point.
    pub(super) kills: BTreeMap<&'static str, u64>,
    /// Processes that were stopped for a while by SIGSTOP.
    pub(super) stops: BTreeMap<&'static str, u64>,
    /// Deaths at each named point.
    pub(super) faults_fired: BTreeMap<&'static str, Fired>,
    /// Servers of a cluster that were killed while they led, in each role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) leaders_killed: BTreeMap<&'static str, Fired>,
    /// Servers of a cluster that were stopped for a while as they led, in each role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) leaders_stopped: BTreeMap<&'static str, Fired>,
}

/// The report of a run, as `make chaos JSON=1` prints it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// The guarantee of the pipeline.
    pub(super) guarantee: String,
    /// How that was done; of a run over several modes, each.
    pub(super) mode: String,
    /// What was done to the processes.
    pub(super) scenario: &'static str,
    /// What everything random rests on.
    pub(super) seed: u64,
    /// Events published, second copies included.
    pub(super) events: u64,
    /// Servers at a time.
    pub(super) nodes: u64,
    /// What was done to the processes.
    #[serde(flatten)]
    pub(super) dealt: Dealt,
    /// How partitions went from one runtime to another, where the run was about that.
    #[serde(flatten)]
    pub(super) shares: Option<Shares>,
    /// Effects and dead letters that must be there and are not.
    pub(super) lost: u64,
    /// Effects and dead letters that are there once more than they must be.
    pub(super) duplicates: u64,
    /// Effects and dead letters that must not be there at all.
    pub(super) phantoms: u64,
    /// Events that one target has and another has not.
    pub(super) torn: u64,
    /// Effects that came before one of an earlier event of their key.
    pub(super) order_violations: u64,
    /// Transactions that are prepared in a database or open on the log in the end.
    pub(super) open: u64,
    /// Events that were neither done nor given up in the end.
    pub(super) unfinished: u64,
    /// How long the run took.
    pub(super) seconds: u64,
    /// The judge's word.
    pub(super) verdict: Verdict,
    /// Some of what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) examples: Vec<String>,
    /// Of a run over several modes, the reports of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) modes: BTreeMap<&'static str, Self>,
}

/// How two runtimes shared the events of a pipeline out, and what became of them when one was killed.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Shares {
    /// Partitions of the pipeline.
    pub(super) partitions: u64,
    /// The time of a lease.
    pub(super) lease_ms: u64,
    /// Events that one runtime alone ended in a second.
    pub(super) events_per_second_alone: u64,
    /// Events that both ended in a second.
    pub(super) events_per_second: u64,
    /// From each kill until the other one had worked on each partition of the dead one.
    pub(super) takeovers_ms: Vec<u64>,
    /// The longest of those.
    pub(super) takeover_ms: u64,
}

impl Shares {
    /// Nothing measured yet.
    pub(super) fn of(partitions: u64, lease: Duration) -> Self {
        Self {
            partitions,
            lease_ms: milliseconds(lease),
            ..Self::default()
        }
    }

    /// A takeover took so long.
    pub(super) fn add(&mut self, took: Duration) {
        let took = milliseconds(took);
        self.takeovers_ms.push(took);
        self.takeover_ms = self.takeover_ms.max(took);
    }

    /// Whether one took longer than what is promised: twice the time of a lease.
    fn is_late(&self) -> bool {
        self.takeover_ms > 2 * self.lease_ms
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl Dealt {
    /// Nothing yet, of what `schedule` asks for.
    pub(super) fn nothing_of(schedule: &Schedule) -> Self {
        let mut dealt = Self::default();
        for blow in &schedule.0 {
            let (fired, name) = match blow {
                Blow::Die { point, .. } => (&mut dealt.faults_fired, *point),
                Blow::Outpace => (&mut dealt.faults_fired, OUTPACED),
                Blow::KillLeader(role) => (&mut dealt.leaders_killed, role.name()),
                Blow::StopLeader(role, _) => (&mut dealt.leaders_stopped, role.name()),
                _ => continue,
            };
            fired.entry(name).or_default().expected += 1;
        }
        dealt
    }

    /// A process was killed.
    pub(super) fn kill(&mut self, process: &'static str) {
        *self.kills.entry(process).or_default() += 1;
    }

    /// A process was stopped for a while.
    pub(super) fn stop(&mut self, process: &'static str) {
        *self.stops.entry(process).or_default() += 1;
    }

    /// A fault fired at a named point.
    pub(super) fn fire(&mut self, point: &'static str) {
        self.faults_fired.entry(point).or_default().fired += 1;
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.kills, &other.kills, |sum, n| *sum += n);
        add(&mut self.stops, &other.stops, |sum, n| *sum += n);
        let fired = |sum: &mut Fired, more: &Fired| {
            sum.fired += more.fired;
            sum.expected += more.expected;
        };
        add(&mut self.faults_fired, &other.faults_fired, fired);
        add(&mut self.leaders_killed, &other.leaders_killed, fired);
        add(&mut self.leaders_stopped, &other.leaders_stopped, fired);
    }

    fn is_all(&self) -> bool {
        let fired = [
            &self.faults_fired,
            &self.leaders_killed,
            &self.leaders_stopped,
        ];
        let mut fired = fired.into_iter().flat_map(BTreeMap::values);
        fired.all(|f| f.fired >= f.expected)
    }
}

fn add<T: Default>(
    sums: &mut BTreeMap<&'static str, T>,
    more: &BTreeMap<&'static str, T>,
    add: impl Fn(&mut T, &T),
) {
    for (name, more) in more {
        add(sums.entry(name).or_default(), more);
    }
}

impl Report {
    /// Of one run, with the judge's word.
    pub(super) fn of(
        settings: &Settings,
        scenario: &'static str,
        (dealt, shares): (Dealt, Option<Shares>),
        (found, unfinished): (Findings, u64),
        took: Duration,
    ) -> Self {
        let report = Self {
            guarantee: settings.guarantee.clone(),
            mode: settings.mode.name().to_owned(),
            scenario,
            seed: settings.seed,
            events: settings.events,
            nodes: settings.nodes,
            dealt,
            shares,
            lost: found.lost,
            duplicates: found.duplicates,
            phantoms: found.phantoms,
            torn: found.torn,
            order_violations: found.order_violations,
            open: found.open,
            unfinished,
            seconds: took.as_secs(),
            verdict: Verdict::Void,
            examples: found.examples,
            modes: BTreeMap::new(),
        };
        report.judged()
    }

    /// One for all of `modes`; of one mode its own.
    pub(super) fn over(modes: BTreeMap<&'static str, Self>) -> Self {
        let mut reports = modes.values();
        let first = reports.next().expect("a run has a mode");
        let whole = reports.fold(first.clone(), Self::and);
        match modes.len() {
            1 => whole,
            _ => Self { modes, ..whole },
        }
    }

    fn and(mut self, other: &Self) -> Self {
        self.mode += &other.mode;
        self.events += other.events;
        self.dealt.add(&other.dealt);
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.phantoms += other.phantoms;
        self.torn += other.torn;
        self.order_violations += other.order_violations;
        self.open += other.open;
        self.unfinished += other.unfinished;
        self.seconds += other.seconds;
        self.verdict = self.verdict.max(other.verdict);
        self.examples.extend(other.examples.iter().cloned());
        self
    }

    /// What the counts say.
    fn judged(mut self) -> Self {
        let wrong = [
            self.lost,
            self.duplicates,
            self.phantoms,
            self.torn,
            self.order_violations,
            self.open,
            self.unfinished,
        ];
        let all_fired = self.dealt.is_all();
        let late = self.shares.as_ref().is_some_and(Shares::is_late);
        self.verdict = match wrong {
            wrong if wrong != [0; 7] || late => Verdict::Violated,
            _ if all_fired => Verdict::Ok,
            _ => Verdict::Void,
        };
        self
    }

    /// Writes it where `CHAOS_REPORT` says, if it says so, and beside it the table of what fired.
    pub(super) fn save(&self) {
        if let Some(file) = std::env::var_os("CHAOS_REPORT") {
            let (file, line) = (Path::new(&file), serde_json::to_string(self).unwrap());
            std::fs::write(file, line + "\n").unwrap();
            std::fs::write(file.with_extension("txt"), table::of(self)).unwrap();
        }
    }
}
