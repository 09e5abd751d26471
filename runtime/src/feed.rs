//! The change feed: what is changed in a target is published with the change, so that others follow it.
//!
//! A change is an effect more of the plan that makes it: an event on the target that is named as the `feed` of the one
//! that is changed. So it is there exactly where the change is. Pure.

use crate::event::{
    Effect, Event, Operation, PlannedEffect, Precondition, Trail, data_to_json, merge,
};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the changes of targets are published, by target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feeds {
    by_target: BTreeMap<String, Feed>,
}

/// Where those of one target are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// A target of kind subject.
    pub target: Arc<str>,
    /// The contract of what is changed, as in `crm@2`.
    pub contract: Option<String>,
}

/// What led to changes.
#[derive(Debug, Clone)]
pub struct Because<'a> {
    /// The event, or the request.
    pub event: &'a Event,
    /// The pipelines that led to it, this one included.
    pub trail: Trail,
}

impl Feeds {
    /// The feeds of these targets.
    #[must_use]
    pub fn new(feeds: impl IntoIterator<Item = (String, Feed)>) -> Self {
        Self {
            by_target: feeds.into_iter().collect(),
        }
    }

    /// Whether the changes of `target` are published.
    #[must_use]
    pub fn follow(&self, target: &str) -> bool {
        self.by_target.contains_key(target)
    }

    /// Adds what is published of these effects. `before` has what is known to be there before one of them.
    pub fn add(
        &self,
        effects: &mut Vec<PlannedEffect>,
        because: &Because<'_>,
        before: impl Fn(&PlannedEffect) -> Option<Bytes>,
    ) {
        if self.by_target.is_empty() {
            return;
        }
        let followed = effects.iter().filter_map(|planned| {
            let feed = self.by_target.get(&*planned.target)?;
            Some(feed.publish(planned, because, before(planned)))
        });
        let published: Vec<_> = followed.collect();
        effects.extend(published);
    }
}

impl Feed {
    fn publish(
        &self,
        planned: &PlannedEffect,
        because: &Because<'_>,
        before: Option<Bytes>,
    ) -> PlannedEffect {
        let effect = &planned.effect;
        let entity = effect.entity.as_deref();
        let of = [Some(&*planned.target), entity].into_iter().flatten();
        let of: Vec<_> = of.collect();
        let id = format!("{}.change", planned.id);
        let event = Event {
            id: id.clone(),
            source: format!("/syncline/targets/{}", planned.target),
            kind: format!("{}.{}", of.join("."), word(effect.operation)),
            subject: Some(effect.key.clone()),
            attributes: because.attributes(),
            ..Event::default()
        };
        let data = self.data(planned, before.as_deref());
        PlannedEffect {
            target: self.target.clone(),
            id,
            effect: Effect {
                target: None,
                entity: effect.entity.clone(),
                operation: Operation::Append,
                key: effect.key.clone(),
                precondition: None,
                content_type: Some("application/json".to_owned()),
                headers: event.to_message_headers(),
                payload: data.to_string().into(),
            },
        }
    }

    fn data(&self, planned: &PlannedEffect, before: Option<&[u8]>) -> Value {
        let effect = &planned.effect;
        let mut data = Map::new();
        let mut say = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(name.to_owned(), value);
            }
        };
        let text = |text: &str| Some(Value::String(text.to_owned()));
        say("target", text(&planned.target));
        say("entity", effect.entity.as_deref().and_then(text));
        say("key", text(&effect.key));
        say("operation", text(effect.operation.as_str()));
        say("contract", self.contract.as_deref().and_then(text));
        let before: Option<Value> = match (&effect.precondition, before) {
            (Some(Precondition::Absent), _) => Some(Value::Null),
            (_, Some(data)) => serde_json::from_slice(data).ok(),
            (_, None) => None,
        };
        say("before", before.clone());
        let content_type = effect.content_type.as_deref();
        let (_, payload) = data_to_json(content_type, &effect.payload);
        let is_json = serde_json::from_slice::<Value>(&effect.payload).is_ok();
        match effect.operation {
            Operation::Delete => say("after", Some(Value::Null)),
            Operation::Upsert | Operation::Append if is_json => say("after", Some(payload)),
            Operation::Upsert | Operation::Append => {
                say("after_type", content_type.and_then(text));
            }
            Operation::Merge => {
                if let Some(mut after) = before {
                    merge(&mut after, payload.clone());
                    say("after", Some(after));
                }
                say("patch", Some(payload));
            }
        }
        Value::Object(data)
    }
}

impl Because<'_> {
    fn attributes(&self) -> Vec<(String, String)> {
        let mut attributes = vec![
            ("synclinecause".to_owned(), self.event.id.clone()),
            ("synclinesource".to_owned(), self.event.source.clone()),
            self.trail.to_attribute(),
        ];
        if let Some(traceparent) = self.event.traceparent() {
            attributes.push(("traceparent".to_owned(), traceparent.to_owned()));
        }
        attributes.retain(|(_, value)| !value.is_empty());
        attributes
    }
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Upsert | Operation::Merge => "changed",
        Operation::Delete => "deleted",
        Operation::Append => "appended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Headers;
    use serde_json::json;

    fn planned(operation: Operation, precondition: Option<Precondition>) -> PlannedEffect {
        PlannedEffect {
            target: "crm".into(),
            id: "p.k.0".to_owned(),
            effect: Effect {
                target: None,
                entity: Some("customer".to_owned()),
                operation,
                key: "c-7".to_owned(),
                precondition,
                content_type: Some("application/json".to_owned()),
                headers: Headers::default(),
                payload: match operation {
                    Operation::Delete => Bytes::new(),
                    _ => r#"{"n":2}"#.into(),
                },
            },
        }
    }

    fn published(planned: PlannedEffect, before: Option<&'static str>) -> (Event, Value) {
        let feed = Feed {
            target: "changes".into(),
            contract: Some("crm@2".to_owned()),
        };
        let feeds = Feeds::new([("crm".to_owned(), feed)]);
        let cause = Event {
            id: "e-1".to_owned(),
            source: "/shop".to_owned(),
            ..Event::default()
        };
        let because = Because {
            event: &cause,
            trail: Trail::default().through("p"),
        };
        let other = PlannedEffect {
            target: "erp".into(),
            ..planned.clone()
        };
        let mut effects = vec![other, planned];
        feeds.add(&mut effects, &because, |_| before.map(Bytes::from));
        assert_eq!(effects.len(), 3, "nothing follows the other target");
        let change = effects.pop().unwrap();
        assert_eq!(
            (&*change.target, change.effect.key.as_str()),
            ("changes", "c-7")
        );
        let mut headers = change.effect.headers.clone();
        headers.push("Content-Type", "application/json");
        let raw = crate::event::RawOrigin {
            stream: "",
            subject: "s",
            sequence: 1,
        };
        let (event, data) = Event::decode(&headers, &change.effect.payload, raw).unwrap();
        (event, serde_json::from_slice(&data).unwrap())
    }

    #[test]
    fn a_change_says_what_was_changed_and_why() {
        let (event, data) = published(planned(Operation::Upsert, None), None);
        assert_eq!(event.kind, "crm.customer.changed");
        assert_eq!(
            (event.id.as_str(), event.source.as_str()),
            ("p.k.0.change", "/syncline/targets/crm")
        );
        assert_eq!(event.subject.as_deref(), Some("c-7"));
        assert_eq!(event.attribute("synclinecause"), Some("e-1"));
        assert_eq!(Trail::of(&event), Trail::default().through("p"));
        let expected = json!({ "target": "crm", "entity": "customer", "key": "c-7", "operation": "upsert",
            "contract": "crm@2", "after": { "n": 2 } });
        assert_eq!(data, expected);
    }

    #[test]
    fn what_was_there_is_told_where_it_is_known() {
        let absent = Some(Precondition::Absent);
        let before = Some(r#"{"n":1,"m":1}"#);
        for (operation, precondition, before, expected) in [
            (
                Operation::Upsert,
                absent,
                None,
                json!([null, { "n": 2 }, "none"]),
            ),
            (
                Operation::Upsert,
                None,
                before,
                json!([{ "n": 1, "m": 1 }, { "n": 2 }, "none"]),
            ),
            (
                Operation::Merge,
                None,
                None,
                json!(["none", "none", { "n": 2 }]),
            ),
            (
                Operation::Merge,
                None,
                before,
                json!([{ "n": 1, "m": 1 }, { "n": 2, "m": 1 }, { "n": 2 }]),
            ),
            (
                Operation::Delete,
                None,
                before,
                json!([{ "n": 1, "m": 1 }, null, "none"]),
            ),
            (
                Operation::Append,
                None,
                None,
                json!(["none", { "n": 2 }, "none"]),
            ),
        ] {
            let (event, data) = published(planned(operation, precondition), before);
            let member = |name: &str| data.get(name).cloned().unwrap_or(json!("none"));
            let told = json!([member("before"), member("after"), member("patch")]);
            assert_eq!(told, expected, "{operation} {before:?}");
            assert!(event.kind.starts_with("crm.customer."), "{}", event.kind);
        }
    }
}
