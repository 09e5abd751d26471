//! Case files: events, what surrounds them, and the verdicts they should get.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Harness, json};
use crate::http::Response;
use crate::lookup::Address;
use crate::{Delivery, Plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default, rename = "name")]
    _name: Option<String>,
    config: Option<Value>,
    event: Option<Value>,
    #[serde(default)]
    events: Vec<Value>,
    #[serde(default)]
    delivery: Arrival,
    /// By target, or target/kind, then by key.
    #[serde(default)]
    entities: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    state: BTreeMap<String, Value>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    http: Vec<Recorded>,
    expect: Vec<Value>,
}

/// The answer to requests with a method and URL.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    method: Option<String>,
    url: String,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Arrival {
    address: Option<String>,
    sequence: Option<u64>,
    attempt: Option<u32>,
    key: Option<String>,
}

/// Runs every `*.json` of a folder, relative to the crate, against the plugin and panics with the
/// first that gets other verdicts than it expects.
pub fn cases<P: Plugin>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let found = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    assert!(!files.is_empty(), "{}: no cases", folder.display());
    for file in files {
        run::<P>(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

fn run<P: Plugin>(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let case: Case = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut harness = prepare::<P>(&case);
    let events: Vec<&Value> = case.event.iter().chain(&case.events).collect();
    let mut verdicts = Vec::new();
    for event in events {
        let delivery = case.delivery.of(event);
        verdicts.push(json::verdict(
            &harness.send(&json::read_event(event, delivery)?),
        ));
    }
    if verdicts == case.expect {
        return Ok(());
    }
    let pretty = |verdicts: &[Value]| format!("{:#}", Value::from(verdicts));
    Err(format!(
        "expected {}\ngot {}",
        pretty(&case.expect),
        pretty(&verdicts)
    ))
}

fn prepare<P: Plugin>(case: &Case) -> Harness<P> {
    let mut harness = Harness::new(case.config.clone().unwrap_or_else(|| serde_json::json!({})));
    let host = harness.host();
    for (place, entities) in &case.entities {
        let (target, kind) = place
            .split_once('/')
            .map_or((place.as_str(), None), |(t, k)| (t, Some(k)));
        for (key, data) in entities {
            let address = Address::new(target, key);
            let address = kind.map_or(address.clone(), |kind| address.entity(kind));
            host.entity_at(&address, data);
        }
    }
    for (key, value) in &case.state {
        match value {
            Value::String(text) => host.put_state(key, text),
            json => host.put_state(key, json.to_string()),
        };
    }
    for (name, value) in &case.secrets {
        host.secret(name, value);
    }
    for recorded in &case.http {
        let method = recorded.method.as_deref().unwrap_or("GET");
        let answer = Response {
            status: recorded.status.unwrap_or(200),
            headers: recorded.headers.clone().into_iter().collect(),
            body: match &recorded.body {
                Value::Null => Vec::new(),
                Value::String(text) => text.clone().into_bytes(),
                json => json.to_string().into_bytes(),
            },
        };
        host.http_answer(method, &recorded.url, answer);
    }
    harness
}

impl Arrival {
    fn of(&self, event: &Value) -> Delivery {
        let made_up = super::delivery();
        let id = event
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or(&made_up.key);
        Delivery {
            key: self.key.clone().unwrap_or_else(|| id.to_owned()),
            address: self.address.clone().unwrap_or(made_up.address),
            sequence: self.sequence.unwrap_or(made_up.sequence),
            attempt: self.attempt.unwrap_or(made_up.attempt),
        }
    }
}
