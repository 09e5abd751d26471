//! The events of a run: the same for the same seed.

use super::settings::{Mode, Settings};
use crate::harness::Ce;
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Duration;

/// How many events there are of each key, roughly.
const PER_KEY: u64 = 50;
/// The time of the pipeline's lease.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// How far behind its original a second copy comes at most.
const COPY_DISTANCE: usize = 300;

/// What must become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its effects are in every target.
    Applied,
    /// It has no effect and no dead letter.
    Filtered,
    /// It has a dead letter and no effect.
    Dead,
}

/// One event as it is published.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// CloudEvents id.
    pub(super) id: String,
    /// Ordering key.
    pub(super) key: String,
    /// Whether something of it is written with its decision.
    pub(super) joins: bool,
    /// 0, or which copy of an earlier event it is.
    pub(super) copy: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Transient,
    Dropped,
    Rejected,
    Trapping,
}

/// The pipeline that the events go through.
const CONFIG: &str = r#"
[plugins.probe]
path = "${PROBE}"
grants = { state = true }

TARGETS
[targets.search]
kind = "subject"
subject = "search.{key}"
stream = "SEARCH"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "2s" }
key = "json:/key"
stages = ["probe"]
to = [{ target = "search" }, { target = "crm" }, { target = "audit", operation = "append" }]
guarantee = "GUARANTEE"
dedupe = { horizon = "1h" }
lease = "LEASE"
retry = { attempts = 50, backoff = "5ms..200ms" }
limits = { events = 512 }
"#;

/// The same with what it promises, with these targets beside `search`, and shared out where the run asks
/// for it.
pub(super) fn config(settings: &Settings, targets: &str) -> String {
    let mut config = CONFIG.replace("GUARANTEE", &settings.guarantee);
    config = config.replace("LEASE", &format!("{LEASE:?}"));
    config = config.replace("TARGETS", targets);
    if settings.joins() {
        let joined = format!("to = [{{ target = \"feed\", when = {{ type = \"{JOINED}\" }} }}, ");
        config = config.replace("to = [", &joined) + FEED;
    } else {
        config = config.replace("grants = { state = true }\n", "");
    }
    if settings.mode == Mode::Changes {
        let merged = "{ target = \"crm\", operation = \"merge\" }";
        config = config.replace("{ target = \"crm\" }", merged);
    }
    let api = match settings.mode {
        Mode::Changes => "{ target = \"api\", entity = \"person\" }, ",
        Mode::Databases => "{ target = \"api\", entity = \"person\", operation = \"append\" }, ",
        Mode::Records | Mode::Database => "",
    };
    config = config.replace("to = [", &format!("to = [{api}"));
    if settings.partitions > 0 {
        let shared = format!("key = \"subject:2\"\npartitions = {}", settings.partitions);
        config = config.replace("key = \"json:/key\"", &shared);
    }
    config
}

/// The type of events of which something is written with the decision.
const JOINED: &str = "joined";
/// What that is, beside plugin state.
const FEED: &str = r#"
[targets.feed]
kind = "subject"
subject = "out.feed.{key}"
stream = "TX"
create = true
"#;

/// The events of a run, in the order in which they are published.
pub(super) fn events(settings: &Settings) -> Vec<Planned> {
    let mut rng = Rng::with_seed(settings.seed);
    let n_keys = (settings.events / PER_KEY).max(1);
    let mut events: Vec<Planned> = Vec::new();
    for n in 0..settings.events {
        let earlier = events.len().checked_sub(1 + rng.usize(0..COPY_DISTANCE));
        let copied = earlier
            .filter(|_| rng.u8(0..100) < 5)
            .and_then(|at| events.get(at).cloned());
        events.push(match copied {
            Some(event) => Planned { copy: n, ..event },
            None => Planned {
                id: format!("e-{n}"),
                key: format!("k-{}", rng.u64(0..n_keys)),
                joins: settings.joins() && n % 2 == 0,
                copy: 0,
                kind: kind(&mut rng),
            },
        });
    }
    events
}

fn kind(rng: &mut Rng) -> Kind {
    match rng.u8(0..100) {
        0..4 => Kind::Transient,
        4..9 => Kind::Dropped,
        9..11 => Kind::Rejected,
        11 => Kind::Trapping,
        _ => Kind::Plain,
    }
}

impl Planned {
    /// What must become of it, or of the copy that comes first.
    pub(super) fn fate(&self) -> Fate {
        match self.kind {
            Kind::Plain | Kind::Transient => Fate::Applied,
            Kind::Dropped => Fate::Filtered,
            Kind::Rejected | Kind::Trapping => Fate::Dead,
        }
    }

    /// Whether the plugin's count of its key counts it, once.
    pub(super) fn is_counted(&self) -> bool {
        self.joins && self.fate() != Fate::Dead
    }

    /// Where it is published.
    pub(super) fn subject(&self) -> String {
        format!("src.{}", self.key)
    }

    /// The message. One message id for each copy: the publisher may send it twice, and the source
    /// stream keeps one.
    pub(super) fn message(&self) -> Ce {
        let mut steps: Value = match self.kind {
            Kind::Plain => json!([]),
            Kind::Transient => json!([{"do": "retry", "after_ms": 3, "before_attempt": 2}]),
            Kind::Dropped => json!([{"do": "drop"}]),
            Kind::Rejected => json!([{"do": "reject", "reason": "as planned"}]),
            Kind::Trapping => json!([{"do": "trap", "message": "as planned"}]),
        };
        let count = json!({"do": "state", "op": "add", "key": self.key});
        if let Some(steps) = steps.as_array_mut().filter(|_| self.joins) {
            steps.insert(0, count);
        }
        let data = json!({"id": self.id, "key": self.key, "copy": self.copy, "steps": steps});
        let id = format!("{}/{}", self.id, self.copy);
        let event = Ce::new(&self.id).data(data).header("Nats-Msg-Id", &id);
        match self.joins {
            true => event.kind(JOINED),
            false => event,
        }
    }
}
