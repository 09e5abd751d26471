//! Effects that a stream takes in batches: what is said of a batch is said of each of its effects.

use super::{PIPELINE, asks};
use crate::harness::{Ce, PARTS, TestEnv, check_law};
use futures::StreamExt as _;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use syncline::event::DeadReason;

const N_KEYS: u64 = 60;

const OUT: &str = r#"
[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true
"#;

/// Events of many keys, stored before anything runs: they are at work at once.
async fn backlog(env: &TestEnv, payload: impl Fn(u64) -> String) {
    env.stream("SRC", &["src.>"]).await;
    for n in 0..N_KEYS * 3 {
        let key = format!("k{}", n % N_KEYS);
        let effect = json!([{"target": "out", "key": key, "payload": payload(n)}]);
        let data = json!({"key": key, "do": "accept", "effects": effect});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
}

async fn takes_batches(env: &TestEnv, takes: bool, max_message_size: i32) {
    let config = async_nats::jetstream::stream::Config {
        name: "OUT".to_owned(),
        subjects: vec!["out.*".to_owned()],
        allow_direct: true,
        allow_batch_publish: takes,
        max_message_size,
        ..Default::default()
    };
    env.js.create_or_update_stream(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_of_different_keys_leave_together_and_those_of_one_in_order() {
    let env = TestEnv::start().await;
    backlog(&env, |n| n.to_string()).await;
    let mut seen = env.client().subscribe("out.*").await.unwrap();
    let runtime = env.run(&[PARTS, OUT, PIPELINE].concat()).await;
    let counts = runtime.settled("p", N_KEYS * 3).await;
    assert_eq!((counts.done, counts.dead), (N_KEYS * 3, 0));
    let mut batches: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..N_KEYS * 3 {
        let reply = seen.next().await.unwrap().reply.unwrap();
        assert!(reply.ends_with(".$FI"), "{reply}");
        let batch = reply.split('.').nth(2).unwrap();
        *batches.entry(batch.to_owned()).or_default() += 1;
    }
    assert!(
        batches.values().any(|n_messages| *n_messages > 1),
        "{batches:?}"
    );
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for message in env.messages("OUT").await {
        let number = message.json()["payload"].as_str().map_or_else(
            || message.json().as_str().unwrap().parse::<u64>().unwrap(),
            |text| text.parse().unwrap(),
        );
        let before = last.insert(message.subject.clone(), number);
        assert!(
            before.is_none_or(|before| before < number),
            "{}",
            message.subject
        );
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_within_a_batch_is_the_answer_to_its_own_effect_only() {
    let env = TestEnv::start().await;
    takes_batches(&env, true, 2_000).await;
    backlog(&env, |n| match n {
        7 | 100 => "x".repeat(4_000),
        n => n.to_string(),
    })
    .await;
    let runtime = env.run(&[PARTS, OUT, PIPELINE].concat()).await;
    let counts = runtime.settled("p", N_KEYS * 3).await;
    assert_eq!((counts.done, counts.dead), (N_KEYS * 3 - 2, 2));
    for letter in env.letters().await {
        assert_eq!(letter.reason, DeadReason::Refused);
        assert!(
            letter.error.contains("message size exceeds"),
            "{}",
            letter.error
        );
    }
    // What the batch had brought already was dropped the second time.
    let messages = env.messages("OUT").await;
    let ids = messages
        .iter()
        .map(|message| message.header("Syncline-Effect-Id"));
    let ids: BTreeSet<_> = ids.collect();
    assert_eq!(
        (messages.len() as u64, ids.len() as u64),
        (N_KEYS * 3 - 2, N_KEYS * 3 - 2)
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_no_batches_any_more_gets_each_effect_by_itself() {
    let env = TestEnv::start().await;
    takes_batches(&env, true, -1).await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&[PARTS, OUT, PIPELINE].concat()).await;
    let effect = |n: u64| asks(n, json!([{"target": "out", "key": "k", "payload": n}]));
    env.send("src.a", &effect(0)).await;
    runtime.settled("p", 1).await;
    takes_batches(&env, false, -1).await;
    for n in 1..20 {
        env.send("src.a", &effect(n)).await;
    }
    let counts = runtime.settled("p", 20).await;
    assert_eq!((counts.done, counts.dead, counts.retries), (20, 0, 0));
    assert_eq!(env.n_messages("OUT").await, 20);
    check_law(&runtime.drain().await);
}
