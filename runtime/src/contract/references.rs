//! `$ref`: where it points, and that none leads back to where it began.

use super::fault::Faults;
use super::pointer::{join, of_fragment};
use super::schema::within;
use serde_json::Value;
use std::collections::BTreeSet;

/// Keywords whose schemas are about the same value.
const IN_PLACE: [&str; 8] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
];

/// The place that the `$ref` of a schema names.
pub(super) fn target(schema: &Value) -> Option<String> {
    of_fragment(schema.get("$ref")?.as_str()?)
}

/// Notes references that point to no schema of the contract, and those that never end.
pub(super) fn check(document: &Value, schemas: &[String], faults: &mut Faults) {
    let known: BTreeSet<&str> = schemas.iter().map(String::as_str).collect();
    let before = faults.is_empty();
    for at in &known {
        let Some(schema) = document.pointer(at) else {
            continue;
        };
        let Some(written) = schema.get("$ref") else {
            continue;
        };
        if target(schema).is_none_or(|pointer| !known.contains(pointer.as_str())) {
            let fault = format!(
                "{written} is no schema of this file: write a JSON pointer to one, as in \
                 \"#/$defs/address\""
            );
            faults.note(&join(at, "$ref"), fault);
        }
    }
    if before && faults.is_empty() {
        let mut ended = BTreeSet::new();
        for at in known {
            follow(document, at, &mut Vec::new(), (&mut ended, faults));
        }
    }
}

/// Follows all that is about the same value as the schema `at`, which `path` led to.
fn follow(
    document: &Value,
    at: &str,
    path: &mut Vec<String>,
    (ended, faults): (&mut BTreeSet<String>, &mut Faults),
) {
    if path.iter().any(|earlier| earlier == at) {
        let fault = "it says of itself that it is as it is: a `$ref` leads back here without going \
                     into a member or an item; take one out";
        faults.note(at, fault);
        ended.insert(at.to_owned());
        return;
    }
    if ended.contains(at) {
        return;
    }
    let Some(schema) = document.pointer(at) else {
        return;
    };
    path.push(at.to_owned());
    let inner = within(schema, at);
    let inner = inner
        .into_iter()
        .filter(|(keyword, ..)| IN_PLACE.contains(keyword))
        .map(|(_, at, _)| at);
    let next: Vec<String> = inner.chain(target(schema)).collect();
    for at in next {
        follow(document, &at, path, (ended, faults));
    }
    path.pop();
    ended.insert(at.to_owned());
}
