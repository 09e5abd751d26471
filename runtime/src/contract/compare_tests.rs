//! What a later contract breaks, on a table.
//!
//! `compare_tests/schemas.txt` has pairs of schemas of one entity: the lines with `##` say what is
//! to be found, all of it, then come the earlier and the later schema. `$defs` of a schema are moved
//! to the contract.

use super::check_tests::merged;
use super::compare::{Finding, Place, compare};
use super::document::Contract;
use proptest::prelude::*;
use serde_json::{Value, json};

const SCHEMAS: &str = include_str!("compare_tests/schemas.txt");
const AT: &str = "/entities/thing/schema";

fn contract_of(mut schema: Value) -> Contract {
    let defs = schema
        .as_object_mut()
        .and_then(|table| table.remove("$defs"));
    let operations = json!(["retrieve", "upsert", "merge"]);
    let document = json!({
        "name": "things",
        "version": 1,
        "entities": { "thing": { "operations": operations, "schema": schema } },
        "$defs": defs.unwrap_or_else(|| json!({})),
    });
    contract(document)
}

fn contract(document: Value) -> Contract {
    let text = document.to_string();
    match Contract::read(document) {
        Ok(contract) => contract,
        Err(faults) => panic!("{text}: {faults:?}"),
    }
}

/// A finding in the words of the table.
fn told(finding: &Finding) -> String {
    let whom = match (finding.breaks_writers, finding.breaks_readers) {
        (false, false) => "compatible",
        (true, false) => "writers",
        (false, true) => "readers",
        (true, true) => "both",
    };
    let (file, at) = match &finding.place {
        Place::Old(at) => ("old", at),
        Place::New(at) => ("new", at),
    };
    let at = at.strip_prefix(AT).unwrap_or(at);
    format!("{whom} {} {file}:{at}", finding.change)
}

struct Case {
    name: String,
    expected: Vec<String>,
    old: Value,
    new: Value,
}

fn cases() -> Vec<Case> {
    let blocks = SCHEMAS.split("\n\n").filter(|block| block.contains("## "));
    blocks
        .map(|block| {
            let mut lines = block.lines().filter(|line| !line.starts_with("# "));
            let name = lines.next().unwrap().trim_start_matches("## ").to_owned();
            let (said, schemas): (Vec<&str>, Vec<&str>) =
                lines.partition(|line| line.starts_with("## "));
            let read = |n: usize| serde_json::from_str(schemas[n]).expect(schemas[n]);
            assert_eq!(schemas.len(), 2, "{name}");
            let said = said.iter().map(|line| line.trim_start_matches("## "));
            Case {
                expected: said.map(str::to_owned).collect(),
                old: read(0),
                new: read(1),
                name,
            }
        })
        .collect()
}

#[test]
fn each_difference_of_the_table_is_told_with_whom_it_breaks_and_where() {
    let cases = cases();
    assert!(cases.len() >= 70, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let found = compare(&contract_of(case.old), &contract_of(case.new));
        let mut found: Vec<_> = found.iter().map(told).collect();
        let mut expected = case.expected.clone();
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!(
                "{}\n  found:    {found:?}\n  expected: {expected:?}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_contract_that_did_not_change_has_no_findings() {
    for case in cases() {
        for schema in [case.old, case.new] {
            let found = compare(&contract_of(schema.clone()), &contract_of(schema));
            assert_eq!(found, [], "{}", case.name);
        }
    }
}

/// Whoever is broken one way is broken the other way around by the reverse.
#[test]
fn the_reverse_of_what_breaks_one_party_breaks_the_other() {
    for case in cases() {
        let (old, new) = (contract_of(case.old), contract_of(case.new));
        let breaks = |found: &[Finding]| {
            let writers = found
                .iter()
                .any(|it| it.breaks_writers && !it.breaks_readers);
            let readers = found
                .iter()
                .any(|it| it.breaks_readers && !it.breaks_writers);
            (writers, readers)
        };
        let there = compare(&old, &new);
        let back = compare(&new, &old);
        // Members that come and go are told apart by hand.
        let is_plain = |it: &Finding| {
            let apart = ["member", "members", "closed", "opened"];
            !apart.iter().any(|word| it.change.starts_with(word))
        };
        if there.iter().chain(&back).all(is_plain) {
            let (writers, readers) = breaks(&there);
            assert_eq!(breaks(&back), (readers, writers), "{}", case.name);
        }
    }
}

/// What is merged into the contract of `whole`, and what is to be found then.
const CHANGES: [(&str, &str); 16] = [
    (r#"{"name": "sales"}"#, "both name-changed new:/name"),
    (r#"{"version": 1}"#, "both version-lowered new:/version"),
    (r#"{"version": 3}"#, ""),
    (r#"{"title": "CRM"}"#, ""),
    (
        r#"{"entities": {"note": {"operations": [], "schema": true}}}"#,
        "both default-changed new:/default; compatible entity-added new:/entities/note",
    ),
    (
        r#"{"entities": {"note": {"operations": [], "schema": true}}, "default": "customer"}"#,
        "compatible entity-added new:/entities/note",
    ),
    (
        r#"{"entities": {"customer": null, "client": {"operations": [], "schema": true}}}"#,
        "both default-changed new:/default; both entity-removed old:/entities/customer; \
         compatible entity-added new:/entities/client",
    ),
    (
        r#"{"entities": {"customer": {"operations": ["retrieve", "upsert"]}}}"#,
        "writers operation-removed new:/entities/customer/operations",
    ),
    (
        r#"{"entities": {"customer": {"operations": ["upsert", "delete"]}}}"#,
        "readers operation-removed new:/entities/customer/operations",
    ),
    (
        r#"{"entities": {"customer": {"operations": ["append", "retrieve", "upsert", "delete"]}}}"#,
        "compatible operation-added new:/entities/customer/operations",
    ),
    (
        r#"{"entities": {"customer": {"etag": "required"}}}"#,
        "writers etag-changed new:/entities/customer/etag",
    ),
    (
        r#"{"entities": {"customer": {"etag": "none"}}}"#,
        "both etag-changed new:/entities/customer/etag",
    ),
    (
        r#"{"entities": {"customer": {"key": {"members": ["/number"]}}}}"#,
        "both key-changed new:/entities/customer/key/members",
    ),
    (
        r#"{"entities": {"customer": {"key": {"members": null}}}}"#,
        "both key-changed new:/entities/customer/key/members",
    ),
    (
        r#"{"entities": {"customer": {"key": {"schema": {"maxLength": 8}}}}}"#,
        "writers limit-narrowed new:/entities/customer/key/schema/maxLength",
    ),
    (
        r#"{"entities": {"customer": {"key": {"schema": {"pattern": "^k-"}}}}}"#,
        "both form-changed new:/entities/customer/key/schema/pattern",
    ),
];

fn whole(change: &str) -> Contract {
    let document = json!({
        "name": "crm",
        "version": 2,
        "entities": {
            "customer": {
                "key": { "members": ["/id"], "schema": { "pattern": "^c-" } },
                "etag": "optional",
                "operations": ["retrieve", "upsert", "delete"],
                "schema": { "type": "object" },
            },
        },
    });
    contract(merged(&document, &serde_json::from_str(change).unwrap()))
}

#[test]
fn what_differs_beside_the_schemas_is_told_as_well() {
    for (change, expected) in CHANGES {
        let found = compare(&whole("{}"), &whole(change));
        let mut found: Vec<_> = found.iter().map(told).collect();
        let mut expected: Vec<_> = expected.split("; ").filter(|it| !it.is_empty()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{change}");
    }
}

/// Small schemas out of what contracts are made of.
fn schemas() -> impl Strategy<Value = Value> {
    let types =
        prop::sample::subsequence(vec!["null", "boolean", "string", "integer", "number"], 1..4);
    let leaf = prop_oneof![
        types.prop_map(|types| json!({ "type": types })),
        (-2..3i64, -2..3i64)
            .prop_map(|(a, b)| json!({ "type": "integer", "minimum": a, "maximum": b })),
        (0..3u8, 0..4u8)
            .prop_map(|(a, b)| json!({ "type": "string", "minLength": a, "maxLength": b })),
        prop::collection::vec(
            prop_oneof![Just(json!("a")), Just(json!(1)), Just(json!(null))],
            1..3
        )
        .prop_map(|values| json!({ "enum": values })),
        Just(json!({ "exclusiveMinimum": 0 })),
        Just(json!(true)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let names = prop::sample::subsequence(vec!["a", "b"], 0..=2);
        prop_oneof![
            (inner.clone(), inner.clone(), names, any::<bool>()).prop_map(
                |(a, b, names, closed)| json!({
                    "type": "object",
                    "properties": { "a": a, "b": b },
                    "required": names,
                    "additionalProperties": !closed,
                })
            ),
            (inner.clone(), 0..3u8)
                .prop_map(|(items, n)| json!({ "type": "array", "items": items, "maxItems": n })),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "anyOf": [a, b] })),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "oneOf": [a, b] })),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "allOf": [a, b] })),
            inner.prop_map(|a| json!({ "not": a })),
        ]
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3..4i64).prop_map(Value::from),
        Just(json!(0.5)),
        prop_oneof![Just(json!("")), Just(json!("a")), Just(json!("aaa"))],
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            // No other names: about those nothing is promised.
            (prop::option::of(inner.clone()), prop::option::of(inner)).prop_map(|(a, b)| {
                let members = [("a", a), ("b", b)].into_iter();
                let members = members.filter_map(|(name, value)| Some((name.to_owned(), value?)));
                members.collect()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// No value that the one allows and the other refuses goes unnoticed.
    #[test]
    fn what_is_called_compatible_is(
        old in schemas(),
        new in schemas(),
        values in prop::collection::vec(values(), 24),
    ) {
        let found = compare(&contract_of(old.clone()), &contract_of(new.clone()));
        // Members that were not named, or are not, carry no promise.
        let is_apart = |it: &Finding| it.change.starts_with("member") || it.change == "opened";
        prop_assume!(!found.iter().any(is_apart));
        let check = |schema: &Value| super::schema::options().build(schema).unwrap();
        let (before, now) = (check(&old), check(&new));
        let writers = found.iter().any(|it| it.breaks_writers);
        let readers = found.iter().any(|it| it.breaks_readers);
        for value in values {
            let (was, is) = (before.is_valid(&value), now.is_valid(&value));
            prop_assert!(writers || !was || is, "{value} is refused: {old} {new} {found:?}");
            prop_assert!(readers || was || !is, "{value} is new: {old} {new} {found:?}");
        }
    }
}
