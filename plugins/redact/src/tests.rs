//! Each mode, and what stays as it was.

use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::Redact;

fn redacted(config: Value, data: Value) -> Value {
    let verdict = Harness::<Redact>::new(config).send(&event("customer.created", data));
    let [event] = verdict.forwarded() else {
        panic!("not one event: {verdict:?}")
    };
    event.json().unwrap()
}

#[test]
fn the_cases_hold() {
    testing::cases::<Redact>("cases");
}

#[test]
fn the_replacement_can_be_any_json() {
    let data = || json!({ "email": "ada@example.com", "n": 1 });
    let plain = redacted(json!({ "fields": ["/email"] }), data());
    assert_eq!(plain, json!({ "email": "[redacted]", "n": 1 }));
    let null = redacted(json!({ "fields": ["/email"], "with": null }), data());
    assert_eq!(null, json!({ "email": null, "n": 1 }));
}

#[test]
fn a_star_reaches_every_element() {
    let config = json!({ "fields": ["/users/*/email"], "mode": "remove" });
    let data = json!({ "users": [{ "email": "a", "id": 1 }, { "email": "b" }, { "id": 3 }] });
    assert_eq!(
        redacted(config, data),
        json!({ "users": [{ "id": 1 }, {}, { "id": 3 }] })
    );
}

#[test]
fn removing_leaves_the_places_of_an_array() {
    let config = || json!({ "fields": ["/tags/0", "/a~1b"], "mode": "remove" });
    let data = json!({ "tags": ["x", "y"], "a/b": 1 });
    assert_eq!(redacted(config(), data), json!({ "tags": [null, "y"] }));
}

#[test]
fn equal_values_have_equal_hashes() {
    let config = json!({ "fields": ["/*"], "mode": "hash" });
    let hashed = redacted(config, json!({ "a": "x", "b": "x", "c": "y" }));
    assert_eq!(hashed["a"], json!("2d711642b726b044"));
    assert_eq!(hashed["a"], hashed["b"]);
    assert_ne!(hashed["a"], hashed["c"]);
}

#[test]
fn an_event_with_nothing_to_hide_is_not_touched() {
    let mut harness = Harness::<Redact>::new(json!({ "fields": ["/email", "/a/b/c", "/*/x"] }));
    for data in [
        json!({ "a": { "b": [1] } }),
        json!([]),
        json!("email"),
        json!(null),
    ] {
        assert_eq!(
            harness.send(&event("customer.created", data)),
            Verdict::pass()
        );
    }
    assert_eq!(harness.host().counter("redacted_fields"), 0);
}

#[test]
fn data_that_is_not_json_is_rejected() {
    let mut harness = Harness::<Redact>::new(json!({ "fields": ["/email"] }));
    let text = event("customer.created", json!(1)).with_data("text/plain", "ada@example.com");
    assert!(matches!(harness.send(&text), Verdict::Reject(_)));
}
