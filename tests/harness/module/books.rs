//! What a module holds, and what it answers: a function of the requests that came, in their order.

use super::reservations::{Reservations, Tried, name_of};
use super::{Entry, Fault, outside};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::Path;

/// Headers on which it depends what becomes of a request.
const WEIGHTY: [&str; 3] = ["if-match", "if-none-match", "idempotency-key"];

/// The state of a module.
#[derive(Default)]
pub(super) struct Books {
    /// Entities by path: version and content.
    pub(super) entities: BTreeMap<String, (u64, String)>,
    n_versions: u64,
    pub(super) journal: Vec<Entry>,
    pub(super) faults: VecDeque<Fault>,
    /// Requests that are still on their way.
    delayed: Vec<Entry>,
    pub(super) ignores_versions: bool,
    /// Versions are hashes of the content.
    pub(super) hashes_content: bool,
    pub(super) reservations: Reservations,
    /// Where changes are written down before they are answered; none: the journal is kept in memory.
    pub(super) file: Option<File>,
    n_writes: u64,
    /// What was answered to requests with a key; none: it remembers nothing.
    pub(super) keys: Option<BTreeMap<String, (Request, Said)>>,
}

/// What makes a request the same as an earlier one: method, path and body.
pub(super) type Request = (String, String, String);

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Said {
    status: u16,
    /// Further header lines.
    lines: String,
    body: String,
}

impl Said {
    fn with(status: u16) -> Self {
        let body = "{\"told\": true}".to_owned();
        let lines = String::new();
        Self {
            status,
            lines,
            body,
        }
    }
}

impl Books {
    /// The answer as it goes over the wire, what came of it said in the journal.
    pub(super) fn take(&mut self, mut entry: Entry, fault: Option<&Fault>) -> String {
        let mut said = match fault {
            Some(Fault::Refuse(status, lines)) => Said {
                status: *status,
                lines: (*lines).to_owned(),
                body: "{\"error\": \"told to\"}".to_owned(),
            },
            Some(Fault::Delay) => {
                self.delayed.push(entry.clone());
                Said::with(504)
            }
            _ => self.answer(&mut entry),
        };
        if fault == Some(&Fault::FailAfter) {
            said.status = 500;
        }
        entry.status = said.status;
        self.note(entry);
        let Said {
            status,
            lines,
            body,
        } = said;
        let length = body.len();
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{lines}\r\n{body}")
    }

    /// What is wrong with the next write.
    pub(super) fn next_fault(&mut self, entry: &Entry) -> Option<Fault> {
        if self.file.is_none() {
            return self.faults.pop_front();
        }
        // A start looks at it once.
        if entry.path.contains("probe") {
            return None;
        }
        self.n_writes += 1;
        outside::fault_of(self.n_writes)
    }

    /// One that knows what was written down, requests by their keys as well, and how long that is.
    pub(super) fn of_file(file: &Path) -> (Self, u64) {
        let mut books = Self {
            keys: Some(BTreeMap::new()),
            ..Self::default()
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // Of what was cut off nobody was told.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let headers = serde_json::from_value(line["headers"].clone()).unwrap();
            let mut entry = Entry::new((text("method"), text("path")), headers, text("body"));
            books.answer(&mut entry);
        }
        (books, whole as u64)
    }

    fn note(&mut self, entry: Entry) {
        let Some(file) = &mut self.file else {
            self.journal.push(entry);
            return;
        };
        if entry.method == "GET" {
            return;
        }
        let weighty = entry.headers.iter();
        let weighty: BTreeMap<_, _> = weighty
            .filter(|(name, _)| WEIGHTY.contains(&name.as_str()))
            .collect();
        let line = json!({"method": entry.method, "path": entry.path, "headers": weighty,
            "body": entry.body});
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// What was on its way arrives, in order.
    pub(super) fn arrive(&mut self) {
        for entry in std::mem::take(&mut self.delayed) {
            self.take(entry, None);
        }
    }

    fn answer(&mut self, entry: &mut Entry) -> Said {
        if let Some(name) = name_of(entry) {
            return Said::with(self.about_part(&name, entry));
        }
        let key = entry.headers.get("idempotency-key").cloned();
        let (Some(keys), Some(key)) = (&self.keys, key) else {
            return self.handle(entry);
        };
        let request = (entry.method.clone(), entry.path.clone(), entry.body.clone());
        match keys.get(&key) {
            Some((earlier, said)) if *earlier == request => {
                entry.is_known = true;
                said.clone()
            }
            Some(_) => Said::with(422),
            None => {
                let said = self.handle(entry);
                let answered = (request, said.clone());
                self.keys.iter_mut().for_each(|keys| {
                    keys.insert(key.clone(), answered.clone());
                });
                said
            }
        }
    }

    fn handle(&mut self, entry: &mut Entry) -> Said {
        let found = self.entities.get(&entry.path).cloned();
        if entry.method == "GET" {
            let Some((version, body)) = found else {
                return Said::with(404);
            };
            let lines = format!("ETag: \"{version}\"\r\nContent-Type: application/json\r\n");
            let status = 200;
            return Said {
                status,
                lines,
                body,
            };
        }
        if !self.ignores_versions && !depends_hold(entry, found.as_ref()) {
            return Said::with(412);
        }
        let content = match (entry.method.as_str(), found) {
            ("DELETE" | "PATCH", None) => return Said::with(404),
            ("DELETE", Some(_)) => None,
            // Not RFC 7396, but enough to see what came.
            ("PATCH", Some((_, content))) => Some(format!("{content}+{}", entry.body)),
            _ => Some(entry.body.clone()),
        };
        entry.applied = true;
        let path = match entry.method.as_str() {
            "POST" => format!("{}#{}", entry.path, self.n_versions + 1),
            _ => entry.path.clone(),
        };
        self.set(path, content)
    }

    fn about_part(&mut self, name: &str, entry: &mut Entry) -> u16 {
        let entities = &self.entities;
        let (status, confirmed) = match entry.method.as_str() {
            "POST" => {
                let holds = |tried: &Tried| holds(tried, entities.get(&tried.path));
                let status = self.reservations.reserve(name, &entry.body, holds);
                (status, Vec::new())
            }
            "PUT" => self.reservations.confirm(name),
            "DELETE" => (self.reservations.cancel(name), Vec::new()),
            _ => (405, Vec::new()),
        };
        for tried in confirmed {
            entry.applied = true;
            let path = tried.path_of(self.n_versions + 1);
            let found = self.entities.get(&path).map(|(_, content)| content.clone());
            self.set(path, tried.made_of(found));
        }
        status
    }

    /// Makes an entity what it is to be; none: it is gone.
    pub(super) fn set(&mut self, path: String, content: Option<String>) -> Said {
        self.n_versions += 1;
        let mut said = Said::with(200);
        match content {
            Some(content) => {
                let version = match self.hashes_content {
                    true => hash_of(&content),
                    false => self.n_versions,
                };
                said.lines = format!("ETag: \"{version}\"\r\n");
                self.entities.insert(path, (version, content));
            }
            None => drop(self.entities.remove(&path)),
        }
        said
    }
}

fn hash_of(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn depends_hold(entry: &Entry, found: Option<&(u64, String)>) -> bool {
    let header = |name: &str| entry.headers.get(name).map(String::as_str);
    holds_of((header("if-match"), header("if-none-match")), found)
}

fn holds(tried: &Tried, found: Option<&(u64, String)>) -> bool {
    let is_none = tried.if_none_match.as_deref();
    holds_of((tried.if_match.as_deref(), is_none), found)
}

fn holds_of((is, is_none): (Option<&str>, Option<&str>), found: Option<&(u64, String)>) -> bool {
    let version = found.map(|(version, _)| format!("\"{version}\""));
    is_none.is_none_or(|_| found.is_none())
        && is.is_none_or(|wanted| {
            version
                .as_ref()
                .is_some_and(|found| wanted == "*" || wanted == found.as_str())
        })
}
