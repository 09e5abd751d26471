//! Nothing is lost when the runtime or the server ends in the middle.

use crate::harness::{Ce, PARTS, Process, TestEnv, check_law, check_law_of, eventually};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

const N_EVENTS: u64 = 2_000;

/// Holds every event in flight at once.
const WIDE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }, { target = "search" }]
guarantee = "at-least-once"
retry = { attempts = 1000, backoff = "100ms..500ms" }
limits = { events = 4096 }
"#;

/// One event for each of so many keys.
async fn send_keys(env: &TestEnv, n_events: u64) {
    let events = (0..n_events).map(|n| {
        let data = json!({"key": format!("k-{n}"), "n": n});
        ("src.e".to_owned(), Ce::new(n).data(data))
    });
    env.send_all(events).await;
}

/// Each event has its entry, and its message once.
async fn check_effects(env: &TestEnv, n_events: u64) {
    let entries = env.kv("crm").await;
    assert_eq!(entries.len() as u64, n_events);
    for n in 0..n_events {
        let entry: Value = serde_json::from_str(&entries[&format!("k-{n}")]).unwrap();
        assert_eq!(entry["n"], n);
    }
    assert_eq!(env.n_messages("SEARCH").await, n_events);
}

async fn spawn(env: &TestEnv) -> Process {
    env.spawn(&[PARTS, WIDE].concat()).await
}

async fn all_acked(env: &TestEnv) {
    eventually("every event is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acked_only_after_its_effects_even_when_the_runtime_is_killed() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    send_keys(&env, N_EVENTS).await;
    let first = spawn(&env).await;
    eventually("some effects are there", async || {
        env.n_messages("SEARCH").await >= 300
    })
    .await;
    first.kill();
    // Whatever was acknowledged by then has its effects.
    let (working, waiting) = env.unacked("SRC", "syncline-p").await;
    let n_acked = N_EVENTS - waiting - working as u64;
    assert!(env.n_messages("SEARCH").await >= n_acked);
    assert!(env.n_messages("KV_crm").await >= n_acked);

    let second = spawn(&env).await;
    all_acked(&env).await;
    check_law_of(&second.drain().await);
    check_effects(&env, N_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_events_at_work_and_the_next_run_takes_the_rest() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    send_keys(&env, N_EVENTS).await;
    let first = spawn(&env).await;
    eventually("some effects are there", async || {
        env.n_messages("SEARCH").await >= 300
    })
    .await;
    let summary = first.drain().await;
    check_law_of(&summary);
    let n_first = summary["pipelines"]["p"]["done"].as_u64().unwrap();
    assert_eq!(env.n_messages("SEARCH").await, n_first);

    let second = spawn(&env).await;
    all_acked(&env).await;
    let summary = second.drain().await;
    check_law_of(&summary);
    // The consumer was set back to its ack floor, so that some may have come a second time.
    let n_second = summary["pipelines"]["p"]["done"].as_u64().unwrap();
    assert!(n_second >= N_EVENTS - n_first, "{summary:#}");
    check_effects(&env, N_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_at_the_shutdown_is_given_back_at_once() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(WIDE).await;
    let waits = json!({"key": "k", "do": "retry", "after_ms": 3_600_000});
    env.send("src.a", &Ce::new("1").data(waits)).await;
    env.send("src.a", &Ce::new("2").data(json!({"key": "k"})))
        .await;
    // Once a later one is done, both are known to have been taken.
    env.send("src.a", &Ce::new("3").data(json!({"key": "other"})))
        .await;
    runtime
        .until("p", "the third event is done", |counts| counts.done == 1)
        .await;
    let summary = runtime.drain().await;
    check_law(&summary);
    assert_eq!(summary.pipelines["p"].received, 1);

    // Long before the ack wait of 30 s has passed.
    let stream = env.js.get_stream("SRC").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("syncline-p").await.unwrap();
    let wait = Duration::from_secs(5);
    let again = consumer.batch().max_messages(2).expires(wait).messages();
    let again: Vec<_> = again.await.unwrap().collect().await;
    assert_eq!(again.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_and_restarted_under_load() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(WIDE).await;
    send_keys(&env, N_EVENTS).await;
    eventually("some effects are there", async || {
        env.n_messages("SEARCH").await >= 300
    })
    .await;
    env.nats.kill();
    env.nats.restart().await;
    all_acked(&env).await;
    let counts = runtime.until("p", "nothing is in flight", |counts| counts.in_flight == 0);
    assert_eq!(counts.await.dead, 0);
    check_law(&runtime.drain().await);
    check_effects(&env, N_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_for_a_while_costs_retries_and_nothing_else() {
    const N_EVENTS: u64 = 2_000;
    let env = TestEnv::start().await;
    let quick = PARTS.replace("create = true", "create = true\ntimeout = \"300ms\"");
    let runtime = env.run(&[&quick, WIDE].concat()).await;
    send_keys(&env, N_EVENTS).await;
    eventually("some effects are there", async || {
        env.n_messages("SEARCH").await >= 50
    })
    .await;
    env.nats.pause();
    let before = runtime.counts("p");
    // What the server had answered before is still read.
    let tried = |counts: &syncline::telemetry::PipelineCounts| {
        counts.retries > before.retries || counts.done == N_EVENTS
    };
    runtime.until("p", "effects time out", tried).await;
    env.nats.resume();
    all_acked(&env).await;
    let counts = runtime.until("p", "nothing is in flight", |counts| counts.in_flight == 0);
    assert_eq!(counts.await.dead, 0);
    check_law(&runtime.drain().await);
    check_effects(&env, N_EVENTS).await;
}
