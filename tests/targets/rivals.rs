//! Effects that rest on what the target holds: preconditions, merges, and events that compete.

use super::{PIPELINE, asks, run};
use crate::harness::{Ce, PARTS, TestEnv, check_law};
use serde_json::{Value, json};
use syncline::event::DeadReason;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_precondition_that_holds_applies_and_one_that_does_not_is_a_conflict() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "").await;
    let effect = |key: &str, precondition: Value, payload: u64| json!({"target": "crm", "key": key, "precondition": precondition, "payload": payload});
    let lookup = json!({"do": "lookup", "target": "crm", "key": "a"});
    let looked_up = effect("a", json!("looked-up"), 4);
    let accept = json!({"do": "accept", "effects": [looked_up]});
    let good = [
        asks(1, json!([effect("a", json!("absent"), 1)])),
        asks(2, json!([effect("a", json!("present"), 2)])),
        Ce::new(3).data(json!({"key": "k", "steps": [lookup, accept]})),
    ];
    let bad = [
        asks(4, json!([effect("a", json!("absent"), 5)])),
        asks(5, json!([effect("b", json!("present"), 5)])),
        asks(6, json!([effect("a", json!({"etag": "1"}), 5)])),
    ];
    for event in good.iter().chain(&bad) {
        env.send("src.a", event).await;
    }
    let counts = runtime.settled("p", 6).await;
    assert_eq!((counts.done, counts.dead), (3, 3));
    assert_eq!(env.entry("crm", "a").await, Some(json!(4)));
    assert_eq!(env.kv("crm").await.len(), 1);
    for letter in env.letters().await {
        assert_eq!(letter.reason, DeadReason::Conflict);
        assert!(
            letter.error.contains("target `crm`: the entry"),
            "{}",
            letter.error
        );
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_compete_for_an_entity_are_thought_again_from_fresh_reads() {
    // Each loses at most four times to the others, one time fewer than it may.
    const N_RIVALS: u64 = 5;
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    for n in 0..N_RIVALS {
        let lookup = json!({"do": "lookup", "target": "crm", "key": "shared"});
        let effect = json!({"target": "crm", "key": "shared", "precondition": "looked-up"});
        let accept = json!({"do": "accept", "effects": [effect]});
        let data = json!({"key": format!("rival-{n}"), "steps": [lookup, accept]});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let bucket = env.bucket("crm").await;
    bucket.put("shared", "\"first\"".into()).await.unwrap();
    let runtime = run(&env, "").await;
    let counts = runtime.settled("p", N_RIVALS).await;
    assert_eq!((counts.done, counts.dead), (N_RIVALS, 0));
    // Every write rests on the one before it: none was lost.
    let writes = env.js.get_stream("KV_crm").await.unwrap();
    let history = writes.cached_info().state.last_sequence;
    assert_eq!(history, N_RIVALS + 1);
    let last = env.entry("crm", "shared").await.unwrap();
    assert_eq!(last["results"][0]["etag"], N_RIVALS.to_string());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_of_different_keys_into_one_entity_are_all_kept() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    // A backlog: to the runtime these may be redeliveries.
    for n in 0..50 {
        let patch = json!({"target": "crm", "key": "shared", "operation": "merge",
            "payload": {format!("field-{n}"): n}});
        let data = json!({"key": format!("k{n}"), "do": "accept", "effects": [patch]});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let patient = PIPELINE.replace("attempts = 3", "attempts = 1000");
    let narrow = [&patient, "limits = { events = 5 }\n"].concat();
    let runtime = env.run(&[PARTS, &narrow].concat()).await;
    let counts = runtime.settled("p", 50).await;
    assert_eq!((counts.done, counts.dead), (50, 0));
    let entry = env.entry("crm", "shared").await.unwrap();
    assert_eq!(entry.as_object().unwrap().len(), 50);
    check_law(&runtime.drain().await);
}
