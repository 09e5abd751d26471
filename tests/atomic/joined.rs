//! Targets on the stream of decisions itself: their effects and the decision are one write.

use super::{die_at, event, pipeline};
use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use serde_json::json;
use std::time::Duration;
use syncline::atomic_batch::{self, BatchError, Expected, Message};

/// Two targets on the stream `TX`, and a bucket.
fn joined(to: &str) -> String {
    let target = |name: &str| {
        format!(
            "[targets.{name}]\nkind = \"subject\"\nsubject = \"out.{name}.{{key}}\"\nstream = \"TX\"\n\
             create = true\n"
        )
    };
    let parts = PARTS.replace(", state = true", "");
    [&parts, &*target("left"), &target("right"), &pipeline(to)].concat()
}

/// An event to both.
const BOTH: &str = r#"{ target = "left" }, { target = "right" }"#;

async fn n_out(env: &TestEnv) -> (u64, u64) {
    (
        env.n_messages_on("TX", "out.left.>").await,
        env.n_messages_on("TX", "out.right.>").await,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_on_the_stream_of_decisions_are_one_write_with_the_decision() {
    let env = TestEnv::start().await;
    let runtime = env.run(&joined(BOTH)).await;
    let send = async |range: std::ops::Range<u32>| {
        let events = range.map(|n| {
            let data = json!({"key": format!("k{}", n % 20), "n": n});
            ("src.a".to_owned(), Ce::new(n).data(data))
        });
        env.send_all(events).await;
    };
    send(0..300).await;
    runtime.settled("p", 300).await;
    // Copies among new ones: those that are written with them are written all the same.
    send(200..500).await;
    let counts = runtime.settled("p", 600).await;
    assert_eq!((counts.done, counts.duplicate), (500, 100));
    check_law(&runtime.drain().await);

    let messages = env.messages("TX").await;
    let mut n_decisions = 0;
    for three in messages.windows(3) {
        let [decision, left, right] = three else {
            panic!("three")
        };
        let Some(event) = decision.subject.strip_prefix("tx.done.p.") else {
            continue;
        };
        n_decisions += 1;
        assert!(left.subject.starts_with("out.left."), "{}", left.subject);
        assert!(right.subject.starts_with("out.right."), "{}", right.subject);
        for effect in [left, right] {
            assert_eq!(effect.header("Syncline-Event-Id"), Some(event));
            assert_eq!(effect.header("Nats-TTL"), decision.header("Nats-TTL"));
            assert_eq!(effect.header("Nats-Msg-Id"), None);
        }
    }
    assert_eq!(n_decisions, 500);
    assert_eq!(n_out(&env).await, (500, 500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_with_a_decision_is_there_with_it_whoever_dies_when() {
    let to = r#"{ target = "left" }, { target = "crm" }, { target = "right" }"#;
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    for (n, point) in (1..).zip(["thought", "decided", "applied"]) {
        env.send("src.a", &event(&n.to_string(), n)).await;
        die_at(&env, &joined(to), point).await;
    }
    let runtime = env.run(&joined(to)).await;
    env.send("src.a", &event("4", 4)).await;
    eventually("every event has its effects", async || {
        let entry = env.entry("crm", "k").await;
        n_out(&env).await == (4, 4) && entry.is_some_and(|entry| entry["n"] == 4)
    })
    .await;
    check_law(&runtime.drain().await);
    assert_eq!(n_out(&env).await, (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_with_a_decision_that_is_not_made() {
    let env = TestEnv::start().await;
    let full = kv::Config {
        bucket: "crm".to_owned(),
        max_bytes: 150,
        ..kv::Config::default()
    };
    env.js.create_key_value(full).await.unwrap();
    let to = r#"{ target = "left" }, { target = "crm", operation = "merge" }"#;
    let runtime = env.run(&joined(to)).await;
    env.send("src.a", &event("1", 1)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    check_law(&runtime.drain().await);
    assert_eq!(n_out(&env).await, (0, 0));
    assert_eq!(env.letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_writes_more_than_fits_into_one_batch_is_refused_whole() {
    let env = TestEnv::start().await;
    let patient = joined("").replace(
        "grants =",
        "limits = { time = \"20s\", memory = \"256MiB\" }\ngrants =",
    );
    let runtime = env.run(&patient).await;
    let effects: Vec<_> = (0..1_000)
        .map(|n| json!({"target": "left", "key": n.to_string(), "payload": n}))
        .collect();
    let accept = json!({"do": "accept", "effects": effects});
    let large = Ce::new("1").data(json!({"key": "k", "steps": [accept]}));
    env.send("src.a", &large).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    check_law(&runtime.drain().await);
    assert_eq!(n_out(&env).await, (0, 0));
    let why = &env.letters().await[0].error;
    assert!(why.contains("1000 messages"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_batch_can_depend_on_what_it_does_not_write() {
    let env = TestEnv::start().await;
    let at = env.stream("ANY", &["any.>"]).await;
    let config = async_nats::jetstream::stream::Config {
        allow_atomic_publish: true,
        ..at.cached_info().config.clone()
    };
    env.js.update_stream(config).await.unwrap();
    let read = env.publish("any.read", HeaderMap::new(), "1".into()).await;
    let depending_on = |sequence: u64| {
        let message = |subject: &str, expects| Message {
            subject: subject.into(),
            headers: HeaderMap::new(),
            payload: "2".into(),
            expects,
        };
        let other = Some("any.read".into());
        [
            message("any.written", None),
            message("any.condition", Some(Expected { other, sequence })),
        ]
    };
    let write = async |sequence| {
        let [one, other] = depending_on(sequence);
        let patience = Duration::from_secs(5);
        atomic_batch::publish(&env.client(), &[&one, &other], patience).await
    };
    assert_eq!(write(read).await, Ok(3));
    let refused = write(read + 1).await;
    assert!(
        matches!(refused, Err(BatchError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(env.n_messages("ANY").await, 3);
}
