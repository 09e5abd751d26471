//! Events of one key are handled one at a time and in stream order, whatever happens to them.

use crate::harness::{Ce, PARTS, TestEnv, check_law, check_law_of, eventually};
use async_nats::jetstream::kv;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

const N_KEYS: u64 = 16;
const N_OF_EACH: u64 = 100;

fn config(key: &str) -> String {
    format!(
        r#"
        [pipelines.p]
        source = {{ stream = "SRC", subjects = ["src.>"], create = true }}
        key = "{key}"
        stages = ["probe"]
        to = [{{ target = "search" }}, {{ target = "crm" }}]
        guarantee = "at-least-once"
        retry = {{ attempts = 1000, backoff = "1ms..5ms" }}
        "#
    )
}

/// All events, the keys taking turns; some are tried again a few times, in no visible pattern.
fn events() -> impl Iterator<Item = (u64, u64, Ce)> {
    (0..N_OF_EACH)
        .flat_map(|n| (0..N_KEYS).map(move |key| (key, n)))
        .map(|(key, n)| {
            let spread = (key * 31 + n * 17) % 7;
            let data = json!({
                "key": format!("k{key}"),
                "n": n,
                "do": "retry",
                "after_ms": spread,
                "before_attempt": 1 + spread.saturating_sub(3),
            });
            (key, n, Ce::new(format!("{key}-{n}")).data(data))
        })
}

/// The numbers that arrived at the stream, for each key in order of arrival.
async fn arrived(env: &TestEnv) -> BTreeMap<String, Vec<u64>> {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in env.messages("SEARCH").await {
        let key = message.header("Syncline-Key").unwrap().to_owned();
        by_key
            .entry(key)
            .or_default()
            .push(message.json()["n"].as_u64().unwrap());
    }
    by_key
}

async fn check_order(key: &str, event_of: impl Fn(u64, Ce) -> (String, Ce)) {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&config(key)).await;
    env.send_all(events().map(|(key, _, event)| event_of(key, event)))
        .await;
    let counts = runtime.settled("p", N_KEYS * N_OF_EACH).await;
    assert_eq!((counts.done, counts.unkeyed), (N_KEYS * N_OF_EACH, 0));
    assert!(counts.retries > 0);
    let arrived = arrived(&env).await;
    assert_eq!(arrived.len() as u64, N_KEYS);
    for (key, numbers) in arrived {
        assert_eq!(numbers, Vec::from_iter(0..N_OF_EACH), "{key}");
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_token_keeps_the_order_through_retries() {
    check_order("subject:2", |key, event| (format!("src.k{key}.x"), event)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_keeps_the_order_through_retries() {
    check_order("header:X-Account", |key, event| {
        (
            "src.e".to_owned(),
            event.header("X-Account", &format!("k{key}")),
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloudevents_attribute_keeps_the_order_through_retries() {
    check_order("header:ce-account", |key, event| {
        (
            "src.e".to_owned(),
            event.header("ce-account", &format!("k{key}")),
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_pointer_keeps_the_order_through_retries() {
    check_order("json:/key", |_, event| ("src.e".to_owned(), event)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrying_key_holds_its_own_events_and_no_others() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&config("json:/key")).await;
    let stuck = json!({"key": "stuck", "n": 0, "do": "retry", "after_ms": 5});
    env.send("src.a", &Ce::new("stuck").data(stuck)).await;
    env.send(
        "src.a",
        &Ce::new("behind").data(json!({"key": "stuck", "n": 1})),
    )
    .await;
    for n in 0..200 {
        let data = json!({"key": format!("k{}", n % 4), "n": n / 4});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    runtime
        .until(
            "p",
            "the other keys are done, the stuck one was tried often",
            |counts| counts.done == 200 && counts.retries > 10,
        )
        .await;
    let arrived = arrived(&env).await;
    assert!(!arrived.contains_key("stuck"));
    assert_eq!(arrived["k0"], Vec::from_iter(0..50));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_without_the_key_is_ordered_by_itself_and_counted() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&config("json:/key")).await;
    let stuck = json!({"key": null, "do": "retry", "after_ms": 5});
    env.send("src.a", &Ce::new("stuck").data(stuck)).await;
    for (n, data) in [json!({}), json!({"key": {}}), json!({"key": [1]}), json!(7)]
        .into_iter()
        .enumerate()
    {
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let counts = runtime
        .until("p", "nobody waits for the stuck one", |counts| {
            counts.done == 4
        })
        .await;
    assert_eq!(counts.unkeyed, 5);
    for message in env.messages("SEARCH").await {
        assert_eq!(
            message.header("Syncline-Key"),
            message.header("Syncline-Event-Id")
        );
    }
    check_law(&runtime.drain().await);
}

/// The values that a bucket's entries took, for each key in their order.
type History = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

async fn watch(bucket: &kv::Store, history: History) -> JoinSet<()> {
    let mut entries = bucket.watch_all().await.unwrap();
    let mut watching = JoinSet::new();
    watching.spawn(async move {
        while let Some(Ok(entry)) = entries.next().await {
            let value: Value = serde_json::from_slice(&entry.value).unwrap();
            let number = value["n"].as_u64().unwrap();
            history
                .lock()
                .unwrap()
                .entry(entry.key)
                .or_default()
                .push(number);
        }
    });
    watching
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_runtime_never_takes_a_target_back_to_an_earlier_value() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let history = History::default();
    let _watching = watch(&env.bucket("crm").await, history.clone()).await;
    env.send_all(events().map(|(_, _, event)| ("src.e".to_owned(), event)))
        .await;

    let config = [PARTS, &config("json:/key")].concat();
    for n_done in [300, 900] {
        let runtime = env.spawn(&config).await;
        eventually("some effects are there", async || {
            env.n_messages("SEARCH").await >= n_done
        })
        .await;
        runtime.kill();
    }
    let runtime = env.spawn(&config).await;
    eventually("every event is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    check_law_of(&runtime.drain().await);
    eventually("the watcher has seen the last values", async || {
        let seen = history.lock().unwrap();
        let at_end = |values: &Vec<u64>| values.last() == Some(&(N_OF_EACH - 1));
        seen.len() as u64 == N_KEYS && seen.values().all(at_end)
    })
    .await;
    for (key, values) in history.lock().unwrap().iter() {
        assert!(values.is_sorted(), "{key} went backwards: {values:?}");
    }
    for (key, numbers) in arrived(&env).await {
        assert_eq!(numbers, Vec::from_iter(0..N_OF_EACH), "{key}");
    }
}
