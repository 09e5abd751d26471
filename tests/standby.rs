//! Several runtimes with one pipeline: one is at work, the others take over when it ends, hangs or
//! dies, and the order of each key holds all the same.

use crate::harness::{Ce, PARTS, Process, TestEnv, check_law, check_law_of, eventually};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use syncline::txn::{Holder, holders};

const N_KEYS: u64 = 16;
const N_OF_EACH: u64 = 60;
const N_EVENTS: u64 = N_KEYS * N_OF_EACH;

/// Longer than any test waits: whoever takes over has not waited for it.
const FOR_EVER: &str = "10m";

fn config(lease: &str) -> String {
    let pipeline = format!(
        r#"
        [pipelines.p]
        source = {{ stream = "SRC", subjects = ["src.>"] }}
        key = "json:/key"
        stages = ["probe"]
        to = [{{ target = "search" }}, {{ target = "crm" }}]
        guarantee = "at-least-once"
        retry = {{ attempts = 1000, backoff = "1ms..5ms" }}
        lease = "{lease}"
        "#
    );
    [PARTS, &pipeline].concat()
}

/// Events from the `first` one of each key up to `end`, the keys taking turns, some tried again.
async fn send(env: &TestEnv, first: u64, end: u64) {
    let events = (first..end).flat_map(|n| (0..N_KEYS).map(move |key| (key, n)));
    let events = events.map(|(key, n)| {
        let spread = (key * 31 + n * 17) % 7;
        let data = json!({
            "key": format!("k{key}"),
            "n": n,
            "do": "retry",
            "after_ms": spread,
            "before_attempt": 1 + spread.saturating_sub(3),
        });
        ("src.e".to_owned(), Ce::new(format!("{key}-{n}")).data(data))
    });
    env.send_all(events).await;
}

async fn at_work(env: &TestEnv, n_effects: u64) {
    eventually("some effects are there", async || {
        env.n_messages("SEARCH").await >= n_effects
    })
    .await;
}

async fn all_acked(env: &TestEnv) {
    eventually("every event is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
}

/// Each key's events arrived once, in their order, and its entry is the last one.
async fn check_order(env: &TestEnv) {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in env.messages("SEARCH").await {
        let key = message.header("Syncline-Key").unwrap().to_owned();
        let number = message.json()["n"].as_u64().unwrap();
        by_key.entry(key).or_default().push(number);
    }
    assert_eq!(by_key.len() as u64, N_KEYS);
    for (key, numbers) in by_key {
        assert_eq!(numbers, Vec::from_iter(0..N_OF_EACH), "{key}");
    }
    for (key, entry) in env.kv("crm").await {
        let entry: Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(entry["n"], N_OF_EACH - 1, "{key}");
    }
}

async fn holder(env: &TestEnv) -> Holder {
    let found = holders(&env.js, Some("p")).await.unwrap();
    assert_eq!(found.len(), 1);
    found.into_iter().next().unwrap()
}

async fn says(process: &Process, what: &str) {
    eventually(what, async || process.log().contains(what)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_goes_on_when_the_active_runtime_is_killed() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(FOR_EVER);
    let first = env.spawn_as("first", &config).await;
    says(&first, "lease taken").await;
    let second = env.spawn_as("second", &config).await;
    says(&second, "standing by").await;
    assert_eq!(holder(&env).await.epoch, 1);

    send(&env, 0, N_OF_EACH).await;
    at_work(&env, 300).await;
    first.kill();
    all_acked(&env).await;
    assert_eq!(holder(&env).await.epoch, 2);
    check_law_of(&second.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_is_killed_and_started_again_does_not_wait_for_its_own_lease() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(FOR_EVER);
    let first = env.spawn_as("first", &config).await;
    send(&env, 0, N_OF_EACH).await;
    at_work(&env, 300).await;
    first.kill();
    let second = env.spawn_as("second", &config).await;
    all_acked(&env).await;
    check_law_of(&second.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_ends_in_order_hands_over_at_once() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(FOR_EVER);
    let first = env.spawn_as("first", &config).await;
    let second = env.spawn_as("second", &config).await;
    says(&second, "standing by").await;
    send(&env, 0, N_OF_EACH).await;
    at_work(&env, 300).await;
    let summary = first.drain().await;
    check_law_of(&summary);
    let n_first = summary["pipelines"]["p"]["done"].as_u64().unwrap();
    assert!((300..N_EVENTS).contains(&n_first), "{summary:#}");
    all_acked(&env).await;
    check_law_of(&second.drain().await);
    assert!(holder(&env).await.released);
    check_order(&env).await;
}

/// Nothing on the way recognises a second copy: what came out was done.
const BARE: &str = r#"
[plugins.probe]
path = "${PROBE}"

[targets.out]
kind = "subject"
subject = "out.{key}"
core = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
key = "json:/key"
stages = ["probe"]
to = [{ target = "out" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "1ms..1ms" }
lease = "1s"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_hung_does_nothing_of_what_another_has_taken_over() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let mut out = env.client().subscribe("out.>").await.unwrap();
    let mut done = async |n_events: u32| {
        let mut seen = Vec::new();
        for _ in 0..n_events {
            let message = out.next().await.unwrap();
            let value: Value = serde_json::from_slice(&message.payload).unwrap();
            seen.push(value["n"].as_u64().unwrap());
        }
        seen.sort_unstable();
        seen
    };
    let first = env.spawn_as("first", BARE).await;
    let second = env.spawn_as("second", BARE).await;
    says(&second, "standing by").await;
    // Each waits for its second attempt when the first runtime stops, and is overdue when it wakes.
    for n in 0..20 {
        let data = json!({
            "key": format!("k{n}"), "n": n, "do": "retry", "after_ms": 2_000, "before_attempt": 2,
        });
        env.send("src.e", &Ce::new(n).data(data)).await;
    }
    env.send("src.e", &Ce::new(20).data(json!({"key": "k20", "n": 20})))
        .await;
    assert_eq!(done(1).await, [20]);
    first.pause();
    says(&second, "lease taken").await;
    all_acked(&env).await;
    // The event that went through before may be done again, as it was above the ack floor.
    let mut seen = done(20).await;
    if seen.contains(&20) {
        seen.extend(done(1).await);
        seen.retain(|n| *n != 20);
        seen.sort_unstable();
    }
    assert_eq!(seen, Vec::from_iter(0..20));

    first.resume();
    says(&first, "lease lost").await;
    says(&first, "standing by").await;
    check_law_of(&second.drain().await);
    // Its turn again, with nothing left to do but this.
    env.send("src.e", &Ce::new(21).data(json!({"key": "k21", "n": 21})))
        .await;
    assert_eq!(done(1).await, [21]);
    check_law_of(&first.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_when_the_active_runtime_hangs_under_load_and_wakes() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("1s");
    let first = env.spawn_as("first", &config).await;
    let second = env.spawn_as("second", &config).await;
    says(&second, "standing by").await;
    send(&env, 0, N_OF_EACH / 2).await;
    at_work(&env, 100).await;
    first.pause();
    says(&second, "lease taken").await;
    first.resume();
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    says(&first, "standing by").await;
    all_acked(&env).await;
    check_law_of(&first.drain().await);
    check_law_of(&second.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hung_longer_than_the_lease_finds_the_same_runtime_at_work() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.spawn_as("first", &config("1s")).await;
    send(&env, 0, N_OF_EACH / 2).await;
    at_work(&env, 100).await;
    env.nats.pause();
    says(&runtime, "trying again").await;
    env.nats.resume();
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    all_acked(&env).await;
    assert_eq!(holder(&env).await.epoch, 1);
    check_law_of(&runtime.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_with_a_standby_when_the_server_is_killed() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("1s");
    let first = env.spawn_as("first", &config).await;
    let second = env.spawn_as("second", &config).await;
    says(&second, "standing by").await;
    send(&env, 0, N_OF_EACH / 2).await;
    at_work(&env, 100).await;
    env.nats.kill();
    env.nats.restart().await;
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    all_acked(&env).await;
    check_law_of(&first.drain().await);
    check_law_of(&second.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_the_stream_of_the_leases_is_deleted() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config("1s")).await;
    env.js.delete_stream("TX").await.unwrap();
    eventually("the lease is taken again", async || {
        let found = holders(&env.js, Some("p")).await;
        found.is_ok_and(|holders| holders.len() == 1)
    })
    .await;
    send(&env, 0, N_OF_EACH).await;
    all_acked(&env).await;
    at_work(&env, N_EVENTS).await;
    check_law(&runtime.drain().await);
    check_order(&env).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_somebody_else_took_from_the_consumer_do_not_break_the_order() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config("1s")).await;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("syncline-p").await.unwrap();
    let stolen = consumer.batch().max_messages(20).messages().await.unwrap();
    send(&env, 0, N_OF_EACH / 2).await;
    let stolen: Vec<_> = stolen.collect().await;
    assert_eq!(stolen.len(), 20);
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    all_acked(&env).await;
    check_law(&runtime.drain().await);
    check_order(&env).await;
}
