//! What can be said of a merge patch (RFC 7396) without the entity that it is merged into.
//!
//! For each schema S there is one for patches: whatever entity a patch is merged into, if what comes
//! out keeps to S, the patch keeps to that one. So a patch that does not can never come out well. A
//! patch that is no object replaces what was there and has to keep to S itself, and so does each list
//! in it. In an object, members have to keep to the schemas for patches of their own, `null` takes a
//! member out, and what is required cannot be taken out. What depends on members that the patch does
//! not have (`required` itself, `minProperties`, `not`) is left alone.

use super::pointer::{escape, join, of_fragment, to_fragment};
use super::references::target;
use super::schema::within;
use serde_json::{Map, Value, json};

/// Where they are put in the document.
const PATCHES: &str = "x-patches";

/// Where the schema for patches is of the one at `at`.
pub(super) fn place_of(at: &str) -> String {
    format!("/{PATCHES}/{}", escape(at))
}

/// The document with the schemas for patches that the one at `at` needs.
pub(super) fn add_patches(document: &Value, at: &str) -> Value {
    let mut patches = Map::new();
    let mut open = vec![at.to_owned()];
    while let Some(at) = open.pop() {
        if patches.contains_key(&at) {
            continue;
        }
        let Some(schema) = document.pointer(&at) else {
            continue;
        };
        open.extend(within(schema, &at).into_iter().map(|(_, at, _)| at));
        open.extend(target(schema));
        let patch = patch_of(schema, &at);
        patches.insert(at, patch);
    }
    let mut whole = document.clone();
    if let Some(root) = whole.as_object_mut() {
        root.insert(PATCHES.to_owned(), Value::Object(patches));
    }
    whole
}

fn patch_of(schema: &Value, at: &str) -> Value {
    match schema {
        Value::Object(schema) => json!({
            "if": { "type": "object" },
            "then": for_objects(schema, at),
            "else": { "$ref": to_fragment(at) },
        }),
        other => other.clone(),
    }
}

fn reference(at: &str) -> Value {
    json!({ "$ref": to_fragment(&place_of(at)) })
}

/// What a member may be: taken out, or as its schema says.
fn member(at: &str) -> Value {
    json!({ "if": { "type": "null" }, "else": reference(at) })
}

/// What is there and not `null`.
fn kept() -> Value {
    json!({ "type": ["boolean", "object", "array", "number", "string"] })
}

fn for_objects(schema: &Map<String, Value>, at: &str) -> Value {
    let mut patch = Map::new();
    let mut all = Vec::new();
    for (keyword, value) in schema {
        let here = join(at, keyword);
        let named = |make: &dyn Fn(&str, &Value) -> Value| -> Value {
            let named = value.as_object().into_iter().flatten();
            named
                .map(|(name, inner)| (name.clone(), make(name, inner)))
                .collect()
        };
        let items = value.as_array().map_or(0, Vec::len);
        let list = || -> Value {
            let places = (0..items).map(|n| join(&here, &n.to_string()));
            places.map(|at| reference(&at)).collect()
        };
        match keyword.as_str() {
            // That an object is not among them is found out by themselves.
            "type" => drop(patch.insert(keyword.clone(), value.clone())),
            "enum" if !any_object(value.as_array().into_iter().flatten()) => {
                patch.insert(keyword.clone(), value.clone());
            }
            "const" if !value.is_object() => drop(patch.insert(keyword.clone(), value.clone())),
            "properties" | "patternProperties" => {
                let members = named(&|name, _| member(&join(&here, name)));
                patch.insert(keyword.clone(), members);
            }
            "additionalProperties" | "unevaluatedProperties" => {
                patch.insert(keyword.clone(), member(&here));
            }
            "required" => all.push(json!({ "properties": kept_names(value) })),
            "dependentRequired" => {
                let named = value.as_object().into_iter().flatten();
                all.extend(named.map(|(name, needed)| {
                    let then = json!({ "properties": kept_names(needed) });
                    when_there(name, &then)
                }));
            }
            "dependentSchemas" => {
                let named = value.as_object().into_iter().flatten();
                all.extend(named.map(|(name, _)| when_there(name, &reference(&join(&here, name)))));
            }
            "allOf" => all.push(json!({ "allOf": list() })),
            // Of one alternative only a part may be seen, so that more than one may seem to hold.
            "anyOf" | "oneOf" => all.push(json!({ "anyOf": list() })),
            "if" => all.push(either(schema, at)),
            "$ref" => all.extend(target_of(value).map(|at| reference(&at))),
            _ => {}
        }
    }
    if !all.is_empty() {
        patch.insert("allOf".to_owned(), Value::Array(all));
    }
    Value::Object(patch)
}

fn target_of(value: &Value) -> Option<String> {
    of_fragment(value.as_str()?)
}

fn any_object<'a>(mut values: impl Iterator<Item = &'a Value>) -> bool {
    values.any(Value::is_object)
}

/// The members of a list of names, none of which may be taken out.
fn kept_names(names: &Value) -> Value {
    let names = names.as_array().into_iter().flatten();
    let members = names.filter_map(|name| Some((name.as_str()?.to_owned(), kept())));
    members.collect()
}

/// `then`, where the patch has the member `name`.
fn when_there(name: &str, then: &Value) -> Value {
    json!({
        "if": { "required": [name], "properties": { name: kept() } },
        "then": then,
    })
}

/// `if`, `then` and `else`: what comes out keeps to the first two, or to the last.
fn either(schema: &Map<String, Value>, at: &str) -> Value {
    let part = |name: &str| match schema.contains_key(name) {
        true => reference(&join(at, name)),
        false => Value::Bool(true),
    };
    json!({ "anyOf": [{ "allOf": [part("if"), part("then")] }, part("else")] })
}
