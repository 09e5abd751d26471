//! How much is in flight: a target that does not take its effects slows the pull and fills nothing.

use crate::harness::{Ce, TestEnv, check_law, check_law_of, eventually};
use bytes::Bytes;
use serde_json::json;

mod breaker;
mod rate;

/// Its target takes nothing until a stream is made for it.
const BLOCKED: &str = r#"
[targets.out]
kind = "subject"
subject = "out.{key}"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }
key = "json:/key"
to = [{ target = "out" }]
guarantee = "at-least-once"
retry = { attempts = 1000, backoff = "2s" }
"#;

const KIB: usize = 1_024;

/// An event of its own key with so much data.
fn large(id: usize, n_bytes: usize) -> (String, Ce) {
    let event = Ce::new(id).data(json!({"key": format!("k-{id}"), "fill": "x".repeat(n_bytes)}));
    ("src.a".to_owned(), event)
}

/// The numbers of the events that the target holds, in order.
async fn numbered(env: &TestEnv) -> Vec<usize> {
    let messages = env.messages("OUT").await;
    let keys = messages.iter().map(|message| message.json()["key"].clone());
    let number = |key: serde_json::Value| key.as_str()?.strip_prefix("k-")?.parse().ok();
    keys.map(|key| number(key).unwrap()).collect()
}

async fn in_flight(env: &TestEnv) -> usize {
    env.unacked("SRC", "syncline-p").await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_target_holds_the_pull_at_the_bytes_that_are_allowed() {
    let env = TestEnv::start().await;
    let config = [BLOCKED, "limits = { bytes = \"1MiB\" }\n"].concat();
    let runtime = env.run(&config).await;
    env.send_all((0..60).map(|id| large(id, 100 * KIB))).await;
    // Tried again while `ack_wait` passes twice.
    let retried = |counts: &syncline::telemetry::PipelineCounts| counts.retries >= 10;
    runtime
        .until("p", "what it holds is tried again", retried)
        .await;
    let n_in_flight = in_flight(&env).await;
    assert_eq!(n_in_flight, 10, "as many as fit into 1 MiB");
    let stream = env.js.get_stream("SRC").await.unwrap();
    let consumer = stream.consumer_info("syncline-p").await.unwrap();
    assert_eq!(consumer.num_redelivered, 0, "what is held is kept alive");

    env.stream("OUT", &["out.*"]).await;
    let counts = runtime.settled("p", 60).await;
    assert_eq!((counts.done, counts.redelivered), (60, 0));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_larger_than_the_limit_passes_alone_and_in_its_order() {
    let env = TestEnv::start().await;
    env.stream("OUT", &["out.*"]).await;
    let config = [BLOCKED, "limits = { bytes = \"64KiB\" }\n"].concat();
    let config = config.replace("key = \"json:/key\"", "key = \"subject:1\"");
    let runtime = env.run(&config).await;
    let sizes = [1, 200, 1, 60, 200, 200, 1, 50, 30, 1, 64, 1].map(|n| n * KIB);
    let events = sizes.iter().enumerate().map(|(id, size)| large(id, *size));
    env.send_all(events).await;
    let counts = runtime.settled("p", 12).await;
    assert_eq!((counts.done, counts.redelivered), (12, 0));
    assert_eq!(numbered(&env).await, (0..12).collect::<Vec<_>>());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_while_a_target_stalls() {
    const MIB: u64 = 1 << 20;
    let env = TestEnv::start().await;
    let config = [BLOCKED, "limits = { bytes = \"8MiB\" }\n"].concat();
    let process = env.spawn(&config).await;
    let before = process.peak_memory();
    for id in 0..400 {
        let (subject, event) = large(id, 512 * KIB);
        env.send(&subject, &event).await;
    }
    eventually("it holds what it may", async || in_flight(&env).await == 15).await;
    let grown = process.peak_memory().saturating_sub(before);
    assert!(grown < 100 * MIB, "{} MiB for a limit of 8", grown / MIB);

    env.stream("OUT", &["out.*"]).await;
    eventually("everything is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    let grown = process.peak_memory().saturating_sub(before);
    assert!(grown < 100 * MIB, "{} MiB for a limit of 8", grown / MIB);
    let summary = process.drain().await;
    check_law_of(&summary);
    assert_eq!(summary["pipelines"]["p"]["done"], 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_source_keeps_as_much_again_and_counts_what_it_loses() {
    let env = TestEnv::start().await;
    let source =
        "source = { stream = \"SRC\", subjects = [\"src.>\"], create = true, ack_wait = \"1s\" }";
    assert!(BLOCKED.contains(source));
    let config = BLOCKED.replace(source, "source = { subject = \"src.>\" }");
    let config = [&*config, "limits = { bytes = \"1MiB\" }\n"].concat();
    let runtime = env.run(&config).await;
    let client = env.client();
    eventually("it listens", async || {
        let asked = client.request("src.ping", Bytes::new());
        let answer = tokio::time::timeout(std::time::Duration::from_millis(100), asked).await;
        answer.is_err() || answer.is_ok_and(|answer| answer.is_ok())
    })
    .await;
    for id in 0..60 {
        let (subject, event) = large(id, 100 * KIB);
        let sent = client.publish_with_headers(subject, event.headers(), event.data);
        sent.await.unwrap();
    }
    let all = |counts: &syncline::telemetry::PipelineCounts| counts.missed >= 30;
    runtime.until("p", "what is too much is lost", all).await;
    env.stream("OUT", &["out.*"]).await;
    let ended = |counts: &syncline::telemetry::PipelineCounts| {
        counts.in_flight == 0 && counts.received + counts.missed >= 61
    };
    let counts = runtime.until("p", "what was kept has ended", ended).await;
    assert!((19..=22).contains(&counts.done), "{counts:#?}");
    check_law(&runtime.drain().await);
}
