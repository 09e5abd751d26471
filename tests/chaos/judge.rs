//! The judge: compares what the targets hold with what the source stream holds. It rests on nothing
//! that Syncline says of itself.

use super::ground::Held;
use super::workload::{Fate, Planned};
use crate::harness::{Message, TestEnv};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many examples a report has of what is wrong.
const EXAMPLES: usize = 10;

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) phantoms: u64,
    pub(super) torn: u64,
    pub(super) order_violations: u64,
    pub(super) open: u64,
    pub(super) examples: Vec<String>,
}

/// An event as the source stream holds its first copy.
struct Sourced {
    /// Its place in the source.
    position: usize,
    key: String,
    copy: u64,
    fate: Fate,
    /// Whether something of it is written with its decision.
    joins: bool,
}

/// What became of the events in one target: how often each is there.
type Seen = HashMap<String, u64>;

/// Compares.
pub(super) async fn judge(env: &TestEnv, held: &Held, planned: &[Planned]) -> Findings {
    let mut findings = Findings::default();
    let by_id = planned.iter().map(|event| (event.id.as_str(), event));
    let sourced = sourced(&env.messages("SRC").await, &by_id.collect());
    for event in planned {
        if !sourced.contains_key(&event.id) {
            findings.lost(format!("{} is not in the source", event.id));
        }
    }
    let search = findings.effects("search", &held.search, &sourced);
    let audit = findings.effects("audit", &held.audit, &sourced);
    let appended = held.appended.as_ref();
    let appended = appended.map(|appended| findings.effects("api", appended, &sourced));
    let feed = held.feed.as_ref();
    let feed = feed.map(|feed| findings.effects("feed", feed, &sourced));
    findings.counts(&held.counts, planned);
    let letters = findings.letters(&held.letters, &sourced);
    for (id, event) in &sourced {
        let (in_search, in_audit) = (search.contains_key(id), audit.contains_key(id));
        let in_api = appended.as_ref().map(|appended| appended.contains_key(id));
        if event.fate == Fate::Applied && in_api.is_some_and(|in_api| in_api != in_audit) {
            findings.torn(format!("{id}: in api: {in_api:?}, in audit: {in_audit}"));
        }
        let in_feed = feed.as_ref().map(|feed| feed.contains_key(id));
        let in_step = event.joins && in_search;
        if in_feed.is_some_and(|in_feed| in_feed != in_step) {
            findings.torn(format!(
                "{id}: in feed: {in_feed:?}, in search: {in_search}, to be in both: {}",
                event.joins
            ));
        }
        match event.fate {
            Fate::Applied if !in_search && !in_audit => {
                findings.lost(format!("{id} has no effect"));
            }
            Fate::Applied if in_search != in_audit => findings.torn(format!(
                "{id}: in search: {in_search}, in audit: {in_audit}"
            )),
            Fate::Dead if !letters.contains_key(id) => {
                findings.lost(format!("{id} has no dead letter"));
            }
            _ => {}
        }
    }
    for entries in std::iter::once(&held.entries).chain(&held.entities) {
        findings.entries(entries, &sourced);
    }
    for open in &held.open {
        findings.open(open.clone());
    }
    findings
}

fn sourced(messages: &[Message], planned: &HashMap<&str, &Planned>) -> HashMap<String, Sourced> {
    let mut sourced = HashMap::new();
    for (position, message) in messages.iter().enumerate() {
        let data = message.json();
        let id = text(&data, "id");
        let planned = planned[id.as_str()];
        sourced.entry(id).or_insert_with(|| Sourced {
            position,
            key: text(&data, "key"),
            copy: data["copy"].as_u64().unwrap(),
            fate: planned.fate(),
            joins: planned.joins,
        });
    }
    sourced
}

fn text(data: &Value, member: &str) -> String {
    data[member].as_str().unwrap().to_owned()
}

impl Findings {
    /// Each event that must be there is there once, with the data of its first copy, after the
    /// earlier ones of its key.
    fn effects(
        &mut self,
        target: &str,
        effects: &[Value],
        sourced: &HashMap<String, Sourced>,
    ) -> Seen {
        let mut seen = Seen::new();
        let mut last: HashMap<&str, usize> = HashMap::new();
        for data in effects {
            let id = text(data, "id");
            let event = &sourced[&id];
            let n_seen = seen.entry(id.clone()).or_default();
            *n_seen += 1;
            if event.fate != Fate::Applied {
                self.phantom(format!("{id} is in {target}"));
            } else if *n_seen > 1 {
                self.duplicate(format!("{id} is in {target} {n_seen} times"));
            } else {
                if data["copy"] != event.copy {
                    let (there, first) = (&data["copy"], event.copy);
                    self.phantom(format!(
                        "{id}: copy {there} is in {target}, {first} came first"
                    ));
                }
                let before = last.insert(&event.key, event.position);
                if before.is_some_and(|before| before > event.position) {
                    self.disorder(format!("{id} of {} is late in {target}", event.key));
                }
            }
        }
        seen
    }

    /// Each event that the plugin has counted is counted once.
    fn counts(&mut self, counts: &BTreeMap<String, u64>, planned: &[Planned]) {
        let mut expected: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for event in planned.iter().filter(|event| event.is_counted()) {
            expected.entry(&event.key).or_default().insert(&event.id);
        }
        for (key, events) in expected {
            let n_events = u64::try_from(events.len()).unwrap();
            let counted = counts.get(key).copied().unwrap_or_default();
            let what = format!("{counted} of {n_events} events of {key} are counted");
            match counted.cmp(&n_events) {
                Ordering::Less => self.lost(what),
                Ordering::Equal => {}
                Ordering::Greater => self.duplicate(what),
            }
        }
    }

    fn letters(&mut self, letters: &[Value], sourced: &HashMap<String, Sourced>) -> Seen {
        let mut seen = Seen::new();
        for letter in letters {
            let id = text(letter, "event_id");
            let n_seen = seen.entry(id.clone()).or_default();
            *n_seen += 1;
            if sourced[&id].fate != Fate::Dead {
                self.phantom(format!("{id} has a dead letter: {}", letter["error"]));
            } else if *n_seen > 1 {
                self.duplicate(format!("{id} has {n_seen} dead letters"));
            }
        }
        seen
    }

    /// Each entry is what the last event of its key made of it.
    fn entries(&mut self, entries: &BTreeMap<String, String>, sourced: &HashMap<String, Sourced>) {
        let mut expected: HashMap<&str, (&str, usize)> = HashMap::new();
        for (id, event) in sourced.iter().filter(|(_, e)| e.fate == Fate::Applied) {
            let last = expected.entry(&event.key).or_insert((id, event.position));
            if event.position > last.1 {
                *last = (id, event.position);
            }
        }
        for (key, (id, _)) in &expected {
            let entry = entries.get(*key).map(|entry| {
                let entry: Value = serde_json::from_str(entry).unwrap();
                text(&entry, "id")
            });
            if entry.as_deref() != Some(*id) {
                self.lost(format!("{key} is as {entry:?} made it, not as {id} did"));
            }
        }
        let known: HashSet<&str> = expected.keys().copied().collect();
        for key in entries.keys().filter(|key| !known.contains(key.as_str())) {
            self.phantom(format!("nobody wrote the entry {key}"));
        }
    }

    fn lost(&mut self, what: String) {
        self.lost += 1;
        self.note("lost", what);
    }

    fn duplicate(&mut self, what: String) {
        self.duplicates += 1;
        self.note("duplicate", what);
    }

    fn phantom(&mut self, what: String) {
        self.phantoms += 1;
        self.note("phantom", what);
    }

    fn torn(&mut self, what: String) {
        self.torn += 1;
        self.note("torn", what);
    }

    pub(super) fn disorder(&mut self, what: String) {
        self.order_violations += 1;
        self.note("order", what);
    }

    fn open(&mut self, what: String) {
        self.open += 1;
        self.note("open", what);
    }

    fn note(&mut self, kind: &str, what: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{kind}: {what}"));
        }
    }
}
