//! Types, `enum` and `const`: which values there are.

use super::alternatives::of_one_keyword;
use super::finding::Finding;
use super::schemas::Both;
use super::shape::Node;
use serde_json::Value;

pub(super) const NULL: u8 = 1;
pub(super) const BOOLEAN: u8 = 2;
pub(super) const OBJECT: u8 = 4;
pub(super) const ARRAY: u8 = 8;
pub(super) const STRING: u8 = 16;
pub(super) const INTEGER: u8 = 32;
const FRACTION: u8 = 64;
pub(super) const NUMBER: u8 = INTEGER | FRACTION;
const ANY: u8 = 127;

/// The words of `type`.
pub(super) const TYPES: [(u8, &str); 7] = [
    (NULL, "null"),
    (BOOLEAN, "boolean"),
    (OBJECT, "object"),
    (ARRAY, "array"),
    (STRING, "string"),
    (NUMBER, "number"),
    (INTEGER, "integer"),
];

/// The types that all of these allow.
pub(super) fn types_of(nodes: &[Node<'_>]) -> u8 {
    nodes
        .iter()
        .map(types_of_one)
        .fold(ANY, |all, one| all & one)
}

fn types_of_one(node: &Node<'_>) -> u8 {
    let mut types = node.get("type").map_or(ANY, types_named);
    if let Some(values) = listed(node) {
        types &= values.iter().fold(0, |all, value| all | type_of(value));
    }
    for alternatives in of_one_keyword(node, &["type"]) {
        types &= alternatives
            .iter()
            .fold(0, |all, one| all | one.get("type").map_or(ANY, types_named));
    }
    types
}

fn types_named(said: &Value) -> u8 {
    let bits = |value: &Value| {
        let found = TYPES.iter().find(|(_, name)| value == name);
        found.map_or(0, |(bits, _)| *bits)
    };
    match said {
        Value::Array(names) => names.iter().fold(0, |all, name| all | bits(name)),
        name => bits(name),
    }
}

fn type_of(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Object(_) => OBJECT,
        Value::Array(_) => ARRAY,
        Value::String(_) => STRING,
        Value::Number(number) => match number.as_f64() {
            Some(number) if number.fract() != 0.0 => FRACTION,
            _ => INTEGER,
        },
    }
}

/// The values that a schema lists by itself.
fn own<'a>(node: &Node<'a>) -> Option<Vec<&'a Value>> {
    let one = node.get("const").map(|value| vec![value]);
    one.or_else(|| Some(node.get("enum")?.as_array()?.iter().collect()))
}

/// Whether a type or a value is named by more than one of these.
pub(super) fn repeat(branches: &[Node<'_>]) -> bool {
    let types = |node: &Node<'_>| node.get("type").map_or(0, types_named);
    let mut seen: (u8, Vec<&Value>) = (0, Vec::new());
    branches.iter().any(|node| {
        let (bits, values) = (types(node), own(node).unwrap_or_default());
        let again = seen.0 & bits != 0 || values.iter().any(|value| has(&seen.1, value));
        seen.0 |= bits;
        seen.1.extend(values);
        again
    })
}

/// The values that a schema lists.
fn listed<'a>(node: &Node<'a>) -> Option<Vec<&'a Value>> {
    let mut found = own(node);
    for alternatives in of_one_keyword(node, &["const", "enum"]) {
        let all: Option<Vec<_>> = alternatives.iter().map(own).collect();
        let values: Vec<&Value> = all?.into_iter().flatten().collect();
        found = Some(both_have(found, &values));
    }
    found
}

fn both_have<'a>(one: Option<Vec<&'a Value>>, other: &[&'a Value]) -> Vec<&'a Value> {
    match one {
        None => other.to_vec(),
        Some(mut values) => {
            values.retain(|value| has(other, value));
            values
        }
    }
}

/// All values that these allow, as far as `enum` and types say; none: too many.
fn finite<'a>(nodes: &[Node<'a>]) -> Option<Vec<&'a Value>> {
    static FEW: [(u8, Value); 3] = [
        (NULL, Value::Null),
        (BOOLEAN, Value::Bool(false)),
        (BOOLEAN, Value::Bool(true)),
    ];
    let types = types_of(nodes);
    let mut found: Option<Vec<&'a Value>> = None;
    for values in nodes.iter().filter_map(listed) {
        found = Some(both_have(found, &values));
    }
    if let Some(mut values) = found {
        values.retain(|value| types & type_of(value) != 0);
        return Some(values);
    }
    let few = FEW.iter().filter(|(bits, _)| types & bits != 0);
    (types & !(NULL | BOOLEAN) == 0).then(|| few.map(|(_, value)| value).collect())
}

/// Whether both list what they allow, and nothing that the other does.
pub(super) fn have_no_value_in_common(one: &[Node<'_>], other: &[Node<'_>]) -> bool {
    match (finite(one), finite(other)) {
        (Some(one), Some(other)) => !one.iter().any(|value| has(&other, value)),
        _ => false,
    }
}

fn has(values: &[&Value], value: &Value) -> bool {
    values.iter().any(|other| same(other, value))
}

/// Numbers are the same however they are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

pub(super) fn compare_values(both: &Both<'_, '_>) -> Vec<Finding> {
    match (finite(both.old), finite(both.new)) {
        (None, None) => types(both),
        (Some(before), Some(now)) => {
            let change = |one: &[&Value], other: &[&Value]| -> Vec<String> {
                let gone = one.iter().filter(|value| !has(other, value));
                gone.map(|value| format!("`{value}`")).collect()
            };
            lists(both, (&change(&before, &now), &change(&now, &before)))
        }
        (Some(before), None) => {
            let mut found = Vec::new();
            let now = types_of(both.new);
            if before.iter().any(|value| type_of(value) & now == 0) {
                found.extend(types(both));
            }
            let message = "any value is allowed where some were listed".to_owned();
            found.push(Finding::wider(place(both), "enum-removed", message));
            found
        }
        (None, Some(_)) => {
            let mut found: Vec<_> = types(both)
                .into_iter()
                .filter(|it| it.breaks_readers)
                .collect();
            let message = "only listed values are allowed".to_owned();
            found.push(Finding::narrower(place(both), "enum-added", message));
            found
        }
    }
}

fn place(both: &Both<'_, '_>) -> super::Place {
    let says = |keyword: &str| {
        [both.old, both.new]
            .iter()
            .any(|nodes| nodes.iter().any(|node| node.get(keyword).is_some()))
    };
    let keyword = ["enum", "const", "type"]
        .into_iter()
        .find(|keyword| says(keyword));
    both.place(keyword.unwrap_or_default())
}

fn lists(both: &Both<'_, '_>, (gone, new): (&[String], &[String])) -> Vec<Finding> {
    let mut found = Vec::new();
    if !gone.is_empty() {
        let message = format!("{} is not allowed any more", gone.join(", "));
        found.push(Finding::narrower(place(both), "enum-narrowed", message));
    }
    if !new.is_empty() {
        let message = format!("{} is allowed as well", new.join(", "));
        found.push(Finding::wider(place(both), "enum-widened", message));
    }
    found
}

fn types(both: &Both<'_, '_>) -> Vec<Finding> {
    let (old, new) = (types_of(both.old), types_of(both.new));
    let mut found = Vec::new();
    if old & !new != 0 {
        let message = format!("{} was allowed, and only {} is", words(old), words(new));
        found.push(Finding::narrower(
            both.place("type"),
            "type-narrowed",
            message,
        ));
    }
    if new & !old != 0 {
        let message = format!("{} is allowed, and only {} was", words(new), words(old));
        found.push(Finding::wider(both.place("type"), "type-widened", message));
    }
    found
}

fn words(types: u8) -> String {
    if types == ANY {
        return "any type".to_owned();
    }
    let mut left = types;
    let mut words = Vec::new();
    for (bits, name) in TYPES {
        if left & bits == bits {
            left &= !bits;
            words.push(name);
        }
    }
    match words.as_slice() {
        [] => "nothing".to_owned(),
        words => words.join(" or "),
    }
}
