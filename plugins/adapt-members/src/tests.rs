//! What goes up and comes down again.

use syncline_sdk::prelude::*;
use syncline_sdk::testing::{self, Harness, event};

use crate::AdaptMembers;

fn harness() -> Harness<AdaptMembers> {
    Harness::new(json!({
        "rename": { "/name": "/names/full", "/a": "/b", "/b": "/a" },
        "defaults": { "/tier": "free" },
        "entities": ["customer"],
    }))
}

fn adapted(kind: &str, data: Value) -> Value {
    let verdict = harness().send(&event(kind, data.clone()));
    match verdict.forwarded() {
        [event] => event.json().unwrap(),
        [] => data,
        _ => panic!("{verdict:?}"),
    }
}

#[test]
fn the_cases_hold() {
    testing::cases::<AdaptMembers>("cases");
}

#[test]
fn what_goes_up_comes_down_as_it_was() {
    let data = json!({ "id": "7", "name": "Ada", "a": 1, "b": 2 });
    let up = adapted("crm.customer.up", data.clone());
    let expected = json!({ "id": "7", "names": { "full": "Ada" }, "a": 2, "b": 1, "tier": "free" });
    assert_eq!(up, expected);
    assert_eq!(adapted("crm.customer.down", up), data);
    // What the target says itself stays.
    let said = adapted("crm.customer.up", json!({ "tier": "pro" }));
    assert_eq!(said, json!({ "tier": "pro" }));
}

#[test]
fn other_kinds_and_other_events_are_told_apart() {
    let data = json!({ "name": "Ada" });
    assert_eq!(adapted("crm.account.up", data.clone()), data);
    for kind in ["up", "crm.customer.changed"] {
        let verdict = harness().send(&event(kind, json!({})));
        let expected = Verdict::reject("the event is none that an adapter is given");
        assert_eq!(verdict, expected, "{kind}");
    }
    let verdict = harness().send(&event("crm.customer.up", json!({ "name": 1, "names": 2 })));
    assert_eq!(
        verdict,
        Verdict::reject("there is no object to put /names/full into")
    );
}
