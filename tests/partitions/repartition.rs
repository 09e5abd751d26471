//! Events that are shared out by a key which is not in their subject.

use super::{N_EVENTS, N_KEYS, N_OF_EACH, SHARED, arrived, check_order, data_of, shared_out};
use crate::cli::in_dir;
use crate::harness::{Ce, PARTS, Process, Running, TestEnv, check_law, check_law_of, eventually};
use async_nats::jetstream::message::StreamMessage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use syncline::dead_letter::Selection;

fn config(partitions: u32) -> String {
    let pipeline = format!(
        r#"
        [pipelines.p]
        source = {{ stream = "SRC", subjects = ["src.>"] }}
        key = "json:/key"
        stages = ["probe"]
        to = [{{ target = "search" }}, {{ target = "crm" }}]
        guarantee = "at-least-once"
        retry = {{ attempts = 1000, backoff = "1ms..5ms" }}
        lease = "2s"
        partitions = {partitions}
        repartition = true
        "#
    );
    [PARTS, &pipeline].concat()
}

/// Events from the `first` one of each key up to `end`, the keys taking turns, some tried again.
async fn send(env: &TestEnv, first: u64, end: u64) {
    let events = (first..end).flat_map(|n| (0..N_KEYS).map(move |key| (key, n)));
    let events = events.map(|(key, n)| {
        let event = Ce::new(format!("{key}-{n}")).data(data_of(key, n));
        ("src.a".to_owned(), event)
    });
    env.send_all(events).await;
}

/// What is left in the end: up to where the events are in their partitions.
const PROGRESS: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_data_is_shared_out_and_keeps_its_order_when_runtimes_are_killed() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(7);
    let first = env.spawn_as("first", &config).await;
    // One more than there are partitions: somebody fills them.
    shared_out(&env, &[8]).await;
    let second = env.spawn_as("second", &config).await;
    shared_out(&env, &[4, 4]).await;
    send(&env, 0, N_OF_EACH / 2).await;
    arrived(&env, 200).await;
    first.kill();
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    shared_out(&env, &[8]).await;
    arrived(&env, N_EVENTS).await;
    check_order(&env, PROGRESS).await;
    check_law_of(&second.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_when_a_runtime_hangs_and_wakes() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(3);
    let first = env.spawn_as("first", &config).await;
    shared_out(&env, &[4]).await;
    send(&env, 0, N_OF_EACH / 2).await;
    arrived(&env, 100).await;
    first.pause();
    let second = env.spawn_as("second", &config).await;
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    arrived(&env, N_EVENTS).await;
    first.resume();
    check_order(&env, PROGRESS).await;
    check_law_of(&second.drain().await);
    check_law_of(&first.drain().await);
}

/// What lies in the stream of the partitions, in order.
async fn held(env: &TestEnv) -> Vec<StreamMessage> {
    let stream = env.js.get_stream(SHARED).await.unwrap();
    let state = &stream.cached_info().state;
    let mut held = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        // Of the places where it was written down how far it came only the last is left.
        held.extend(stream.get_raw_message(sequence).await.ok());
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_written_to_its_partition_once_whoever_is_killed() {
    const N: u64 = 5_000;
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config(4);
    check_law_of(&env.spawn_as("p", &config).await.drain().await);
    let url = env.nats.url();
    in_dir(
        env.folder(),
        &["pipeline", "pause", "p", "--nats", &url],
        "",
    )
    .fine();
    let events = (0..N).map(|n| {
        let data = json!({"key": n % 97, "n": n});
        ("src.a".to_owned(), Ce::new(n).data(data))
    });
    env.send_all(events).await;
    // A batch holds at most 500 events: each run writes two, and dies.
    for _ in 0..4 {
        let mut process = Process::launch(&env.folder().join("p.toml"), "die=shared-out:2");
        eventually("the program dies", async || process.has_ended()).await;
        assert!(process.log().contains("fault: the program dies here"));
    }
    let process = env.spawn_as("p", &config).await;
    eventually("all events are in their partitions", async || {
        env.n_messages(SHARED).await > N
    })
    .await;
    check_law_of(&process.drain().await);

    let mut by_subject: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in held(&env).await {
        let Some(was) = message.headers.get("Syncline-Original") else {
            continue;
        };
        let was: Value = serde_json::from_str(was.as_str()).unwrap();
        let sequences = by_subject.entry(message.subject.to_string()).or_default();
        sequences.push(was["sequence"].as_u64().unwrap());
    }
    assert_eq!(by_subject.len(), 4);
    assert!(by_subject.values().all(|sequences| sequences.is_sorted()));
    let mut all: Vec<u64> = by_subject.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(1..=N));
    eventually("the source knows", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_the_one_that_lies_in_the_source() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config(4)).await;
    let data = json!({"key": "a", "do": "reject"});
    let event = Ce::new("1")
        .data(data)
        .header("Nats-Msg-Id", "m1")
        .header("x-a", "b \"c\"");
    let sequence = env.send("src.x.y", &event).await;
    // In another partition, and named by its position.
    let raw = env.send_raw("src.z", r#"{"do": "reject"}"#).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.unkeyed), (2, 1));
    let letters = env.letters().await;
    let letters: BTreeMap<String, Value> = letters
        .iter()
        .map(|letter| {
            (
                letter.subject.clone(),
                serde_json::to_value(letter).unwrap(),
            )
        })
        .collect();
    let letter = &letters["src.x.y"];
    assert_eq!(
        (&letter["stream"], &letter["sequence"]),
        (&json!("SRC"), &json!(sequence))
    );
    assert_eq!(
        (&letter["key"], &letter["event_id"]),
        (&json!("a"), &json!("1"))
    );
    let headers: BTreeSet<(String, String)> =
        serde_json::from_value(letter["headers"].clone()).unwrap();
    for (name, value) in [("Nats-Msg-Id", "m1"), ("x-a", "b \"c\""), ("ce-id", "1")] {
        assert!(
            headers.contains(&(name.to_owned(), value.to_owned())),
            "{headers:?}"
        );
    }
    assert!(!headers.iter().any(|(name, _)| name.starts_with("Syncline")));
    assert_eq!(letters["src.z"]["event_id"], format!("SRC:{raw}"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_fit_with_what_it_was_is_a_dead_letter() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config(4)).await;
    let largest = env.client().server_info().max_payload;
    let long = json!({"key": "a", "pad": "x".repeat(largest - 100)}).to_string();
    env.send_raw("src.a", long.clone()).await;
    env.send("src.a", &Ce::new("2").data(json!({"key": "a"})))
        .await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.done), (1, 1));
    let letter = env.letters().await.remove(0);
    assert_eq!(
        (letter.reason.as_str(), letter.payload_bytes),
        ("invalid", long.len())
    );
    // Whoever works on its key does not know of it.
    assert!(letter.id.ends_with(&letter.key), "{}", letter.key);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_to_the_partition_of_its_key() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config(4)).await;
    for key in 0..8 {
        let data = json!({"key": key, "do": "reject"});
        env.send("src.a", &Ce::new(key).data(data)).await;
    }
    runtime.settled("p", 8).await;
    let store = env.dead_letters().await;
    for line in store.list(&Selection::default()).await.unwrap() {
        store.replay(&line, false).await.unwrap();
    }
    // Each of them dies a second time.
    let counts = runtime.settled("p", 16).await;
    assert_eq!((counts.replayed, counts.dead), (8, 16));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_goes_on_where_it_was_and_another_number_of_partitions_is_refused() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let whole = config(4)
        .replace("partitions = 4", "")
        .replace("repartition = true", "");
    let runtime = env.run(&whole).await;
    send(&env, 0, 1).await;
    runtime.settled("p", N_KEYS).await;
    check_law(&runtime.drain().await);
    let runtime = env.run(&config(4)).await;
    send(&env, 1, 2).await;
    let counts = runtime.settled("p", N_KEYS).await;
    assert_eq!(counts.done, N_KEYS);
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("SEARCH").await, 2 * N_KEYS);

    let Err(error) = Running::try_start(env.parse(&config(5))).await else {
        panic!("it starts");
    };
    let error = error.to_string();
    assert!(error.contains("the key json:/key into 4"), "{error}");
    assert!(error.contains("the key json:/key into 5"), "{error}");
}
