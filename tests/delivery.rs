//! Events on their way through: in, to the targets, and answered for.

use crate::harness::{Ce, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use async_nats::client::RequestErrorKind;
use serde_json::{Value, json};
use syncline::event::DeadReason;

mod crash;
mod input;
mod renewed;

/// Every event goes to both targets, on its own key.
const BOTH: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }, { target = "search", entity = "customer" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

/// Tells the probe to answer with a report for the bucket at this key.
fn report_at(key: &str) -> Value {
    json!({"do": "accept", "effects": [{"target": "crm", "key": key}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_flows_through_the_plugin_to_every_target() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(BOTH).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let event = Ce::new("1")
        .data(json!({"key": "c-1", "name": "Ada"}))
        .header("ce-traceparent", traceparent);
    let sequence = env.send("src.a", &event).await.to_string();
    runtime.settled("p", 1).await;

    let entry = env.entry("crm", "c-1").await;
    assert_eq!(entry, Some(json!({"key": "c-1", "name": "Ada"})));
    let stored = &env.messages("KV_crm").await[0];
    assert_eq!(stored.header("Syncline-Source-Stream"), Some("SRC"));
    assert_eq!(stored.header("Syncline-Source-Sequence"), Some(&*sequence));

    let published = &env.messages("SEARCH").await[0];
    assert_eq!(published.subject, "search.customer.c-1");
    assert_eq!(published.payload, event.data);
    assert_eq!(published.header("Syncline-Operation"), Some("append"));
    assert_eq!(published.header("Syncline-Key"), Some("c-1"));
    assert_eq!(published.header("Syncline-Entity"), Some("customer"));
    assert_eq!(published.header("traceparent"), Some(traceparent));
    assert_eq!(published.header("ce-id"), Some("1"));
    let identity = published.header("Syncline-Event-Id").unwrap();
    assert_eq!(stored.header("Syncline-Event-Id"), Some(identity));
    let effect = published.header("Syncline-Effect-Id").unwrap();
    assert!(effect.starts_with(&format!("p.{identity}.")), "{effect}");
    assert!(
        published
            .header("Nats-Msg-Id")
            .is_some_and(|id| !id.is_empty())
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_binary_and_structured_messages_reach_the_plugin_as_events() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(BOTH).await;
    env.send("src.b", &Ce::new("b").data(report_at("binary")))
        .await;
    let structured = Ce::new("s").kind("a.b").data(report_at("structured"));
    env.send_structured("src.s", &structured).await;
    env.send_raw("src.r", report_at("raw").to_string()).await;
    let mut named = HeaderMap::new();
    named.insert("Nats-Msg-Id", "my-own-id");
    named.insert("content-type", "application/json");
    env.publish("src.n", named, report_at("named").to_string().into())
        .await;
    runtime.settled("p", 4).await;

    let expected = [
        ("binary", "b", "/test", "test.event", "src.b"),
        ("structured", "s", "/test", "a.b", "src.s"),
        ("raw", "SRC:3", "nats://SRC/src.r", "nats.message", "src.r"),
        (
            "named",
            "my-own-id",
            "nats://SRC/src.n",
            "nats.message",
            "src.n",
        ),
    ];
    for (key, id, source, kind, address) in expected {
        let report = env.entry("crm", key).await.unwrap();
        let event = &report["event"];
        assert_eq!(event["id"], id, "{key}");
        assert_eq!(event["source"], source, "{key}");
        assert_eq!(event["type"], kind, "{key}");
        assert_eq!(report["delivery"]["address"], address, "{key}");
        assert_eq!(report["data"], report_at(key), "{key}");
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtimes_share_a_core_nats_subject_through_their_queue_group() {
    let config = r#"
        [pipelines.p]
        source = { subject = "core.>", queue = "workers" }
        key = "json:/key"
        to = [{ target = "crm" }]
        guarantee = "at-least-once"
    "#;
    let env = TestEnv::start().await;
    let (one, two) = (
        env.run_with_parts(config).await,
        env.run_with_parts(config).await,
    );
    eventually("somebody listens", async || {
        let client = env.client();
        let asked = client.request("core.first", "{\"key\": \"first\"}".into());
        let answer = tokio::time::timeout(std::time::Duration::from_millis(200), asked).await;
        !matches!(answer, Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders)
    })
    .await;
    for n in 0..200 {
        let event = Ce::new(n).data(json!({"key": format!("k-{n}")}));
        env.client()
            .publish_with_headers("core.e", event.headers(), event.data.clone())
            .await
            .unwrap();
    }
    eventually("both have handled all of it together", async || {
        one.counts("p").done + two.counts("p").done == 201
    })
    .await;
    assert!(one.counts("p").done > 0, "the second took everything");
    assert!(two.counts("p").done > 0, "the first took everything");
    assert_eq!(env.kv("crm").await.len(), 201);
    check_law(&one.drain().await);
    check_law(&two.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_steer_the_server_or_syncline_are_stripped_from_events() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(BOTH).await;
    let event = Ce::new("1")
        .data(json!({"key": "k", "do": "accept", "next": "pass",
            "effects": [{"target": "crm", "key": "report"}]}))
        .header("Nats-Evil", "1")
        .header("syncline-key", "stolen")
        .header("Syncline-Event-Id", "forged")
        .header("X-Own", "kept");
    env.send("src.a", &event).await;
    runtime.settled("p", 1).await;

    let report = env.entry("crm", "report").await.unwrap();
    assert_eq!(report["headers"], json!([["X-Own", "kept"]]));
    let published = &env.messages("SEARCH").await[0];
    assert_eq!(published.header("X-Own"), Some("kept"));
    assert_eq!(published.header("Nats-Evil"), None);
    assert_eq!(published.header("Syncline-Key"), Some("k"));
    assert_ne!(published.header("Syncline-Event-Id"), Some("forged"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_with_such_headers_are_refused_and_nothing_is_applied() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(BOTH).await;
    let headers = [
        "Nats-Rollup",
        "nats-msg-id",
        "Syncline-Key",
        "bad name",
        "line",
    ];
    for (n, header) in headers.into_iter().enumerate() {
        let value = if header == "line" {
            "a\r\nNats-Rollup: all"
        } else {
            "all"
        };
        let effects = json!([
            {"target": "crm", "key": "before"},
            {"target": "search", "headers": {header: value}},
        ]);
        let data = json!({"key": "k", "do": "accept", "effects": effects});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let counts = runtime.settled("p", 5).await;
    assert_eq!((counts.dead, counts.effects), (5, 0));
    for (letter, header) in env.letters().await.iter().zip(headers) {
        assert_eq!(letter.reason, DeadReason::BadAnswer);
        assert!(
            letter.error.contains(&format!("`{header}`")),
            "{}",
            letter.error
        );
    }
    assert!(env.kv("crm").await.is_empty());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_takes_longer_than_the_ack_wait_is_not_handled_twice() {
    let env = TestEnv::start().await;
    let config = BOTH
        .replace("create = true }", "create = true, ack_wait = \"3s\" }")
        .replace("attempts = 3", "attempts = 20");
    let runtime = env.run_with_parts(&config).await;
    let slow = json!({"key": "k", "do": "retry", "after_ms": 1000, "before_attempt": 7});
    env.send("src.a", &Ce::new("slow").data(slow)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.retries, counts.redelivered), (1, 6, 0));
    assert_eq!(env.n_messages("SEARCH").await, 1);
    check_law(&runtime.drain().await);
}
