//! The schemas of a contract for the documents of others, with references that lead from one to
//! another there.

use super::document::Contract;
use super::pointer::{join, of_fragment, to_fragment};
use super::schema::{Holds, holds};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a schema of a contract is of.
const PARTS: [&str; 3] = ["def", "entity", "key"];

impl Contract {
    /// Its schemas by name, as they can stand under `place`, a JSON pointer. Names begin with
    /// `prefix`, and hold nothing but letters, digits, `_`, `-` and dots beside it.
    #[must_use]
    pub fn schemas(&self, place: &str, prefix: &str) -> BTreeMap<String, Value> {
        let document = self.document();
        let mut homes = Vec::new();
        let defs = document.get("$defs").and_then(Value::as_object);
        for (name, _) in defs.into_iter().flatten() {
            homes.push((join("/$defs", name), name_of(prefix, "def", name)));
        }
        for (kind, _) in self.entities() {
            let at = join("/entities", kind);
            homes.push((join(&at, "schema"), name_of(prefix, "entity", kind)));
            let key = join(&join(&at, "key"), "schema");
            homes.push((key, name_of(prefix, "key", kind)));
        }
        let mut found = BTreeMap::new();
        for (at, name) in &homes {
            if let Some(schema) = document.pointer(at) {
                let mut schema = schema.clone();
                redirect(&mut schema, &homes, place);
                found.insert(name.clone(), schema);
            }
        }
        found
    }

    /// Whether there is a schema of the key of an entity, which is of one part.
    #[must_use]
    pub fn has_plain_key(&self, kind: &str) -> bool {
        let key = self
            .document()
            .pointer(&join(&join("/entities", kind), "key"));
        let members = key.and_then(|key| key.get("members")?.as_array());
        let has_schema = key.is_some_and(|key| key.get("schema").is_some());
        has_schema && members.is_none_or(|members| members.len() < 2)
    }

    /// What [`Contract::schemas`] calls the schema of an entity.
    #[must_use]
    pub fn name_of_entity(prefix: &str, kind: &str) -> String {
        name_of(prefix, "entity", kind)
    }

    /// What [`Contract::schemas`] calls the schema of an entity's key.
    #[must_use]
    pub fn name_of_key(prefix: &str, kind: &str) -> String {
        name_of(prefix, "key", kind)
    }
}

/// A name that no other schema has: what `part` could be taken for never holds a dot.
fn name_of(prefix: &str, part: &'static str, name: &str) -> String {
    debug_assert!(PARTS.contains(&part), "{part} is no part");
    let mut plain = format!("{prefix}.{part}.");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => plain.push(char::from(byte)),
            _ => plain.push_str(&format!(".{byte:02x}")),
        }
    }
    plain
}

/// Lets every reference in `schema` lead to where the schema that it names stands now.
fn redirect(schema: &mut Value, homes: &[(String, String)], place: &str) {
    let Some(table) = schema.as_object_mut() else {
        return;
    };
    for (keyword, value) in table {
        match (holds(keyword), value) {
            (_, Value::String(uri)) if keyword == "$ref" => {
                if let Some(moved) = of_fragment(uri).and_then(|at| moved(&at, homes, place)) {
                    *uri = moved;
                }
            }
            (Some(Holds::Schema), value) => redirect(value, homes, place),
            (Some(Holds::List), Value::Array(items)) => {
                items
                    .iter_mut()
                    .for_each(|item| redirect(item, homes, place));
            }
            (Some(Holds::Named), Value::Object(named)) => {
                named
                    .values_mut()
                    .for_each(|item| redirect(item, homes, place));
            }
            _ => {}
        }
    }
}

/// Where the schema at `pointer` of the contract stands now, which may be within another.
fn moved(pointer: &str, homes: &[(String, String)], place: &str) -> Option<String> {
    homes.iter().find_map(|(at, name)| {
        let rest = pointer.strip_prefix(at.as_str())?;
        let is_whole = rest.is_empty() || rest.starts_with('/');
        is_whole.then(|| to_fragment(&format!("{}{rest}", join(place, name))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_lead_to_where_schemas_stand_now() {
        let contract = Contract::read(json!({
            "name": "crm",
            "version": 2,
            "entities": {
                "customer": {
                    "operations": ["retrieve"],
                    "key": { "schema": { "pattern": "^c-" } },
                    "schema": {
                        "properties": {
                            "seat": { "$ref": "#/$defs/a%20b" },
                            "city": { "$ref": "#/$defs/a%20b/properties/city" },
                            "friends": { "items": { "$ref": "#/entities/customer/schema" } },
                            "$ref": { "const": { "$ref": "#/no/reference" } },
                        },
                        "allOf": [{ "$ref": "#/$defs/a" }],
                    },
                },
            },
            "$defs": { "a": true, "a b": { "properties": { "city": true } } },
        }));
        let schemas = contract.unwrap().schemas("/components/schemas", "crm.v2");
        let names: Vec<_> = schemas.keys().map(String::as_str).collect();
        let expected = [
            "crm.v2.def.a",
            "crm.v2.def.a.20b",
            "crm.v2.entity.customer",
            "crm.v2.key.customer",
        ];
        assert_eq!(names, expected);
        let place = |name: &str| format!("#/components/schemas/crm.v2.{name}");
        assert_eq!(
            schemas["crm.v2.entity.customer"],
            json!({
                "properties": {
                    "seat": { "$ref": place("def.a.20b") },
                    "city": { "$ref": place("def.a.20b/properties/city") },
                    "friends": { "items": { "$ref": place("entity.customer") } },
                    "$ref": { "const": { "$ref": "#/no/reference" } },
                },
                "allOf": [{ "$ref": place("def.a") }],
            })
        );
    }
}
