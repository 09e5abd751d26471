//! Effects that keep to a contract, and effects that do not.

use super::document::Contract;
use crate::event::{Effect, Headers, Operation, Precondition};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

fn contract(change: impl FnOnce(&mut Value)) -> Contract {
    let mut document = json!({
        "name": "crm",
        "version": 2,
        "entities": {
            "customer": {
                "key": { "members": ["/id"], "schema": { "pattern": "^c-" } },
                "operations": ["upsert", "merge", "delete", "append"],
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "name": { "type": "string", "minLength": 1 },
                        "age": { "type": ["integer", "null"], "minimum": 0 },
                        "tags": { "type": "array", "items": { "enum": ["a", "b", null] } },
                        "seat": { "$ref": "#/$defs/address" },
                        "email": { "type": "string", "format": "email" },
                    },
                    "required": ["id", "name"],
                    "additionalProperties": false,
                },
            },
        },
        "$defs": {
            "address": {
                "type": "object",
                "properties": { "city": { "type": "string" }, "zip": { "type": "string" } },
                "required": ["city"],
            },
        },
    });
    change(&mut document);
    Contract::read(document).unwrap()
}

fn effect(operation: Operation, payload: &Value) -> Effect {
    Effect {
        target: None,
        entity: None,
        operation,
        key: "c-1".to_owned(),
        precondition: None,
        content_type: None,
        headers: Headers::default(),
        payload: Bytes::from(payload.to_string()),
    }
}

/// What is said of an effect, after what it is about; nothing where it keeps to the contract.
fn said(contract: &Contract, effect: &Effect) -> String {
    match contract.check(effect) {
        Ok(()) => String::new(),
        Err(violation) => {
            let text = violation.to_string();
            let (about, fault) = text.split_once(": ").unwrap();
            assert!(about.starts_with("contract crm v2, entity `"), "{about}");
            fault.to_owned()
        }
    }
}

fn check_all(operation: Operation, cases: &[(Value, &str)]) {
    let contract = contract(|_| {});
    for (payload, expected) in cases {
        let said = said(&contract, &effect(operation, payload));
        match *expected {
            "" => assert_eq!(said, "", "{payload}"),
            expected => assert!(said.contains(expected), "{payload}: {said}"),
        }
    }
}

#[test]
fn an_upsert_is_a_whole_entity() {
    check_all(
        Operation::Upsert,
        &[
            (json!({"id": "c-1", "name": "Ada"}), ""),
            (
                json!({"id": "c-1", "name": "Ada", "age": null, "seat": {"city": "Ulm"}}),
                "",
            ),
            (
                json!({"id": "c-1"}),
                "the payload as a whole: \"name\" is a required property",
            ),
            (
                json!({"id": "c-1", "name": 7}),
                "at `/name`: it is not of type \"string\"",
            ),
            (
                json!({"id": "c-1", "name": "A", "age": -1}),
                "at `/age`: it is less than the minimum of 0",
            ),
            (
                json!({"id": "c-1", "name": "A", "x": 1}),
                "the payload as a whole: Additional properties",
            ),
            (
                json!({"id": "c-1", "name": "A", "tags": ["a", "x"]}),
                "at `/tags/1`: it is not one of",
            ),
            (
                json!({"id": "c-1", "name": "A", "seat": {}}),
                "at `/seat`: \"city\" is a required",
            ),
            (
                json!({"id": "c-1", "name": "A", "email": "at"}),
                "at `/email`: it is not a \"email\"",
            ),
            (
                json!({"id": "c-2", "name": "Ada"}),
                "at `/id`: it is not what the key says",
            ),
            (
                json!({"name": "Ada"}),
                "at `/id`: it is part of the key, and is not there",
            ),
            (
                json!([]),
                "the payload as a whole: it is not of type \"object\"",
            ),
        ],
    );
}

#[test]
fn a_merge_is_a_part_of_an_entity() {
    check_all(
        Operation::Merge,
        &[
            (json!({}), ""),
            (json!({"age": 7}), ""),
            (json!({"age": null, "seat": null, "tags": null}), ""),
            (json!({"seat": {"zip": "89073"}}), ""),
            (json!({"tags": ["a", null]}), ""),
            (json!({"id": "c-1"}), ""),
            (json!({"unknown": null}), ""),
            (
                json!({"name": null}),
                "at `/name`: it is required, and `null` would take it out",
            ),
            (
                json!({"seat": {"city": null}}),
                "at `/seat/city`: it is required, and `null` would",
            ),
            (
                json!({"name": ""}),
                "at `/name`: it is shorter than 1 character",
            ),
            (json!({"age": "7"}), "at `/age`: it is not of types"),
            (
                json!({"age": {"years": 7}}),
                "at `/age`: it is not of types",
            ),
            (
                json!({"unknown": 1}),
                "at `/unknown`: nothing is allowed here",
            ),
            (json!({"tags": ["x"]}), "at `/tags/0`: it is not one of"),
            (
                json!({"tags": {}}),
                "at `/tags`: it is not of type \"array\"",
            ),
            (
                json!({"seat": "Ulm"}),
                "at `/seat`: it is not of type \"object\"",
            ),
            (
                json!({"seat": {"city": 1}}),
                "at `/seat/city`: it is not of type \"string\"",
            ),
            (
                json!({"id": "c-2"}),
                "at `/id`: it is not what the key says",
            ),
            (json!({"id": null}), "at `/id`: it is required"),
            // What is no object takes the place of the entity.
            (
                json!("Ada"),
                "the payload as a whole: it is not of type \"object\"",
            ),
            (
                json!(null),
                "the payload as a whole: it is not of type \"object\"",
            ),
        ],
    );
}

#[test]
fn a_merge_into_nothing_is_a_whole_entity() {
    let contract = contract(|_| {});
    let absent = |payload: Value| Effect {
        precondition: Some(Precondition::Absent),
        ..effect(Operation::Merge, &payload)
    };
    assert_eq!(
        said(
            &contract,
            &absent(json!({"id": "c-1", "name": "A", "age": null}))
        ),
        ""
    );
    let fault = said(&contract, &absent(json!({"id": "c-1", "name": null})));
    assert!(fault.contains("\"name\" is a required property"), "{fault}");
}

#[test]
fn a_record_has_no_key_and_a_delete_no_payload() {
    let contract = contract(|_| {});
    let record = effect(Operation::Append, &json!({"id": "x", "name": "Ada"}));
    let record = Effect {
        key: "x".to_owned(),
        ..record
    };
    assert_eq!(said(&contract, &record), "");
    let delete = Effect {
        payload: Bytes::new(),
        ..effect(Operation::Delete, &json!(0))
    };
    assert_eq!(said(&contract, &delete), "");
    let other = Effect {
        key: "x".to_owned(),
        ..delete
    };
    assert!(said(&contract, &other).contains("the key itself does not match \"^c-\""));
}

#[test]
fn what_is_no_json_is_told() {
    let contract = contract(|_| {});
    for payload in ["", "{", "{\"id\":\"c-1\"} {}", "\u{0}"] {
        let effect = Effect {
            payload: Bytes::from(payload),
            ..effect(Operation::Upsert, &json!(0))
        };
        assert!(
            said(&contract, &effect).contains("as a whole: it is not JSON"),
            "{payload}"
        );
    }
}

#[test]
fn operations_and_entities_that_there_are_not_are_refused() {
    let reads_only = contract(|it| it["entities"]["customer"]["operations"] = json!(["retrieve"]));
    let payload = json!({"id": "c-1", "name": "A"});
    let fault = said(&reads_only, &effect(Operation::Upsert, &payload));
    assert_eq!(fault, "`upsert` is none of its operations: retrieve");
    let contract = contract(|_| {});
    let other = Effect {
        entity: Some("invoice".to_owned()),
        ..effect(Operation::Upsert, &payload)
    };
    let fault = said(&contract, &other);
    assert_eq!(
        fault,
        "contract crm v2 has no entity `invoice`, only `customer`"
    );
    let named = Effect {
        entity: Some("customer".to_owned()),
        ..other
    };
    assert_eq!(said(&contract, &named), "");
}

#[test]
fn etags_are_used_as_the_policy_says() {
    let payload = json!({"id": "c-1", "name": "A"});
    let with = |precondition: Option<Precondition>| Effect {
        precondition,
        ..effect(Operation::Upsert, &payload)
    };
    let etag = || Some(Precondition::Etag("7".to_owned()));
    let policy = |word: &str| contract(|it| it["entities"]["customer"]["etag"] = json!(word));
    let (none, required) = (policy("none"), policy("required"));
    for (contract, precondition, expected) in [
        (&none, None, ""),
        (&none, Some(Precondition::Absent), ""),
        (&none, etag(), "it has no etags"),
        (&required, None, "its etag is required"),
        (
            &required,
            Some(Precondition::Present),
            "its etag is required",
        ),
        (&required, Some(Precondition::Absent), ""),
        (&required, etag(), ""),
    ] {
        let said = said(contract, &with(precondition.clone()));
        assert!(said.starts_with(expected), "{precondition:?}: {said}");
        assert_eq!(
            said.is_empty(),
            expected.is_empty(),
            "{precondition:?}: {said}"
        );
    }
    assert_eq!(said(&required, &effect(Operation::Append, &payload)), "");
}

#[test]
fn a_key_of_several_parts_is_compared_part_by_part() {
    let contract = contract(|it| {
        let customer = &mut it["entities"]["customer"];
        customer["key"] = json!({
            "members": ["/region", "/number"],
            "schema": { "prefixItems": [{ "enum": ["eu"] }, { "type": "integer" }] },
        });
        customer["schema"] = json!(true);
    });
    let with = |key: &str, payload: Value| {
        let effect = effect(Operation::Upsert, &payload);
        said(
            &contract,
            &Effect {
                key: key.to_owned(),
                ..effect
            },
        )
    };
    assert_eq!(
        with(r#"["eu",42]"#, json!({"region": "eu", "number": 42})),
        ""
    );
    let fault = with(r#"["eu",42]"#, json!({"region": "eu", "number": 43}));
    assert_eq!(fault, "at `/number`: it is not what the key says");
    let fault = with(r#"["us",42]"#, json!({"region": "us", "number": 42}));
    assert!(fault.contains("the key itself is not one of"), "{fault}");
    let fault = with("eu", json!({"region": "eu", "number": 42}));
    assert!(fault.contains("the key is no list of 2 values"), "{fault}");
}

#[test]
fn values_are_kept_out_of_what_is_said() {
    let contract = contract(|_| {});
    let secret = "4929-1234";
    for payload in [
        json!({"id": "c-1", "name": "A", "age": secret}),
        json!({"id": "c-1", "name": "A", "seat": {"zip": [secret]}}),
        json!({"id": secret, "name": "A"}),
        json!({"id": "c-1", "name": "A", "tags": [secret]}),
    ] {
        let said = said(&contract, &effect(Operation::Upsert, &payload));
        assert!(!said.is_empty() && !said.contains(secret), "{said}");
    }
}

#[test]
fn a_payload_that_is_nested_as_deep_as_it_can_be_read_is_checked() {
    let contract = contract(|it| {
        it["entities"]["customer"]["key"] = json!({});
        it["entities"]["customer"]["schema"] = json!({ "$ref": "#/$defs/tree" });
        let child = json!({ "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] });
        it["$defs"]["tree"] = json!({
            "type": "object",
            "properties": { "child": child },
            "additionalProperties": false,
        });
    });
    let nested = |depth: usize, leaf: &str| {
        let (open, close) = (r#"{"child":"#.repeat(depth), "}".repeat(depth));
        Bytes::from([open, leaf.to_owned(), close].concat())
    };
    for operation in [Operation::Upsert, Operation::Merge] {
        let with = |payload| {
            let effect = effect(operation, &json!(0));
            said(&contract, &Effect { payload, ..effect })
        };
        assert_eq!(with(nested(120, "{}")), "");
        assert!(with(nested(120, "7")).contains("at `/child"), "{operation}");
        assert!(with(nested(10_000, "{}")).contains("it is not JSON: recursion limit"));
    }
}

#[test]
fn what_is_told_is_short_however_long_names_are() {
    let contract = contract(|_| {});
    let long = "x".repeat(1 << 20);
    let names: Value = (0..100).map(|n| (format!("{n}{long}"), json!(1))).collect();
    for effect in [
        effect(
            Operation::Upsert,
            &json!({ "id": "c-1", "name": "A", (&*long): 1 }),
        ),
        effect(Operation::Merge, &names),
        Effect {
            key: long.clone(),
            entity: Some(long.clone()),
            ..effect(Operation::Upsert, &json!({}))
        },
    ] {
        let violation = contract.check(&effect).unwrap_err().to_string();
        assert!(violation.len() < 16_384, "{}", violation.len());
    }
}

/// RFC 7396, on values.
pub(super) fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut members = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            let before = members.get(name).cloned().unwrap_or(Value::Null);
            members.insert(name.clone(), merged(&before, value));
        }
    }
    Value::Object(members)
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(1)),
        Just(json!("x")),
        Just(json!(true)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn schemas() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "null", "boolean", "string", "integer", "object", "array",
    ]);
    let leaf = prop_oneof![
        kind.prop_map(|kind| json!({ "type": kind })),
        values().prop_map(|value| json!({ "enum": [value, "x"] })),
        values().prop_map(|value| json!({ "const": value })),
        prop::sample::subsequence(vec!["a", "b", "c"], 0..=3)
            .prop_map(|names| json!({ "required": names })),
        Just(json!({ "dependentRequired": { "a": ["b"] } })),
        Just(json!({ "minProperties": 2 })),
        Just(json!({ "propertyNames": { "enum": ["a", "b"] } })),
        any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (inner.clone(), inner.clone(), inner.clone()).prop_map(
                |(a, b, rest)| json!({ "properties": { "a": a, "b": b }, "additionalProperties": rest })
            ),
            (inner.clone(), inner.clone()).prop_map(
                |(a, rest)| json!({ "allOf": [{ "properties": { "a": a } }], "unevaluatedProperties": rest })
            ),
            inner.clone().prop_map(|a| json!({ "patternProperties": { "[ab]": a }, "items": a })),
            two.clone().prop_map(|(a, b)| json!({ "anyOf": [a, b] })),
            two.clone().prop_map(|(a, b)| json!({ "oneOf": [a, b] })),
            two.clone().prop_map(|(a, b)| json!({ "allOf": [a, b] })),
            two.clone().prop_map(|(a, b)| json!({ "dependentSchemas": { "a": a }, "not": b })),
            (inner.clone(), two).prop_map(|(a, (b, c))| json!({ "if": a, "then": b, "else": c })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// No patch is refused that could come out well.
    #[test]
    fn a_patch_that_makes_a_sound_entity_of_another_is_allowed(
        schema in schemas(),
        targets in prop::collection::vec(values(), 12),
        patches in prop::collection::vec(values(), 12),
    ) {
        let document = json!({
            "name": "crm",
            "version": 2,
            "entities": { "thing": { "operations": ["merge"], "schema": schema.clone() } },
        });
        let contract = Contract::read(document).unwrap();
        let check = super::schema::options().build(&schema).unwrap();
        for (target, patch) in targets.iter().flat_map(|t| patches.iter().map(move |p| (t, p))) {
            let entity = merged(target, patch);
            if check.is_valid(&entity) {
                let said = said(&contract, &effect(Operation::Merge, patch));
                prop_assert_eq!(said, "", "{} into {} is {}: {}", patch, target, entity, schema);
            }
        }
    }
}
