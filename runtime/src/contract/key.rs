//! The key of an entity: what it may be, and where the entity itself has it.

use super::fault::Faults;
use super::pointer::{is_one, join};
use super::schema::{compile, survey};
use jsonschema::Validator;
use serde_json::Value;

/// What a contract says of the key of one kind of entity.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// Where the entity holds it: one pointer, or one for each part.
    pub(super) members: Vec<String>,
    schema: Option<Validator>,
}

impl Key {
    /// What stands at `at` of the document.
    pub(super) fn read(document: &Value, at: &str, faults: &mut Faults) -> Self {
        let Some(value) = document.pointer(at) else {
            return Self::default();
        };
        let Some(table) = value.as_object() else {
            faults.note(at, "write an object with `members` and `schema`");
            return Self::default();
        };
        for name in table
            .keys()
            .filter(|name| !["members", "schema"].contains(&name.as_str()))
        {
            let fault = "a key has `members` and `schema`: remove this, or correct it";
            faults.note(&join(at, name), fault);
        }
        let members = table.get("members").map_or(Vec::new(), |members| {
            read_members(members, &join(at, "members"), faults)
        });
        let place = join(at, "schema");
        let is_sound = table.contains_key("schema") && faults.is_empty();
        let schema = is_sound
            .then(|| compile(document, &place, faults))
            .flatten();
        Self { members, schema }
    }

    /// Notes what is wrong with the schema of a key at `at`.
    pub(super) fn survey(
        document: &Value,
        at: &str,
        faults: &mut Faults,
        schemas: &mut Vec<String>,
    ) {
        let at = join(at, "schema");
        if let Some(schema) = document.pointer(&at) {
            survey(schema, &at, faults, schemas);
        }
    }

    /// What is wrong with `key`, as text: a key of several parts is the list that it holds.
    pub(super) fn refuse(&self, key: &str) -> Option<String> {
        let validator = self.schema.as_ref()?;
        let value = match self.parts(key) {
            Some(parts) => Value::Array(parts),
            None => Value::String(key.to_owned()),
        };
        let error = validator.iter_errors(&value).next()?;
        Some(format!("the key {}", error.masked_with("itself")))
    }

    /// Of an entity at `key`, the first member that does not hold what the key says, and why not.
    /// With `partly` it may lack members.
    pub(super) fn mismatch(
        &self,
        key: &str,
        entity: &Value,
        partly: bool,
    ) -> Option<(&str, String)> {
        let parts = self.parts(key);
        for (n, pointer) in self.members.iter().enumerate() {
            let said = match &parts {
                Some(parts) => parts.get(n).and_then(text),
                None if self.members.len() == 1 => Some(key.to_owned()),
                None => None,
            };
            let Some(said) = said else {
                let fault = format!("the key is no list of {} values", self.members.len());
                return Some((pointer, fault));
            };
            match entity.pointer(pointer) {
                None if partly => {}
                None => {
                    return Some((
                        pointer,
                        "it is part of the key, and is not there".to_owned(),
                    ));
                }
                Some(found) if text(found).as_ref() == Some(&said) => {}
                Some(_) => return Some((pointer, "it is not what the key says".to_owned())),
            }
        }
        None
    }

    /// The values of a key that is a list of several.
    fn parts(&self, key: &str) -> Option<Vec<Value>> {
        if self.members.len() < 2 {
            return None;
        }
        let parts: Vec<Value> = serde_json::from_str(key).ok()?;
        (parts.len() == self.members.len()).then_some(parts)
    }
}

fn read_members(members: &Value, at: &str, faults: &mut Faults) -> Vec<String> {
    let Some(items) = members.as_array() else {
        faults.note(at, "write a list of JSON pointers, as in [\"/id\"]");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (n, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(pointer) if is_one(pointer) => found.push(pointer.to_owned()),
            _ => {
                let fault = format!("{item} is no JSON pointer into the entity: write \"/id\"");
                faults.note(&join(at, &n.to_string()), fault);
            }
        }
    }
    found
}

/// A value as part of a key.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
