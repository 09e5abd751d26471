//! JSON texts that become rows. Values are taken over letter by letter, so that a number keeps all
//! of its digits.

use super::config::Content;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The members of an object, each as it was written. Of two with one name the last counts.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fn members<'a>(text: &'a str, what: &str) -> Result<Members<'a>, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} is not a JSON object: {error}"))
}

fn text_of<'a>(payload: &'a [u8], what: &str) -> Result<&'a str, String> {
    let value: &RawValue = serde_json::from_slice(payload)
        .map_err(|error| format!("the payload of {what} is not JSON: {error}"))?;
    Ok(value.get())
}

/// The parts of an effect's key, one for each key column: as it is, or the items of a JSON list.
pub(super) fn parts_of_key(key: &str, n_columns: usize) -> Result<Vec<String>, String> {
    if n_columns == 1 {
        return Ok(vec![key.to_owned()]);
    }
    let wrong = || {
        format!(
            "the key is not a JSON list of {n_columns} strings, numbers or booleans, one for each \
             key column"
        )
    };
    let items: Vec<serde_json::Value> = serde_json::from_str(key).map_err(|_| wrong())?;
    let part = |item: &serde_json::Value| match item {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(item.to_string()),
        _ => None,
    };
    let parts: Option<Vec<_>> = items.iter().map(part).collect();
    parts
        .filter(|parts| parts.len() == n_columns)
        .ok_or_else(wrong)
}

/// A row as a JSON object: the key's columns, and what else is given.
pub(super) fn row<'a>(
    keys: impl Iterator<Item = (&'a str, String)>,
    content: &[(String, String)],
) -> String {
    let member = |name: &str, value: &str| format!("{}:{value}", json_string(name));
    let keys = keys.map(|(name, part)| member(name, &json_string(&part)));
    let content = content.iter().map(|(name, value)| member(name, value));
    let all: Vec<_> = keys.chain(content).collect();
    format!("{{{}}}", all.join(","))
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The columns that a whole entity fills. What it does not have is null.
pub(super) fn whole(
    content: &Content,
    payload: &[u8],
    what: &str,
) -> Result<Vec<(String, String)>, String> {
    let text = text_of(payload, what)?;
    match content {
        Content::Document(column) => Ok(vec![(column.clone(), text.to_owned())]),
        Content::Columns(columns) => {
            let members = members(text, &format!("the payload of {what}"))?;
            let value = |column: &String| {
                let value = members.get(column).map_or("null", |value| value.get());
                (column.clone(), value.to_owned())
            };
            Ok(columns.iter().map(value).collect())
        }
    }
}

/// The columns that a patch changes, with their new values; `current` is the entity as it is.
pub(super) fn merged(
    content: &Content,
    payload: &[u8],
    current: Option<&str>,
) -> Result<Vec<(String, String)>, String> {
    let patch = text_of(payload, "a merge")?;
    // Patches are walked through: one that is nested too deeply is found here.
    let nested: Result<serde_json::Value, _> = serde_json::from_str(patch);
    nested.map_err(|error| format!("the payload of a merge is not JSON: {error}"))?;
    match content {
        Content::Document(column) => Ok(vec![(
            column.clone(),
            merge(current.unwrap_or("null"), patch),
        )]),
        Content::Columns(columns) => {
            let patch = members(patch, "the payload of a merge")?;
            let current = members(current.unwrap_or("{}"), "the row to merge into")?;
            let value = |column: &String| {
                let patch = patch.get(column)?.get();
                let current = current.get(column).map_or("null", |value| value.get());
                Some((column.clone(), merge(current, patch)))
            };
            Ok(columns.iter().filter_map(value).collect())
        }
    }
}

/// A whole entity that a patch was merged into; `current` none: into nothing.
pub(super) fn merged_whole(current: Option<&[u8]>, patch: &[u8]) -> Result<String, String> {
    let current = match current {
        Some(current) => text_of(current, "the entity to merge into")?,
        None => "null",
    };
    let document = Content::Document(String::new());
    let merged = merged(&document, patch, Some(current))?;
    Ok(merged.into_iter().map(|(_, text)| text).collect())
}

/// RFC 7396 on texts that are known to be JSON.
fn merge(target: &str, patch: &str) -> String {
    let Ok(patch) = serde_json::from_str::<Members<'_>>(patch) else {
        return patch.to_owned();
    };
    // Whatever is no object is replaced by an empty one.
    let target: Members<'_> = serde_json::from_str(target).unwrap_or_default();
    let mut merged: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &target {
        merged.insert(name, value.get().to_owned());
    }
    for (name, value) in &patch {
        match value.get() {
            "null" => drop(merged.remove(name.as_str())),
            value => {
                let before = merged.get(name.as_str()).map_or("null", String::as_str);
                let after = merge(before, value);
                merged.insert(name, after);
            }
        }
    }
    let member = |(name, value): (&str, String)| format!("{}:{value}", json_string(name));
    let all: Vec<_> = merged.into_iter().map(member).collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"]{0,2}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_texts_is_merging_values(target in json(), patch in json()) {
            let merged = merge(&target.to_string(), &patch.to_string());
            let mut expected = target;
            crate::event::merge(&mut expected, patch);
            prop_assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), expected);
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let exact = "12345678901234567890.12345678901234567890";
        let merged = merge(&format!("{{\"a\":{exact}}}"), "{\"b\":{\"c\":0.10}}");
        assert_eq!(merged, format!("{{\"a\":{exact},\"b\":{{\"c\":0.10}}}}"));
    }

    #[test]
    fn a_payload_cannot_smuggle_in_another_key() {
        let content = Content::Document("data".to_owned());
        let fault = whole(&content, b"1},\"id\":\"other\"", "an upsert").unwrap_err();
        assert!(fault.contains("is not JSON"), "{fault}");
        let columns = Content::Columns(vec!["name".to_owned()]);
        let kept = whole(&columns, br#"{"id": "other", "name": "Ada"}"#, "an upsert").unwrap();
        let row = row([("id", "k\"1".to_owned())].into_iter(), &kept);
        assert_eq!(row, r#"{"id":"k\"1","name":"Ada"}"#);
    }

    #[test]
    fn a_patch_that_is_nested_too_deeply_is_refused() {
        let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
        let content = Content::Document("data".to_owned());
        let fault = merged(&content, deep.as_bytes(), None).unwrap_err();
        assert!(fault.contains("recursion limit"), "{fault}");
    }

    #[test]
    fn a_key_of_several_columns_is_a_list() {
        assert_eq!(parts_of_key("[1]", 1).unwrap(), ["[1]"]);
        assert_eq!(
            parts_of_key(r#"["eu", 42, true]"#, 3).unwrap(),
            ["eu", "42", "true"]
        );
        for bad in ["eu", "[]", r#"["eu"]"#, r#"["eu", null]"#, r#"["eu", {}]"#] {
            assert!(parts_of_key(bad, 2).is_err(), "{bad}");
        }
    }
}
