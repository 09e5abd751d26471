//! Parts of transactions: what was tried is kept under its name until it is confirmed or cancelled, and
//! how it ended for ever.

use super::Entry;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where they are.
const PLACE: &str = "/transactions/";

/// The parts of a module, by name.
#[derive(Default)]
pub(super) struct Reservations {
    by_name: BTreeMap<String, Reservation>,
    /// Takes what is tried under a name that was cancelled.
    pub(super) forgets_cancelled: bool,
}

/// How one part stands.
enum Reservation {
    /// Nobody else gets these entities meanwhile.
    Tried(Vec<Tried>),
    Confirmed,
    Cancelled,
}

/// One effect that was tried.
#[derive(Clone)]
pub(super) struct Tried {
    /// Path of the entity.
    pub(super) path: String,
    operation: String,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    payload: String,
}

impl Tried {
    fn of(effect: &Value) -> Self {
        let text = |name: &str| effect[name].as_str().map(str::to_owned);
        let kind = text("entity").unwrap();
        Self {
            path: format!("/v2/{kind}/{}", text("key").unwrap()),
            operation: text("operation").unwrap(),
            if_match: text("if_match"),
            if_none_match: text("if_none_match"),
            payload: effect["payload"].to_string(),
        }
    }

    /// What it makes of an entity; none: it is gone.
    pub(super) fn made_of(&self, content: Option<String>) -> Option<String> {
        match (self.operation.as_str(), content) {
            ("delete", _) => None,
            ("merge", Some(content)) => Some(format!("{content}+{}", self.payload)),
            _ => Some(self.payload.clone()),
        }
    }

    /// Where that goes: what is appended has a place of its own.
    pub(super) fn path_of(&self, n_versions: u64) -> String {
        match self.operation.as_str() {
            "append" => format!("{}#{n_versions}", self.path),
            _ => self.path.clone(),
        }
    }
}

/// The name of the part that a request is about.
pub(super) fn name_of(entry: &Entry) -> Option<String> {
    entry.path.strip_prefix(PLACE).map(str::to_owned)
}

impl Reservations {
    /// Those that have not ended.
    pub(super) fn open(&self) -> Vec<String> {
        let is_open = |part: &&String| matches!(self.by_name[*part], Reservation::Tried(_));
        self.by_name.keys().filter(is_open).cloned().collect()
    }

    /// A part is tried: what becomes of entities once it is confirmed, where `holds` says of each that it
    /// can.
    pub(super) fn reserve(
        &mut self,
        name: &str,
        body: &str,
        holds: impl Fn(&Tried) -> bool,
    ) -> u16 {
        match self.by_name.get(name) {
            Some(Reservation::Tried(_)) => return 200,
            Some(Reservation::Cancelled) if self.forgets_cancelled => {}
            Some(_) => return 410,
            None => {}
        }
        let body: Value = serde_json::from_str(body).unwrap();
        let effects = body["effects"].as_array().unwrap();
        let tried: Vec<_> = effects.iter().map(Tried::of).collect();
        let taken = self.by_name.values().any(|other| match other {
            Reservation::Tried(theirs) => theirs
                .iter()
                .any(|theirs| tried.iter().any(|ours| ours.path == theirs.path)),
            Reservation::Confirmed | Reservation::Cancelled => false,
        });
        if taken {
            return 423;
        }
        if !tried.iter().all(holds) {
            return 412;
        }
        self.by_name
            .insert(name.to_owned(), Reservation::Tried(tried));
        200
    }

    /// A part is confirmed: the status, and what is to be made now.
    pub(super) fn confirm(&mut self, name: &str) -> (u16, Vec<Tried>) {
        match self.by_name.get(name) {
            Some(Reservation::Tried(tried)) => {
                let tried = tried.clone();
                self.by_name.insert(name.to_owned(), Reservation::Confirmed);
                (200, tried)
            }
            Some(Reservation::Confirmed) => (200, Vec::new()),
            Some(Reservation::Cancelled) | None => (410, Vec::new()),
        }
    }

    /// A part is cancelled, or will be if it comes.
    pub(super) fn cancel(&mut self, name: &str) -> u16 {
        if let Some(Reservation::Confirmed) = self.by_name.get(name) {
            return 410;
        }
        self.by_name.insert(name.to_owned(), Reservation::Cancelled);
        200
    }
}
