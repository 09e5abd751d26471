//! What is asked, and what it is known by.

use crate::event::{
    Effect, Envelope, Event, EventId, OrderingKey, Origin, Plan, PlannedEffect, Trail,
};
use crate::feed::{Because, Feeds};
use crate::key_locks::Use;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Where changes come from, as CloudEvents say it.
const SOURCE: &str = "/syncline/api";

/// A change that somebody asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it is known by.
    pub name: Name,
    /// The changes, in order.
    pub effects: Vec<Edit>,
    /// Trace context of the request.
    pub traceparent: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The target.
    pub target: Arc<str>,
    /// What is done.
    pub effect: Effect,
    /// What is there before, where the effect is on the condition that it still is.
    pub before: Option<Bytes>,
}

/// What a change is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// None: nobody asks for it again.
    given: Option<Given>,
}

/// A name that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    id: EventId,
    /// Tells what is asked from anything else under the same name.
    mark: String,
}

impl Name {
    /// The name that `owner` gave by `key` to what `request` asks for.
    #[must_use]
    pub fn given(owner: &str, key: &str, request: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in request {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mark = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        let given = Given {
            id: EventId::of(&format!("{SOURCE}/{owner}"), key),
            mark: mark.collect(),
        };
        Self { given: Some(given) }
    }

    /// Whether it may have been asked before.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Whether `key`, as it was written down, is that of the same request.
    pub(super) fn is_marked_in(&self, key: &str) -> bool {
        let found = key.rsplit_once('#').map(|(_, mark)| mark);
        found.is_some() && found == self.given.as_ref().map(|given| given.mark.as_str())
    }

    /// The identity of the change of this number.
    fn id(&self, sequence: u64) -> EventId {
        match &self.given {
            Some(given) => given.id.clone(),
            None => EventId::of(SOURCE, &sequence.to_string()),
        }
    }
}

impl Asked {
    /// The entities that it changes, as locks know them.
    pub(super) fn entities(&self) -> impl Iterator<Item = (String, Use)> {
        self.effects.iter().map(|Edit { target, effect, .. }| {
            let kind = effect.entity.as_deref().unwrap_or("_");
            (format!("{target}/{kind}/{}", effect.key), Use::Alone)
        })
    }

    /// Its plan, as the one that `envelope` stands for, and what `feeds` publish of it.
    pub(super) fn plan(&self, envelope: &Envelope, feeds: &Feeds) -> Plan {
        let (id, event) = (&envelope.origin.id, &*envelope.event);
        let planned = self.effects.iter().enumerate();
        let planned = planned.map(|(index, edit)| PlannedEffect {
            target: edit.target.clone(),
            effect: edit.effect.clone(),
            id: format!("{}.{id}.{index}", super::PIPELINE),
        });
        let mut effects: Vec<_> = planned.collect();
        let because = Because {
            event,
            trail: Trail::default(),
        };
        let before = |planned: &PlannedEffect| {
            let index = planned.id.rsplit_once('.')?.1.parse::<usize>().ok()?;
            self.effects.get(index)?.before.clone()
        };
        feeds.add(&mut effects, &because, before);
        Plan {
            effects,
            ..Plan::default()
        }
    }

    /// As the coordinator knows it: an event of its own, the one of this `sequence`.
    pub(super) fn envelope(&self, sequence: u64) -> Envelope {
        let mut attributes = Vec::new();
        if let Some(traceparent) = &self.traceparent {
            attributes.push(("traceparent".to_owned(), traceparent.clone()));
        }
        let event = Event {
            id: self.name.id(sequence).to_string(),
            source: SOURCE.to_owned(),
            kind: "syncline.api.change".to_owned(),
            attributes,
            ..Event::default()
        };
        let origin = Origin {
            id: self.name.id(sequence),
            address: String::new(),
            // One order over all changes: what was made later is never taken back by what is made again.
            stream: super::PIPELINE.into(),
            stream_created: 1,
            sequence,
            key: self.key(),
            maybe_seen: self.name.is_given(),
            generation: 0,
        };
        Envelope {
            event: Arc::new(event),
            data: Bytes::new(),
            origin: Arc::new(origin),
        }
    }

    /// What it is about, for people, and its mark.
    fn key(&self) -> OrderingKey {
        let about = match self.effects.as_slice() {
            [Edit { target, effect, .. }] => {
                let kind = effect.entity.as_deref().unwrap_or("_");
                format!("{target}/{kind}/{}", effect.key)
            }
            several => format!("{} changes", several.len()),
        };
        match &self.name.given {
            Some(given) => format!("{about}#{}", given.mark).into(),
            None => about.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Operation;

    fn upsert(key: &str) -> Edit {
        let effect = Effect {
            target: None,
            entity: None,
            operation: Operation::Upsert,
            key: key.to_owned(),
            precondition: None,
            content_type: None,
            headers: crate::event::Headers::default(),
            payload: Bytes::from_static(b"{}"),
        };
        Edit {
            target: "crm".into(),
            effect,
            before: None,
        }
    }

    fn asked(name: Name) -> Asked {
        Asked {
            name,
            effects: vec![upsert("a#b"), upsert("c")],
            traceparent: Some("00-1-2-01".to_owned()),
        }
    }

    #[test]
    fn a_name_is_its_owners_and_marks_what_was_asked() {
        let given = |owner: &str, key: &str, body: &[u8]| Name::given(owner, key, &[b"PUT", body]);
        let one = given("ada", "k", b"1");
        assert_eq!(one, given("ada", "k", b"1"));
        assert_ne!(one.id(1), given("bob", "k", b"1").id(1));
        assert_ne!(one.id(1), given("ada", "l", b"1").id(1));
        let other = given("ada", "k", b"2");
        assert_eq!(one.id(1), other.id(2));
        let envelope = asked(one.clone()).envelope(7);
        let key = envelope.origin.key.as_str();
        assert!(one.is_marked_in(key) && !other.is_marked_in(key), "{key}");
        assert!(!Name::default().is_marked_in("a/b/c"));
        assert!(envelope.origin.maybe_seen);
        assert_eq!(envelope.event.traceparent(), Some("00-1-2-01"));
    }

    #[test]
    fn where_a_part_ends_tells_requests_apart() {
        let one = Name::given("ada", "k", &[b"PUT", b"/a", b"b"]);
        let other = Name::given("ada", "k", &[b"PUT", b"/ab", b""]);
        assert_ne!(one, other);
    }

    #[test]
    fn what_has_no_name_was_never_asked_before() {
        let asked = asked(Name::default());
        assert!(!asked.envelope(7).origin.maybe_seen);
        assert_ne!(asked.envelope(7).origin.id, asked.envelope(8).origin.id);
        let plan = asked.plan(&asked.envelope(7), &Feeds::default());
        let ids: Vec<_> = plan.effects.into_iter().map(|it| it.id).collect();
        assert_ne!(ids[0], ids[1]);
    }
}
