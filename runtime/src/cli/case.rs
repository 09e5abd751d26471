//! A case file: events, what surrounds the plugin, and the verdicts that should come out.

use super::event_line::{self, Completion};
use super::failure::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use syncline::event::Envelope;
use syncline::outbound::Recorded;
use syncline::plugin::World;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What the case shows; none: the file's name.
    pub(super) name: Option<String>,
    #[serde(default)]
    config: Map<String, Value>,
    event: Option<Value>,
    #[serde(default)]
    events: Vec<Value>,
    #[serde(default)]
    delivery: Arrival,
    #[serde(default)]
    entities: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    state: BTreeMap<String, Value>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    http: Vec<Recorded>,
    /// The verdicts, one for each event.
    pub(super) expect: Vec<Value>,
}

/// How each event of a case seems to arrive.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrival {
    address: Option<String>,
    sequence: Option<u64>,
    attempt: Option<u32>,
    key: Option<String>,
}

/// What surrounds a plugin: entities by `target` or `target/entity` and key, state, secrets, and what
/// hosts answer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Surroundings {
    entities: BTreeMap<String, BTreeMap<String, Value>>,
    state: BTreeMap<String, Value>,
    secrets: BTreeMap<String, String>,
    http: Vec<Recorded>,
}

impl Surroundings {
    /// The world that they make up, for a plugin with these settings.
    pub(super) fn world(self, settings: Map<String, Value>) -> World {
        let bytes = |value: Value| match value {
            Value::String(text) => text.into_bytes(),
            json => json.to_string().into_bytes(),
        };
        World {
            settings,
            entities: self.entities,
            state: self
                .state
                .into_iter()
                .map(|(key, value)| (key, bytes(value)))
                .collect(),
            secrets: self.secrets,
            http: self.http,
            ..World::default()
        }
    }
}

impl Case {
    /// Reads the case in `file`.
    ///
    /// # Errors
    /// When it is no case.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let failure = || Failure::new(format!("cannot read the case `{}`", file.display()));
        let text = std::fs::read(file).map_err(|error| failure().because(error))?;
        let case: Self = serde_json::from_slice(&text).map_err(|error| failure().because(error))?;
        if case.event.is_none() && case.events.is_empty() {
            return Err(failure().why("it has neither `event` nor `events`").into());
        }
        Ok(case)
    }

    /// What surrounds the plugin in this case.
    pub(super) fn world(&self) -> World {
        let surroundings = Surroundings {
            entities: self.entities.clone(),
            state: self.state.clone(),
            secrets: self.secrets.clone(),
            http: self.http.clone(),
        };
        surroundings.world(self.config.clone())
    }

    /// Which attempt each event seems to be.
    pub(super) fn attempt(&self) -> u32 {
        self.delivery.attempt.unwrap_or(1)
    }

    /// The events as they seem to arrive. `specversion` and `source` may be left out.
    ///
    /// # Errors
    /// When one is no event.
    pub(super) fn envelopes(&self) -> anyhow::Result<Vec<Envelope>> {
        let events = self.event.iter().chain(&self.events);
        events
            .enumerate()
            .map(|(index, event)| self.envelope(index, event))
            .collect()
    }

    fn envelope(&self, index: usize, event: &Value) -> anyhow::Result<Envelope> {
        let failure = || Failure::new(format!("event {} of the case is no event", index + 1));
        let Value::Object(fields) = event else {
            return Err(failure().why("it is not a JSON object").into());
        };
        let mut fields = fields.clone();
        fields.entry("specversion").or_insert_with(|| "1.0".into());
        let with = Completion {
            source: "/test",
            kind: "",
            id: Some(""),
            time: None,
        };
        let line = event_line::complete(Value::Object(fields).to_string().as_bytes(), &with)
            .map_err(|error| failure().because(error))?;
        let arrival = &self.delivery;
        let address = arrival.address.as_deref().unwrap_or("test");
        Ok(line.envelope(
            address,
            arrival.sequence.unwrap_or(1),
            arrival.key.as_deref(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(value: Value) -> Case {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_event_of_a_case_may_leave_out_version_and_source() {
        let case = case(json!({ "event": { "id": "7", "type": "t", "data": 1 }, "expect": [] }));
        let envelopes = case.envelopes().unwrap();
        assert_eq!(envelopes[0].event.source, "/test");
        assert_eq!(envelopes[0].origin.key.as_str(), "7");
        assert_eq!(
            (envelopes[0].origin.address.as_str(), case.attempt()),
            ("test", 1)
        );
    }

    #[test]
    fn an_event_without_id_or_type_is_refused() {
        for event in [json!({ "type": "t" }), json!({ "id": "1" }), json!(1)] {
            let case = case(json!({ "event": event, "expect": [] }));
            assert!(case.envelopes().is_err());
        }
    }

    #[test]
    fn state_is_text_as_it_is_or_json_as_text() {
        let case = case(json!({
            "events": [{}], "expect": [], "state": { "a": "text", "b": { "n": 1 } }
        }));
        let state = case.world().state;
        assert_eq!(state["a"], b"text");
        assert_eq!(state["b"], br#"{"n":1}"#);
    }

    #[test]
    fn misspelt_keys_are_refused() {
        let misspelt = json!({ "event": {}, "expected": [] });
        assert!(serde_json::from_value::<Case>(misspelt).is_err());
    }
}
