//! What is done to the processes of a run, in order.

use super::servers::{Role, roles};
use super::settings::{Mode, Settings};
use fastrand::Rng;
use std::time::Duration;

/// The points of `syncline::fault`, and up to which time that one is reached the program dies there.
const POINTS: [(&str, u64); 8] = [
    ("taken", 200),
    ("thought", 200),
    ("between-effects", 200),
    ("applied", 100),
    ("letter-pending", 2),
    ("letter-stored", 2),
    ("answered", 30),
    ("set-back", 1),
];

/// A run of fewer events has one of each kill.
const SHORT: u64 = 4_000;

/// Those that only one guarantee has.
const AT_LEAST_ONCE: [(&str, u64); 1] = [("marked", 100)];
const ATOMIC: [(&str, u64); 2] = [("decided", 200), ("recovering", 2)];

const DATABASE: [(&str, u64); 3] = [("begun", 200), ("decided", 200), ("recovering", 2)];

const PREPARED: [(&str, u64); 5] = [
    ("begun", 100),
    ("prepared", 100),
    ("decided", 100),
    ("recovering", 1),
    ("undoing", 1),
];

/// Those that few events come to, or only what an earlier run has left: in the first half of a run, while there
/// are enough events to try again.
const RARE: [&str; 5] = [
    "letter-pending",
    "letter-stored",
    "set-back",
    "recovering",
    "undoing",
];

/// One thing that is done to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blow {
    /// SIGKILL of the runtime, wherever it is.
    KillRuntime,
    /// SIGKILL of nats-server.
    KillServer,
    /// SIGKILL of PostgreSQL.
    KillDatabase,
    /// SIGKILL of the module.
    KillModule,
    /// SIGSTOP of the runtime, and SIGCONT after this time.
    StopRuntime(Duration),
    /// SIGSTOP of nats-server, and SIGCONT after this time.
    StopServer(Duration),
    /// SIGKILL of the server that leads in this role; it comes back once another leads.
    KillLeader(Role),
    /// SIGSTOP of the server that leads in this role, and SIGCONT after this time.
    StopLeader(Role, Duration),
    /// The runtime is stopped between its last change and its decision, and goes on when another one has taken
    /// the changes back.
    Outpace,
    /// The runtime ends itself at a named point.
    Die {
        /// Which.
        point: &'static str,
        /// At which time that it is reached.
        hit: u64,
        /// How long the event stands still before.
        after: Duration,
    },
}

/// The blows of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule(pub(super) Vec<Blow>);

impl Schedule {
    /// So many kills of the runtime.
    pub(super) fn kills(n_kills: usize) -> Self {
        Self(vec![Blow::KillRuntime; n_kills])
    }

    /// Deaths at one point, each after the event stood still for so many milliseconds.
    pub(super) fn deaths(point: &'static str, after_ms: u64, n_deaths: u64) -> Self {
        let after = Duration::from_millis(after_ms);
        let deaths = (1..=n_deaths).map(|hit| Blow::Die { point, hit, after });
        Self(deaths.collect())
    }

    /// What a run of this size gets: each point often enough, kills and stops in proportion.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut rng = Rng::with_seed(settings.seed);
        let mut blows = Vec::new();
        let own: &[(&str, u64)] = match (settings.guarantee.as_str(), settings.mode) {
            ("atomic", Mode::Changes | Mode::Databases) => &PREPARED,
            ("atomic", Mode::Database) => &DATABASE,
            ("atomic", Mode::Records) => &ATOMIC,
            _ => &AT_LEAST_ONCE,
        };
        let with_tables = matches!(settings.mode, Mode::Database | Mode::Databases);
        for (point, most) in POINTS.iter().chain(own) {
            for _ in 0..settings.hits {
                let most = (*most).min(settings.events / 300).max(1);
                blows.push(death(point, most, &mut rng));
            }
        }
        if own == PREPARED {
            blows.extend((0..settings.hits).map(|_| Blow::Outpace));
        }
        let per = |events: u64, least: u64| (settings.events / events).max(least);
        let least = if settings.events < SHORT { 1 } else { 3 };
        for _ in 0..per(4_000, least) {
            blows.push(Blow::KillRuntime);
        }
        if settings.nodes == 1 {
            for _ in 0..per(5_000, least) {
                blows.push(Blow::KillServer);
            }
        }
        if with_tables {
            for _ in 0..per(5_000, least) {
                blows.push(Blow::KillDatabase);
            }
        }
        if matches!(settings.mode, Mode::Databases | Mode::Changes) {
            blows.extend((0..per(5_000, least)).map(|_| Blow::KillModule));
        }
        for _ in 0..per(20_000, 1) {
            blows.push(Blow::StopRuntime(moment(&mut rng)));
            if settings.nodes == 1 {
                blows.push(Blow::StopServer(moment(&mut rng)));
            }
        }
        if settings.nodes > 1 {
            for role in roles(settings) {
                let kills = (0..per(10_000, 1)).map(|_| Blow::KillLeader(role));
                blows.extend(kills);
                for _ in 0..per(20_000, 1) {
                    blows.push(Blow::StopLeader(role, absence(&mut rng)));
                }
            }
        }
        rng.shuffle(&mut blows);
        Self(rare_first(blows))
    }
}

/// As they come, but each rare one is among the first: every second, for as long as there are any.
fn rare_first(blows: Vec<Blow>) -> Vec<Blow> {
    let (rare, other): (Vec<_>, Vec<_>) = blows.into_iter().partition(Blow::is_rare);
    let mut other = other.into_iter();
    let mut ordered = Vec::new();
    for next in rare {
        ordered.push(next);
        ordered.extend(other.next());
    }
    ordered.extend(other);
    ordered
}

impl Blow {
    fn is_rare(&self) -> bool {
        match self {
            Self::Outpace => true,
            Self::Die { point, .. } => RARE.contains(point),
            _ => false,
        }
    }
}

/// A death at `point`, at a time up to `most` that it is reached.
pub(super) fn death(point: &'static str, most: u64, rng: &mut Rng) -> Blow {
    Blow::Die {
        point,
        hit: rng.u64(1..=most),
        after: Duration::ZERO,
    }
}

fn moment(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(100..3_000))
}

/// From shorter to longer than the others of a cluster wait before they elect another leader.
fn absence(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(500..12_000))
}
