//! Three values of an entity into one. Pure. Nothing there is `null`.

use syncline_sdk::prelude::*;
use syncline_sdk::serde_json::{Map, Number};

/// What is looked at as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The entity.
    Whole,
    /// Each of its members, with all that is in it.
    Members,
}

/// The value as every target gives it back: some write `1.0` where `1` was put in.
pub(crate) fn carried(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(plain(number)),
        Value::Array(items) => items.into_iter().map(carried).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, carried(value)))
            .collect(),
        other => other,
    }
}

/// A whole number in the form of whole numbers, where that says the same.
fn plain(number: Number) -> Number {
    /// Up to here each whole number has its own float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            format!("{float:.0}")
                .parse::<i64>()
                .map_or(number, Number::from)
        }
        _ => number,
    }
}

/// RFC 7396.
pub(crate) fn merged(into: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut members = match into {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            let old = members.remove(name).unwrap_or(Value::Null);
            members.insert(name.clone(), merged(old, value));
        }
    }
    Value::Object(members)
}

/// What `now` is to become, when what was agreed on goes from `old` to `new`: what has not moved follows, and
/// what has stays, because its own change is still to come.
pub(crate) fn three_way(old: &Value, new: &Value, now: &Value, scope: Scope) -> Value {
    combined((Some(old), Some(new), Some(now)), scope, &|(_, _, now)| now).unwrap_or(Value::Null)
}

/// `agreed` after what led from `before` to `after`, which comes later than whatever else was changed.
pub(crate) fn onto(before: &Value, after: &Value, agreed: &Value) -> Value {
    let sides = (Some(before), Some(after), Some(agreed));
    combined(sides, Scope::Members, &|(_, after, _)| after).unwrap_or(Value::Null)
}

/// What a patch makes of what was agreed on. What it changes within, the entity or a member, becomes what it
/// makes of that in `origin`, where it was made: it was made of that, and not of what was agreed on.
pub(crate) fn patched(agreed: &Value, patch: &Value, origin: &Value, scope: Scope) -> Value {
    match (scope, agreed, patch) {
        (Scope::Members, Value::Object(agreed), Value::Object(patch)) => {
            let mut members = agreed.clone();
            for (name, value) in patch {
                let old = members.remove(name).unwrap_or(Value::Null);
                let value = match origin.get(name) {
                    Some(origin) if value.is_object() => merged(origin.clone(), value),
                    _ => merged(old, value),
                };
                if !value.is_null() {
                    members.insert(name.clone(), value);
                }
            }
            Value::Object(members)
        }
        // Where it is gone by now, its removal is still to come.
        _ if origin.is_null() => merged(agreed.clone(), patch),
        _ => merged(origin.clone(), patch),
    }
}

/// JSON pointers to what has moved in `now` and in `new`, and not to the same.
pub(crate) fn clashes(old: &Value, new: &Value, now: &Value, scope: Scope) -> Vec<String> {
    let mut found = Vec::new();
    look((Some(old), Some(new), Some(now)), scope, "", &mut found);
    found
}

type Three<'a> = (Option<&'a Value>, Option<&'a Value>, Option<&'a Value>);

/// What a clash comes to.
type Choice<'c> = &'c dyn for<'a> Fn(Three<'a>) -> Option<&'a Value>;

fn combined((old, new, now): Three<'_>, scope: Scope, choice: Choice<'_>) -> Option<Value> {
    if new == old || new == now {
        return now.cloned();
    }
    if now == old {
        return new.cloned();
    }
    match members((old, new, now), scope) {
        None => choice((old, new, now)).cloned(),
        Some(members) => {
            let values = members.filter_map(|(name, three)| {
                combined(three, Scope::Whole, choice).map(|value| (name.to_owned(), value))
            });
            Some(Value::Object(values.collect()))
        }
    }
}

fn look((old, new, now): Three<'_>, scope: Scope, at: &str, found: &mut Vec<String>) {
    if new == old || new == now || now == old {
        return;
    }
    match members((old, new, now), scope) {
        None => found.push(at.to_owned()),
        Some(members) => {
            for (name, three) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                look(three, Scope::Whole, &format!("{at}/{name}"), found);
            }
        }
    }
}

/// The members of three objects, by name, where they are looked at one by one.
fn members<'a>(
    three: Three<'a>,
    scope: Scope,
) -> Option<impl Iterator<Item = (&'a str, Three<'a>)>> {
    let (Some(Value::Object(old)), Some(Value::Object(new)), Some(Value::Object(now))) = three
    else {
        return None;
    };
    if scope == Scope::Whole {
        return None;
    }
    let mut names: Vec<_> = old.keys().chain(new.keys()).chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let of = |name: &'a String| (name.as_str(), (old.get(name), new.get(name), now.get(name)));
    Some(names.into_iter().map(of))
}
