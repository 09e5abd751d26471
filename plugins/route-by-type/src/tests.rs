//! Which effects a type gives, and under which key.

use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::RouteByType;

fn verdict(config: Value, event: &Event) -> Verdict {
    Harness::<RouteByType>::new(config).send(event)
}

#[test]
fn the_cases_hold() {
    testing::cases::<RouteByType>("cases");
}

#[test]
fn every_matching_route_gives_an_effect() {
    let config = json!({ "routes": [
        { "type": "crm.customer.*", "target": "crm", "operation": "upsert" },
        { "type": "crm.*", "target": "audit", "entity": "line", "operation": "append" },
        { "type": "crm.customer", "target": "search", "operation": "upsert" },
    ] });
    let created = event("crm.customer.created", json!({ "id": 7 }));
    let with_data = |effect: Effect| effect.data("application/json", r#"{"id":7}"#);
    let expected = [
        with_data(Effect::upsert("1").to("crm")),
        with_data(Effect::append("1").to("audit").entity("line")),
    ];
    assert_eq!(verdict(config, &created), Verdict::apply(expected));
}

#[test]
fn a_delete_has_a_key_and_no_payload() {
    let config = json!({ "routes": [
        { "type": "*", "target": "crm", "operation": "delete", "key": "/id" },
    ] });
    let deleted = event("crm.customer.deleted", json!({ "id": 7 }));
    assert_eq!(
        verdict(config, &deleted),
        Effect::delete("7").to("crm").into()
    );
}

#[test]
fn a_key_is_a_scalar_that_is_there() {
    let config = || {
        let route = json!({ "type": "*", "target": "crm", "operation": "merge", "key": "/id" });
        json!({ "routes": [route] })
    };
    let missing = verdict(config(), &event("a.b", json!({})));
    assert_eq!(missing, Verdict::reject("data: nothing at /id"));
    let nested = verdict(config(), &event("a.b", json!({ "id": [] })));
    assert_eq!(nested, Verdict::reject("data: /id is no key"));
}

#[test]
fn what_no_route_takes_follows_the_setting() {
    let other = event("a.b", json!({}));
    let answer = |otherwise: &str| verdict(json!({ "routes": [], "otherwise": otherwise }), &other);
    assert_eq!(answer("pass"), Verdict::pass());
    assert_eq!(answer("drop"), Verdict::drop("no route for a.b"));
    assert_eq!(answer("reject"), Verdict::reject("no route for a.b"));
}

#[test]
fn data_that_is_not_json_can_be_routed_too() {
    let config = json!({ "routes": [{ "type": "*", "target": "files", "operation": "upsert" }] });
    let image = event("file.stored", json!(1)).with_data("image/png", [0x89, 0x50]);
    let expected = Effect::upsert("1")
        .to("files")
        .data("image/png", [0x89, 0x50]);
    assert_eq!(verdict(config, &image), expected.into());
}
