//! Plugin state with `guarantee = "atomic"`: written with the decision, or not at all.

use super::{die_at, pipeline};
use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually};
use serde_json::{Value, json};

fn config() -> String {
    [PARTS, &pipeline(r#"{ target = "crm" }"#)].concat()
}

pub(super) fn add(key: &str) -> Value {
    json!({"do": "state", "op": "add", "key": key})
}

/// An event whose plugin does these steps.
pub(super) fn event(id: u32, key: &str, steps: &Value) -> Ce {
    Ce::new(id).data(json!({"key": key, "n": id, "steps": steps}))
}

/// What is kept at a key, as it lies on the stream.
pub(super) async fn stored(env: &TestEnv, key: &str) -> Option<String> {
    let subject = format!("tx.state.p.probe.{key}");
    let kept = env.last_on("TX", &subject).await;
    let (_, value) = kept.into_iter().next()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_counts_every_event_once_whatever_their_keys() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config()).await;
    env.send_all((0..200).map(|n| {
        let key = format!("k{}", n % 7);
        let steps = json!([add(&key), add("all")]);
        ("src.a".to_owned(), event(n, &key, &steps))
    }))
    .await;
    let counts = runtime.settled("p", 200).await;
    assert_eq!((counts.done, counts.dead), (200, 0));
    check_law(&runtime.drain().await);
    assert_eq!(stored(&env, "all").await.as_deref(), Some("200"));
    let mut sum = 0;
    for key in 0..7 {
        let count = stored(&env, &format!("k{key}")).await.unwrap();
        sum += count.parse::<u32>().unwrap();
    }
    assert_eq!(sum, 200);
    // Of each key only what holds is kept.
    assert_eq!(env.n_messages_on("TX", "tx.state.>").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_is_counted_once_whoever_dies_when() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let points = [
        "thought",
        "decided",
        "between-effects",
        "applied",
        "answered",
    ];
    // A merge is made before the decision, and the state with it.
    let to = r#"{ target = "crm" }, { target = "search", entity = "c" }"#;
    let config = [PARTS, &pipeline(to)].concat();
    for (n, point) in (1..).zip(points) {
        for m in 0..3 {
            let id = n * 10 + m;
            env.send("src.a", &event(id, &format!("k{m}"), &json!([add("n")])))
                .await;
        }
        die_at(&env, &config, point).await;
    }
    let runtime = env.run(&config).await;
    eventually("every event is counted", async || {
        stored(&env, "n").await.as_deref() == Some("15")
    })
    .await;
    eventually("every event has its effects", async || {
        env.n_messages("SEARCH").await == 15
    })
    .await;
    check_law(&runtime.drain().await);
    assert_eq!(stored(&env, "n").await.as_deref(), Some("15"));
    assert_eq!(env.n_messages("SEARCH").await, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_dropped_keeps_its_state_and_one_that_fails_does_not() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config()).await;
    let endings = [
        json!([add("n"), {"do": "drop"}]),
        json!([add("n"), {"do": "reject"}]),
        json!([{"do": "state", "op": "put-new", "key": "gone", "value": "x"},
            {"do": "state", "op": "delete", "key": "gone"}, {"do": "drop"}]),
        json!([add("n"), {"do": "accept"}]),
    ];
    for (n, steps) in (1..).zip(&endings) {
        env.send("src.a", &event(n, "k", steps)).await;
        // A second copy of what was dropped does not count again.
        env.send("src.a", &event(n, "k", steps)).await;
    }
    let counts = runtime.settled("p", 8).await;
    assert_eq!((counts.done, counts.filtered, counts.dead), (1, 2, 1));
    assert_eq!(counts.duplicate, 4);
    check_law(&runtime.drain().await);
    assert_eq!(stored(&env, "n").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_written_before_the_pipeline_was_atomic_is_said_to_be_unused() {
    let env = TestEnv::start().await;
    let before = config().replace("\"atomic\"", "\"at-least-once\"");
    let runtime = env.run(&before).await;
    env.send("src.a", &event(1, "k", &json!([add("n")]))).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    let process = env.spawn(&config()).await;
    let log = process.log();
    assert!(log.contains("is not used: with `guarantee"), "{log}");
    drop(process.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_larger_than_the_server_takes_is_refused_and_nothing_waits_for_it() {
    let env = TestEnv::with_server_settings("max_payload: 262144").await;
    let runtime = env.run(&config()).await;
    let large = "x".repeat(261_300);
    let put = json!([
        {"do": "state", "op": "put", "key": "large", "value": large},
        {"do": "drop"}
    ]);
    env.send("src.a", &event(1, "k", &put)).await;
    env.send("src.a", &event(2, "k", &json!([add("n")]))).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.done), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(stored(&env, "large").await, None);
    assert_eq!(stored(&env, "n").await.as_deref(), Some("1"));
    let why = &env.letters().await[0].error;
    assert!(why.contains("`tx.state.p.probe.large` has 261"), "{why}");
}
