//! Field masks: which members of an entity are asked for, as in `fields=id,address/city`.

use super::problem::{Problem, Trouble};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How many fields may be asked for.
const MOST: usize = 100;
/// How deep they may lie.
const DEEPEST: usize = 32;

/// The members that are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    /// None beneath: all that the member holds.
    members: BTreeMap<String, Self>,
}

impl Mask {
    /// The mask that the query of a URL asks for, if it does. Other parameters are refused: none is
    /// known, and a slip of the pen would otherwise tell more than was asked for.
    pub(super) fn of_query(query: Option<&str>) -> Result<Option<Self>, Problem> {
        let mut mask = None;
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name != "fields" {
                return Err(bad(
                    "the only parameter is `fields`, as in ?fields=id,address/city",
                ));
            }
            if mask.replace(Self::read(value)?).is_some() {
                return Err(bad(
                    "`fields` is there twice: write all fields into one, with commas",
                ));
            }
        }
        Ok(mask)
    }

    /// Commas part fields, slashes their members; both are escaped within a name.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let mut mask = Self::default();
        let commas = text.replace("%2c", ",").replace("%2C", ",");
        let fields: Vec<_> = commas.split(',').collect();
        if fields.len() > MOST {
            return Err(bad(format!("`fields` names more than {MOST}")));
        }
        for field in fields {
            let field = percent_decode_str(field).decode_utf8();
            let field = field.map_err(|_| bad("`fields` holds something that is not UTF-8"))?;
            let path: Vec<_> = field.split('/').map(unescape).collect();
            if path.iter().any(String::is_empty) || path.len() > DEEPEST {
                return Err(bad(
                    "`fields` holds an empty name, or one too deep: write it as in \
                     ?fields=id,address/city",
                ));
            }
            mask.add(&path);
        }
        Ok(mask)
    }

    fn add(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            // All of it is asked for, whatever else of it was.
            self.members.clear();
            return;
        };
        match self.members.get_mut(first) {
            // All of it is asked for already.
            Some(known) if known.members.is_empty() => {}
            Some(known) => known.add(rest),
            None => self.members.entry(first.clone()).or_default().add(rest),
        }
    }

    /// What of `value` is asked for. Of a list, each item is looked at.
    pub(super) fn apply(&self, value: &Value) -> Value {
        if self.members.is_empty() {
            return value.clone();
        }
        match value {
            Value::Object(members) => {
                let mut kept = Map::new();
                for (name, within) in members {
                    if let Some(mask) = self.members.get(name) {
                        kept.insert(name.clone(), mask.apply(within));
                    }
                }
                kept.into()
            }
            Value::Array(items) => items.iter().map(|item| self.apply(item)).collect(),
            // There is no member in it.
            other => other.clone(),
        }
    }
}

/// As in JSON pointers, with `~2` for a comma.
fn unescape(name: &str) -> String {
    name.replace("~2", ",")
        .replace("~1", "/")
        .replace("~0", "~")
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Trouble::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn mask(fields: &str) -> Mask {
        Mask::of_query(Some(&format!("fields={fields}")))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_mask_keeps_what_is_asked_for() {
        let entity = json!({
            "id": "c-1",
            "address": { "city": "Ulm", "zip": "89073" },
            "items": [{ "a": 1, "b": 2 }, { "b": 3 }, 4],
            "a/b": 1, "c,d": 2, "e~f": 3, "\u{e4}": 4, "none": null,
        });
        for (fields, expected) in [
            ("id", json!({"id": "c-1"})),
            ("address/city", json!({"address": {"city": "Ulm"}})),
            (
                "address/city,id",
                json!({"address": {"city": "Ulm"}, "id": "c-1"}),
            ),
            (
                "address%2Fcity%2Cid",
                json!({"address": {"city": "Ulm"}, "id": "c-1"}),
            ),
            (
                "address,address/city",
                json!({"address": entity["address"]}),
            ),
            (
                "address/city,address",
                json!({"address": entity["address"]}),
            ),
            (
                "address/city,address/zip",
                json!({"address": entity["address"]}),
            ),
            ("items/a", json!({"items": [{"a": 1}, {}, 4]})),
            ("unknown,address/unknown", json!({"address": {}})),
            ("id/unknown", json!({"id": "c-1"})),
            (
                "a~1b,c~2d,e~0f,%C3%A4,none",
                json!({"a/b": 1, "c,d": 2, "e~f": 3, "\u{e4}": 4, "none": null}),
            ),
        ] {
            assert_eq!(mask(fields).apply(&entity), expected, "{fields}");
        }
        assert_eq!(Mask::of_query(None), Ok(None));
        assert_eq!(Mask::of_query(Some("")), Ok(None));
    }

    #[test]
    fn a_mask_that_cannot_be_meant_is_refused() {
        let deep = format!("fields={}", vec!["a"; DEEPEST + 1].join("/"));
        let many = format!("fields={}", vec!["a"; MOST + 1].join(","));
        let wrong = [
            "fields=",
            "fields",
            "fields=a,",
            "fields=/a",
            "fields=a//b",
            "field=a",
            "fields=a&fields=b",
            "fields=%ff",
            &deep,
            &many,
        ];
        for query in wrong {
            let fault = Mask::of_query(Some(query)).unwrap_err();
            assert_eq!(fault.trouble, Trouble::BadRequest, "{query}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), any::<i32>().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::hash_map("[abc]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn fields() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[abc](/[abc]){0,2}", 1..4)
    }

    proptest! {
        /// Asking twice changes nothing, nor does the order of fields; more of them give no less.
        #[test]
        fn masks_behave(value in values(), fields in fields()) {
            let one = mask(&fields.join(","));
            let once = one.apply(&value);
            prop_assert_eq!(&one.apply(&once), &once);
            let mut turned = fields.clone();
            turned.reverse();
            prop_assert_eq!(&mask(&turned.join(",")), &one);
            let fewer = mask(&fields[0]).apply(&value);
            prop_assert_eq!(mask(&fields[0]).apply(&once), fewer);
        }
    }
}
