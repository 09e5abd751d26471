//! What is added, and what happens where there is nothing to add.

use syncline_sdk::lookup::Address;
use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::Enrich;

fn harness(extra: Value) -> Harness<Enrich> {
    let mut config = json!({ "target": "customers", "key": "/customer_id", "into": "/customer" });
    let members = config.as_object_mut().unwrap();
    members.extend(extra.as_object().unwrap().clone());
    let mut harness = Harness::new(config);
    harness.host().entity(
        "customers",
        "7",
        json!({ "name": "Ada", "plan": "pro", "secret": 1 }),
    );
    harness
}

fn enriched(verdict: &Verdict) -> Value {
    let [event] = verdict.forwarded() else {
        panic!("not one event: {verdict:?}")
    };
    event.json().unwrap()
}

#[test]
fn the_cases_hold() {
    testing::cases::<Enrich>("cases");
}

#[test]
fn only_the_chosen_fields_are_added() {
    let order = || event("order.paid", json!({ "customer_id": 7 }));
    let some = harness(json!({ "fields": ["name", "plan", "age"] })).send(&order());
    let expected = json!({ "customer_id": 7, "customer": { "name": "Ada", "plan": "pro" } });
    assert_eq!(enriched(&some), expected);
    let all = harness(json!({})).send(&order());
    assert_eq!(enriched(&all)["customer"]["secret"], 1);
}

#[test]
fn a_missing_entity_follows_the_setting() {
    let order = event("order.paid", json!({ "customer_id": "8" }));
    let verdict = |missing: &str| harness(json!({ "missing": missing })).send(&order);
    assert_eq!(verdict("pass"), Verdict::pass());
    assert_eq!(verdict("retry"), Verdict::retry("customers: nothing at 8"));
    assert_eq!(
        verdict("reject"),
        Verdict::reject("customers: nothing at 8")
    );
}

#[test]
fn waiting_for_a_key_that_the_event_lacks_is_no_use() {
    let order = event("order.paid", json!({ "customer_id": null }));
    let verdict = harness(json!({ "missing": "retry" })).send(&order);
    assert_eq!(verdict, Verdict::reject("customers: no key in the event"));
    assert_eq!(harness(json!({})).send(&order), Verdict::pass());
}

#[test]
fn a_target_that_is_away_is_waited_for() {
    let mut harness = harness(json!({}));
    harness.host().fail_lookups("no answer");
    let order = event("order.paid", json!({ "customer_id": "7" }));
    assert_eq!(
        harness.send(&order),
        Verdict::retry("lookup: unavailable: no answer")
    );
}

#[test]
fn kinds_of_entities_are_told_apart() {
    let mut harness = harness(json!({ "entity": "account" }));
    let order = event("order.paid", json!({ "customer_id": "7" }));
    assert_eq!(harness.send(&order), Verdict::pass());
    let address = Address::new("customers", "7").entity("account");
    harness.host().entity_at(&address, json!({ "limit": 5 }));
    assert_eq!(
        enriched(&harness.send(&order))["customer"],
        json!({ "limit": 5 })
    );
}

#[test]
fn there_must_be_an_object_to_put_it_into() {
    let mut harness = harness(json!({ "into": "/order/customer" }));
    let verdict = harness.send(&event("order.paid", json!({ "customer_id": "7" })));
    assert_eq!(
        verdict,
        Verdict::reject("data: no object to put /order/customer into")
    );
}
