//! Answers that are too large, or not even in the guest's memory.

use super::lab::{Lab, hostile, probe};
use serde_json::json;
use syncline::plugin::CallError;

/// Every field of an effect and of a forwarded event, and the reasons.
const FIELDS: [&str; 23] = [
    "drop",
    "reject",
    "retry",
    "target",
    "entity",
    "key",
    "etag",
    "content-type",
    "header-name",
    "header-value",
    "payload",
    "event-id",
    "event-source",
    "event-type",
    "event-subject",
    "event-time",
    "event-content-type",
    "event-schema",
    "event-attribute-name",
    "event-attribute-value",
    "event-header-name",
    "event-header-value",
    "event-data",
];

/// The guest's fault, whoever noticed it: never the host's, which would be tried again.
#[track_caller]
fn is_guests_fault<T: std::fmt::Debug>(what: &str, answer: Result<T, CallError>) -> String {
    match answer {
        Err(error @ (CallError::Answer(_) | CallError::Trap { .. })) => error.to_string(),
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn too_many_effects_are_refused_and_the_limit_is_named() {
    let lab = Lab::of(probe().await).await;
    let flood = |n: u32| json!({ "do": "flood", "effects": n, "bytes": 1 });
    lab.ask(flood(1_000)).await.expect("as many as allowed");
    let answer = lab.ask(flood(1_001)).await;
    let Err(CallError::Answer(fault)) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        fault.contains("1001") && fault.contains("`effects`"),
        "{fault}"
    );
}

#[tokio::test]
async fn too_many_bytes_are_refused_and_the_limit_is_named() {
    let lab = Lab::of(probe().await).await;
    for (n_effects, bytes) in [(1, 5 << 20), (500, 10 << 10)] {
        let flood = json!({ "do": "flood", "effects": n_effects, "bytes": bytes });
        let answer = lab.ask(flood).await;
        let Err(CallError::Answer(fault)) = answer else {
            panic!("{n_effects} times {bytes}: {answer:?}");
        };
        assert!(fault.contains("`output`"), "{fault}");
    }
}

#[tokio::test]
async fn no_field_of_an_answer_may_be_longer_than_the_output_limit() {
    let lab = Lab::of(probe().await).await;
    for field in FIELDS {
        let giant = |bytes: u32| json!({ "do": "giant", "field": field, "bytes": bytes });
        lab.ask(giant(1 << 10)).await.expect(field);
        let fault = is_guests_fault(field, lab.ask(giant(5 << 20)).await);
        assert!(fault.contains("`output`"), "{field}: {fault}");
    }
}

/// Four gigabytes in an answer, from eight megabytes of memory: the host must not believe it.
#[tokio::test]
async fn memory_that_is_told_twice_costs_the_host_nothing() {
    let lab = Lab::of(hostile().await).await;
    let fields = [
        "target",
        "entity",
        "key",
        "etag",
        "content-type",
        "payload",
        "headers",
        "event-id",
        "event-source",
        "event-type",
        "event-subject",
        "event-time",
        "event-content-type",
        "event-schema",
        "event-data",
    ];
    for field in fields {
        let data = format!("overlap-{field} 500 8388608");
        is_guests_fault(field, lab.ask(data).await);
    }
    for field in ["event-attributes", "event-headers"] {
        let data = format!("overlap-{field} 100 1048576");
        is_guests_fault(field, lab.ask(data).await);
    }
}

#[tokio::test]
async fn values_outside_the_guests_memory_are_its_own_fault() {
    let lab = Lab::of(hostile().await).await;
    for lie in ["wild-reason", "wild-payload", "endless-reason", "not-text"] {
        is_guests_fault(lie, lab.ask(lie).await);
    }
}
