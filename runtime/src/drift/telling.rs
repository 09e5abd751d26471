//! How an entity of a target is told as an event: the same for all who tell any.

use crate::event::{Event, KeyAlphabet, escape_key};
use crate::target::Listed;

/// How the entities of a target are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The target.
    pub target: String,
    /// The events' type; none: `TARGET.KIND.updated`.
    pub kind: Option<String>,
    /// Their source; none: `/targets/TARGET`.
    pub source: Option<String>,
    /// The NATS subject that they seem to come from, with `{entity}` and `{key}`; none: `TARGET.KIND.KEY`.
    pub subject: Option<String>,
}

impl Telling {
    /// The type of events about entities of this kind.
    #[must_use]
    pub fn kind_of(&self, entity: Option<&str>) -> String {
        match (&self.kind, entity) {
            (Some(kind), _) => kind.clone(),
            (None, Some(entity)) => format!("{}.{entity}.updated", self.target),
            (None, None) => format!("{}.updated", self.target),
        }
    }

    /// The event that tells of an entity. The same as long as the entity is.
    #[must_use]
    pub fn event_of(&self, listed: &Listed) -> Event {
        let (entity, key, etag) = (listed.entity.as_deref(), &listed.key, &listed.found.etag);
        let source = || format!("/targets/{}", self.target);
        Event {
            id: match entity {
                Some(entity) => format!("{entity}/{key}@{etag}"),
                None => format!("{key}@{etag}"),
            },
            source: self.source.clone().unwrap_or_else(source),
            kind: self.kind_of(entity),
            subject: Some(key.clone()),
            data_content_type: Some(listed.found.content_type.clone()),
            ..Event::default()
        }
    }

    /// The NATS subject that it seems to come from.
    #[must_use]
    pub fn address_of(&self, entity: Option<&str>, key: &str) -> String {
        let token = |text: &str| escape_key(text, KeyAlphabet::Token).into_owned();
        let (entity, key) = (entity.map(token), token(key));
        match &self.subject {
            Some(subject) => subject
                .replace("{entity}", entity.as_deref().unwrap_or("_"))
                .replace("{key}", &key),
            None => match entity {
                Some(entity) => format!("{}.{entity}.{key}", self.target),
                None => format!("{}.{key}", self.target),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Found;

    fn telling() -> Telling {
        Telling {
            target: "crm".to_owned(),
            kind: None,
            source: None,
            subject: None,
        }
    }

    #[test]
    fn an_entity_is_the_same_event_until_it_changes() {
        let listed = |etag: &str| Listed {
            entity: Some("customer".to_owned()),
            key: "c 7".to_owned(),
            found: Found {
                content_type: "application/json".to_owned(),
                etag: etag.to_owned(),
                data: "{}".into(),
            },
        };
        let event = telling().event_of(&listed("1"));
        assert_eq!(event, telling().event_of(&listed("1")));
        assert_ne!(event.id, telling().event_of(&listed("2")).id);
        assert_eq!(event.kind, "crm.customer.updated");
        assert_eq!(event.source, "/targets/crm");
        assert_eq!(event.subject.as_deref(), Some("c 7"));
    }

    #[test]
    fn a_subject_is_filled_in() {
        let mut telling = telling();
        assert_eq!(
            telling.address_of(Some("customer"), "a.b"),
            "crm.customer.a=2Eb"
        );
        assert_eq!(telling.address_of(None, "c"), "crm.c");
        telling.subject = Some("saas.{entity}.x.{key}".to_owned());
        assert_eq!(
            telling.address_of(Some("customer"), "a b"),
            "saas.customer.x.a=20b"
        );
        assert_eq!(telling.address_of(None, "c"), "saas._.x.c");
    }
}
