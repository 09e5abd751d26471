//! Plugin state that was only read: what rests on it is decided while it still is so, or thought again.

use super::state::{add, event};
use super::{launch, pipeline};
use crate::harness::{PARTS, Process, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use serde_json::{Value, json};

fn get(key: &str) -> Value {
    json!({"do": "state", "op": "get", "key": key})
}

/// An effect that says what was read.
fn report() -> Value {
    json!({"do": "accept", "effects": [{"target": "crm", "key": "report"}]})
}

fn config() -> String {
    [PARTS, &pipeline("")].concat()
}

/// Writes state as another runtime would.
async fn write(env: &TestEnv, key: &str, value: &'static str) {
    let subject = format!("tx.state.p.probe.{key}");
    env.publish(&subject, HeaderMap::new(), value.into()).await;
}

/// A runtime that has thought about its first event and waits a while before it acts.
async fn that_has_thought(env: &TestEnv, steps: &Value) -> Process {
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event(1, "k", steps)).await;
    let process = launch(env, &config(), "stall=thought:1:3000");
    eventually("the event was thought about", async || {
        process.log().contains("events stand still here")
    })
    .await;
    process
}

fn n_thought(process: &Process) -> usize {
    process.log().matches("thinking").count()
}

fn says(message: &str) -> Value {
    json!({"do": "log", "message": message})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_rests_on_state_that_still_is_as_it_was_read() {
    let env = TestEnv::start().await;
    let steps = json!([says("thinking"), get("n"), report()]);
    let process = that_has_thought(&env, &steps).await;
    write(&env, "n", "5").await;
    eventually("it has its effect", async || {
        env.entry("crm", "report").await.is_some()
    })
    .await;
    let report = env.entry("crm", "report").await.unwrap();
    assert!(report["results"].to_string().contains('5'), "{report}");
    assert_eq!(n_thought(&process), 2);
    drop(process.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_dropped_because_of_what_was_so_at_one_moment() {
    let env = TestEnv::start().await;
    let steps = json!([says("thinking"), get("a"), get("b"), {"do": "drop"}]);
    let process = that_has_thought(&env, &steps).await;
    write(&env, "a", "5").await;
    eventually("the event has ended", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    assert_eq!(n_thought(&process), 2);
    drop(process.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_read_what_nobody_changes_do_not_wait_for_each_other() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config()).await;
    write(&env, "n", "5").await;
    let steps = |n: u32| {
        let effect = json!({"target": "crm", "key": format!("r{n}")});
        json!([get("n"), {"do": "accept", "effects": [effect]}])
    };
    env.send_all((0..200).map(|n| {
        let event = event(n, &format!("k{n}"), &steps(n));
        ("src.a".to_owned(), event)
    }))
    .await;
    let counts = runtime.settled("p", 200).await;
    assert_eq!((counts.done, counts.dead), (200, 0));
    check_law(&runtime.drain().await);
    let entries = env.kv("crm").await;
    assert_eq!(entries.len(), 200);
    assert!(entries.values().all(|entry| entry.contains('5')));
    // As many writes would be made by as many batches as there are events.
    let last = env.js.get_stream("TX").await.unwrap();
    let n_written = last.cached_info().state.last_sequence;
    assert!(
        n_written < 350,
        "what they rest on is said once in a batch: {n_written}"
    );
}

/// More events than are looked for after a takeover.
const MANY: u32 = 1_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivery_that_its_own_state_tells_to_be_dropped_is_a_second_copy() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    // It holds the ack floor back, so that all that come after it are delivered again.
    let effect = json!({"target": "crm", "key": "first"});
    let first = json!([{"do": "accept", "effects": [effect]}]);
    env.send("src.a", &event(0, "first", &first)).await;
    let dropped = json!([{"do": "drop"}]);
    env.send_all((1..=MANY).map(|n| ("src.a".to_owned(), event(n, "k", &dropped))))
        .await;
    let last = json!([get("n"),
        {"do": "accept", "effects": [{"target": "crm", "key": "last"}], "before_version": "2.0.0"},
        {"do": "drop"}]);
    env.send("src.a", &event(MANY + 1, "k", &last)).await;
    let process = launch(&env, &config(), "stall=decided:1:60000");
    eventually("the first and the last are decided", async || {
        env.js.get_stream("TX").await.is_ok() && env.n_messages_on("TX", "tx.done.p.>").await == 2
    })
    .await;
    drop(process);
    // By what it finds now, the plugin would drop the last one.
    let next = config().replace("${PROBE}", "${PROBE_NEXT}");
    let runtime = env.run(&next).await;
    let counts = runtime.settled("p", u64::from(MANY) + 2).await;
    assert_eq!(counts.filtered, u64::from(MANY));
    assert_eq!(counts.duplicate, 2);
    check_law(&runtime.drain().await);
    assert_eq!(env.kv("crm").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_for_others_once_it_is_decided_and_not_only_once_all_is_done() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = [PARTS, &pipeline(r#"{ target = "search", entity = "c" }"#)].concat();
    let mut process = launch(&env, &config, "stall=decided:1:8000");
    assert!(process.is_ready().await);
    for n in 1..=2 {
        let steps = json!([add("n")]);
        env.send("src.a", &event(n, &format!("k{n}"), &steps)).await;
    }
    eventually("both have counted", async || {
        super::state::stored(&env, "n").await.as_deref() == Some("2")
    })
    .await;
    assert_eq!(env.n_messages("SEARCH").await, 0, "nothing is carried out");
    eventually("both have their effects", async || {
        env.n_messages("SEARCH").await == 2
    })
    .await;
    drop(process.drain().await);
}
