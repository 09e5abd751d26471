//! How large a run is, and what is done in it.

use super::schedule::Schedule;
use std::path::{Path, PathBuf};

/// How effects are made atomic, which depends on where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `MODES=A`: streams and a bucket. The decision says it all; of every other event it is one write
    /// with a message and plugin state.
    Records,
    /// `MODES=B`: a database and a stream. The database decides.
    Database,
    /// `MODES=C`: two databases and a stream. They prepare.
    Databases,
    /// `MODES=D`: as the first, with an entry that is merged into, which has to be taken back when the
    /// rest fails.
    Changes,
}

/// Each with its name in `MODES`.
const MODES: [(&str, Mode); 4] = [
    ("A", Mode::Records),
    ("B", Mode::Database),
    ("C", Mode::Databases),
    ("D", Mode::Changes),
];

impl Mode {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        MODES.iter().map(|(_, mode)| *mode).collect()
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        let found = MODES.iter().find(|(_, mode)| *mode == self);
        found.unwrap().0
    }

    /// Those that `CHAOS_MODES` names; where it names none, all that make a difference.
    pub(super) fn of_the_environment(settings: &Settings) -> Vec<Self> {
        let named = std::env::var("CHAOS_MODES").unwrap_or_default();
        if named.is_empty() && settings.guarantee != "atomic" {
            return vec![Self::Records];
        }
        let unknown = |c| !MODES.iter().any(|(name, _)| name.contains(c));
        let fault = named.chars().find(|c| unknown(*c));
        assert_eq!(fault, None, "MODES={named}: there are A, B, C and D");
        let is_meant = |name: &str| named.is_empty() || named.contains(name);
        let meant = MODES.iter().filter(|(name, _)| is_meant(name));
        meant.map(|(_, mode)| *mode).collect()
    }
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Events that are published, second copies included.
    pub(super) events: u64,
    /// What everything random rests on.
    pub(super) seed: u64,
    /// How often each named point must be died at, at least.
    pub(super) hits: u64,
    /// Runtimes at a time: one at work, and one that stands by if there are 2.
    pub(super) runtimes: u64,
    /// Partitions that runtimes share the events out in; 0: one runtime has all.
    pub(super) partitions: u64,
    /// Servers: one, or a cluster of three.
    pub(super) nodes: u64,
    /// What the pipeline promises.
    pub(super) guarantee: String,
    /// How that is done.
    pub(super) mode: Mode,
    /// A promise that the program breaks, to see that the judge notices.
    pub(super) broken: Option<String>,
    /// Where the logs of the runtimes are kept; none: nowhere.
    pub(super) logs: Option<PathBuf>,
    /// What is done to the processes; none: what the size asks for.
    pub(super) schedule: Option<Schedule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            events: 5_000,
            seed: 1,
            hits: 1,
            runtimes: 1,
            partitions: 0,
            nodes: 1,
            guarantee: "at-least-once".to_owned(),
            mode: Mode::Records,
            broken: None,
            logs: None,
            schedule: None,
        }
    }
}

impl Settings {
    /// `CHAOS_EVENTS`, `CHAOS_SEED`, `CHAOS_HITS`, `CHAOS_RUNTIMES`, `CHAOS_NODES` and `CHAOS_GUARANTEE`,
    /// as `make chaos` sets them.
    pub(super) fn of_the_environment() -> Self {
        let default = Self::default();
        let events = number("CHAOS_EVENTS").unwrap_or(default.events);
        let full = events >= 20_000;
        let nodes = number("CHAOS_NODES").unwrap_or(default.nodes);
        assert!(
            [1, 3].contains(&nodes),
            "CHAOS_NODES={nodes}: there is 1, or a cluster of 3"
        );
        Self {
            events,
            seed: number("CHAOS_SEED").unwrap_or(default.seed),
            hits: number("CHAOS_HITS").unwrap_or(if full { 5 } else { default.hits }),
            runtimes: number("CHAOS_RUNTIMES").unwrap_or(2),
            nodes,
            guarantee: std::env::var("CHAOS_GUARANTEE").unwrap_or(default.guarantee),
            logs: std::env::var_os("CHAOS_LOGS").map(PathBuf::from),
            ..default
        }
    }
}

impl Settings {
    /// Whether some events have effects, and state, that are written with the decision.
    pub(super) fn joins(&self) -> bool {
        self.guarantee == "atomic" && self.mode == Mode::Records
    }

    /// Where configurations and logs of the runtimes go: `CHAOS_LOGS`, else what is gone afterwards.
    pub(super) fn logs(&self, folder: &Path) -> PathBuf {
        let named = self.logs.clone();
        let logs = named.unwrap_or_else(|| folder.to_owned());
        std::fs::create_dir_all(&logs).unwrap();
        logs
    }
}

/// The number in a variable; none when it is empty or not there.
pub(super) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text} is no number: {error}")))
}
