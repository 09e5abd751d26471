//! What passes, and what a drop says.

use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::FilterByField;

fn verdict(config: Value, data: Value) -> Verdict {
    Harness::<FilterByField>::new(config).send(&event("customer.created", data))
}

#[test]
fn the_cases_hold() {
    testing::cases::<FilterByField>("cases");
}

#[test]
fn a_wanted_value_passes_and_another_is_named() {
    let config = || json!({ "field": "/region", "in": ["eu", 3, null] });
    for wanted in [json!("eu"), json!(3), json!(3.0), json!(null)] {
        assert_eq!(
            verdict(config(), json!({ "region": wanted })),
            Verdict::pass()
        );
    }
    let dropped = |data| verdict(config(), data);
    assert_eq!(
        dropped(json!({ "region": "us" })),
        Verdict::drop("/region is \"us\"")
    );
    assert_eq!(
        dropped(json!({ "region": {} })),
        Verdict::drop("/region is an object")
    );
    assert_eq!(dropped(json!({})), Verdict::drop("/region is missing"));
}

#[test]
fn without_a_list_the_field_must_be_there() {
    let config = || json!({ "field": "/email" });
    assert_eq!(verdict(config(), json!({ "email": "" })), Verdict::pass());
    assert_eq!(
        verdict(config(), json!({ "email": null })),
        Verdict::drop("/email is null")
    );
}

#[test]
fn negated_it_keeps_the_others() {
    let config = || json!({ "field": "/region", "in": ["us"], "negate": true });
    assert_eq!(
        verdict(config(), json!({ "region": "eu" })),
        Verdict::pass()
    );
    assert_eq!(verdict(config(), json!({})), Verdict::pass());
    let us = json!({ "region": "us" });
    assert_eq!(verdict(config(), us), Verdict::drop("/region is \"us\""));
}

#[test]
fn data_that_is_not_json_is_rejected() {
    let mut harness = Harness::<FilterByField>::new(json!({ "field": "/region" }));
    let text = event("customer.created", json!(1)).with_data("text/plain", "region=eu");
    assert!(matches!(harness.send(&text), Verdict::Reject(_)));
}

#[test]
fn a_misspelt_setting_is_named() {
    let mut harness = Harness::<FilterByField>::new(json!({ "feild": "/region" }));
    let error = harness.start().unwrap_err();
    assert!(
        error.starts_with("config: unknown field `feild`"),
        "{error}"
    );
}
