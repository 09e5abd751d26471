//! The subject of a target, made from each effect.

use crate::event::{Effect, KeyAlphabet, SubjectPattern, escape_key};
use std::fmt;
use std::str::FromStr;

/// A subject with placeholders: `{key}`, `{entity}`, `{operation}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Key,
    Entity,
    Operation,
}

impl SubjectTemplate {
    /// The subject for `effect`; what a token cannot hold is escaped.
    #[must_use]
    pub fn expand(&self, effect: &Effect) -> String {
        let mut subject = String::with_capacity(self.text.len() + effect.key.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::Key => subject.push_str(&escape_key(&effect.key, KeyAlphabet::Token)),
                Part::Entity => {
                    let entity = effect.entity.as_deref().unwrap_or("_");
                    subject.push_str(&escape_key(entity, KeyAlphabet::Token));
                }
                Part::Operation => subject.push_str(effect.operation.as_str()),
            }
        }
        subject
    }

    /// The subjects that the template can give, as a pattern.
    #[must_use]
    pub fn pattern(&self) -> String {
        let token = |token: &str| if token.contains('{') { "*" } else { token }.to_owned();
        self.text
            .split('.')
            .map(token)
            .collect::<Vec<_>>()
            .join(".")
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SubjectTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "key" => Part::Key,
                "entity" => Part::Entity,
                "operation" => Part::Operation,
                _ => {
                    return Err(format!(
                        "`{{{name}}}` is not known here: use {{key}}, {{entity}} or {{operation}}"
                    ));
                }
            });
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let template = Self {
            text: text.to_owned(),
            parts,
        };
        template.pattern().parse::<SubjectPattern>()?;
        let literal = text.split('.').all(|token| !matches!(token, "*" | ">"));
        if !literal {
            return Err(format!("`{text}` has a wildcard: one cannot publish to it"));
        }
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Headers, Operation};

    #[test]
    fn a_subject_is_made_from_the_effect() {
        let template: SubjectTemplate = "search.{operation}.{entity}.x-{key}".parse().unwrap();
        let effect = Effect {
            target: None,
            entity: None,
            operation: Operation::Delete,
            key: "a.b c".into(),
            precondition: None,
            content_type: None,
            headers: Headers::default(),
            payload: bytes::Bytes::new(),
        };
        assert_eq!(template.expand(&effect), "search.delete._.x-a=2Eb=20c");
        assert_eq!(template.pattern(), "search.*.*.*");
    }

    #[test]
    fn templates_that_cannot_be_published_to_are_refused() {
        for wrong in ["a.{key", "a.{id}", "a..b", "a.*", "a.>", "", "a b.{key}"] {
            assert!(wrong.parse::<SubjectTemplate>().is_err(), "{wrong}");
        }
    }
}
