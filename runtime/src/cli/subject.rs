//! The subject that `send` publishes to, with placeholders filled from each event.

use std::fmt;
use std::str::FromStr;
use syncline::event::{Event, KeyAlphabet, SubjectPattern, escape_key};

/// A subject with `{type}`, `{id}`, `{subject}` and `{source}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Attribute(&'static str),
}

/// An event lacks what its subject needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event has no `{0}`, which the subject needs")]
pub(super) struct Missing(&'static str);

const PLACEHOLDERS: [&str; 4] = ["type", "id", "subject", "source"];

impl Subject {
    /// Whether every event goes to the same subject.
    pub(super) fn is_fixed(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The subject for `event`. The dots of a type separate tokens; the other attributes are one
    /// token each, and what a subject cannot hold is escaped.
    ///
    /// # Errors
    /// When the event lacks an attribute.
    pub(super) fn of(&self, event: &Event) -> Result<String, Missing> {
        let mut subject = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::Attribute(name) => {
                    let value = event.attribute(name).filter(|value| !value.is_empty());
                    let value = value.ok_or(Missing(name))?;
                    subject.push_str(&escape_key(value, alphabet(name)));
                }
            }
        }
        Ok(subject)
    }
}

/// Types are made of parts that subscribers choose by; the rest is opaque.
fn alphabet(attribute: &str) -> KeyAlphabet {
    match attribute {
        "type" => KeyAlphabet::BucketKey,
        _ => KeyAlphabet::Token,
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut example = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or("a `{` without its `}`")?;
            let known = PLACEHOLDERS.iter().find(|known| **known == name);
            let name = known.ok_or_else(|| {
                format!(
                    "`{{{name}}}` is not known: use {{type}}, {{id}}, {{subject}} or {{source}}"
                )
            })?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Attribute(name));
            example.push_str(before);
            example.push('x');
            rest = tail;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        example.push_str(rest);
        example.parse::<SubjectPattern>()?;
        if example.split('.').any(|token| matches!(token, "*" | ">")) {
            return Err("one cannot publish to a wildcard".to_owned());
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Attribute(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: "a.b c".into(),
            source: "https://crm.example".into(),
            kind: "crm.customer.created".into(),
            ..Event::default()
        }
    }

    #[test]
    fn placeholders_are_filled_from_the_event() {
        let cases = [
            ("events.hello", "events.hello"),
            ("events.{type}", "events.crm.customer.created"),
            ("e.{id}.x", "e.a=2Eb=20c.x"),
            ("e.{source}", "e.https=3A//crm=2Eexample"),
        ];
        for (template, expected) in cases {
            let subject: Subject = template.parse().unwrap();
            assert_eq!(subject.of(&event()).unwrap(), expected);
            assert_eq!(subject.to_string(), template);
            assert_eq!(subject.is_fixed(), !template.contains('{'));
        }
    }

    #[test]
    fn an_event_without_the_attribute_has_no_subject() {
        let subject: Subject = "e.{subject}".parse().unwrap();
        assert_eq!(subject.of(&event()), Err(Missing("subject")));
    }

    #[test]
    fn what_cannot_be_published_to_is_refused() {
        for wrong in ["", "a..b", "a.*", "a.>", "a b", "a.{key}", "a.{type", "a."] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }
}
