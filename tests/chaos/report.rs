//! What came of a run.

use super::schedule::{Blow, Schedule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The judge's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Everything is as it must be, and enough faults fired to say so.
    Ok,
    /// Something is not as it must be.
    Violated,
    /// Too few faults fired: the run proves nothing.
    Void,
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

impl Report {
    /// What the counts say.
    pub(super) fn judged(mut self) -> Self {
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

    /// Writes it where `CHAOS_REPORT` says, if it says so.
    pub(super) fn save(&self) {
        if let Some(file) = std::env::var_os("CHAOS_REPORT") {
            let line = serde_json::to_string(self).unwrap();
            std::fs::write(Path::new(&file), line + "\n").unwrap();
        }
    }
}
