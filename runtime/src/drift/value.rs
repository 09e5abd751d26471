//! When two entities are the same: as JSON values where they are JSON, else byte for byte.

use crate::event::encode_hash;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How deeply a value may be nested to be compared as one.
const DEEPEST: usize = 100;
/// How many places of a difference are told.
const PLACES: usize = 8;

/// An entity in the one form that all texts of its value have.
pub(super) fn canonical(data: &[u8]) -> Vec<u8> {
    let text: Result<&RawValue, _> = serde_json::from_slice(data);
    let mut out = Vec::with_capacity(data.len());
    match text {
        Ok(text) if write(text.get(), DEEPEST, &mut out).is_some() => out,
        _ => data.to_vec(),
    }
}

/// What tells an entity from all others.
pub(super) fn hash_of(data: &[u8]) -> String {
    let hash = Sha256::digest(canonical(data));
    encode_hash(hash.get(..16).unwrap_or_default()).to_string()
}

fn write(text: &str, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match text.as_bytes().first()? {
        b'{' => {
            // Of two members with one name the last counts.
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'{');
            for (name, value) in &members {
                serde_json::to_writer(&mut *out, name).ok()?;
                out.push(b':');
                write(value.get(), depth, out)?;
                out.push(b',');
            }
            out.push(b'}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'[');
            for item in items {
                write(item.get(), depth, out)?;
                out.push(b',');
            }
            out.push(b']');
        }
        b'"' => {
            let string: String = serde_json::from_str(text).ok()?;
            serde_json::to_writer(out, &string).ok()?;
        }
        b't' | b'f' | b'n' => out.extend_from_slice(text.as_bytes()),
        _ => out.extend_from_slice(number(text)?.as_bytes()),
    }
    Some(())
}

/// A number with all of its digits: `1`, `1.0` and `10e-1` are one.
fn number(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let significant = digits.trim_end_matches('0');
    let n_zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    match significant {
        "" => Some("0".to_owned()),
        _ => Some(format!(
            "{sign}{significant}e{}",
            exponent.checked_add(n_zeros)?
        )),
    }
}

/// Some places where two entities differ, as JSON pointers; none where they are no JSON.
pub(super) fn places(one: &[u8], other: &[u8]) -> Vec<String> {
    let read = |data| serde_json::from_slice::<Value>(data).ok();
    let mut found = Vec::new();
    if let (Some(one), Some(other)) = (read(one), read(other)) {
        collect(&one, &other, String::new(), &mut found);
    }
    found
}

fn collect(one: &Value, other: &Value, at: String, found: &mut Vec<String>) {
    if found.len() >= PLACES {
        return;
    }
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        let same = |value: &Value| canonical(value.to_string().as_bytes());
        if same(one) != same(other) {
            found.push(at);
        }
        return;
    };
    let added = other.keys().filter(|name| !one.contains_key(*name));
    for name in one.keys().chain(added) {
        let below = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (one.get(name), other.get(name)) {
            (Some(one), Some(other)) => collect(one, other, below, found),
            _ if found.len() < PLACES => found.push(below),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_value_are_the_same() {
        let same = [
            (
                r#"{"a":1,"b":[1.50,true]}"#,
                r#"{ "b" : [15e-1, true], "a": 1.0 }"#,
            ),
            (r#""\u00e9""#, "\"é\""),
            ("-0.0", "0"),
            ("100", "1E2"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("0.10", "1e-1"),
        ];
        for (one, other) in same {
            assert_eq!(
                hash_of(one.as_bytes()),
                hash_of(other.as_bytes()),
                "{one} {other}"
            );
        }
        let different = [
            ("12345678901234567890.12", "12345678901234567890.13"),
            ("1", "\"1\""),
            ("-1", "1"),
            ("10", "1"),
            ("0.1", "0.01"),
            (r#"{"a":null}"#, "{}"),
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[[1,2]]"),
            ("no json", "no  json"),
        ];
        for (one, other) in different {
            assert_ne!(
                hash_of(one.as_bytes()),
                hash_of(other.as_bytes()),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_compared_by_its_bytes() {
        let deep = |close: &str| format!("{}1{}", "[".repeat(5_000), close.repeat(5_000));
        assert_eq!(canonical(deep("]").as_bytes()), deep("]").as_bytes());
    }

    #[test]
    fn a_difference_says_where() {
        let (one, other) = (
            r#"{"a":{"b/c":1,"d":2},"e":[1]}"#,
            r#"{"a":{"b/c":1.0,"d":3},"e":[2],"f":0}"#,
        );
        assert_eq!(
            places(one.as_bytes(), other.as_bytes()),
            ["/a/d", "/e", "/f"]
        );
        assert_eq!(places(b"no", b"json"), Vec::<String>::new());
    }
}
