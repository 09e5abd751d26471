//! A pipeline whose events several runtimes share out among them, partition by partition.

mod repartition;

use crate::harness::{Ce, PARTS, Running, TestEnv, check_law, check_law_of, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use syncline::dead_letter::{DeadLetters, Selection};
use syncline::provision::Provision;
use syncline::txn::holders;

const N_KEYS: u64 = 64;
const N_OF_EACH: u64 = 20;
const N_EVENTS: u64 = N_KEYS * N_OF_EACH;
const SHARED: &str = "SYNCLINE_PARTITIONS_p";

fn config(partitions: &str) -> String {
    let pipeline = format!(
        r#"
        [pipelines.p]
        source = {{ stream = "SRC", subjects = ["src.>"] }}
        key = "subject:2"
        stages = ["probe"]
        to = [{{ target = "search" }}, {{ target = "crm" }}]
        guarantee = "at-least-once"
        retry = {{ attempts = 1000, backoff = "1ms..5ms" }}
        lease = "2s"
        {partitions}
        "#
    );
    [PARTS, &pipeline].concat()
}

/// Events from the `first` one of each key up to `end`, the keys taking turns, some tried again.
async fn send(env: &TestEnv, first: u64, end: u64) {
    let events = (first..end).flat_map(|n| (0..N_KEYS).map(move |key| (key, n)));
    let events = events.map(|(key, n)| {
        let event = Ce::new(format!("{key}-{n}")).data(data_of(key, n));
        (format!("src.k{key}.x"), event)
    });
    env.send_all(events).await;
}

/// What the `n`th event of a key holds. Some are tried again.
fn data_of(key: u64, n: u64) -> Value {
    let spread = (key * 31 + n * 17) % 7;
    json!({
        "key": format!("k{key}"), "n": n, "do": "retry", "after_ms": spread,
        "before_attempt": 1 + spread.saturating_sub(3),
    })
}

/// How many partitions each runtime holds.
async fn held(env: &TestEnv) -> Vec<usize> {
    let mut by_owner: BTreeMap<String, usize> = BTreeMap::new();
    for holder in holders(&env.js, Some("p")).await.unwrap() {
        if !holder.released {
            *by_owner.entry(holder.owner).or_default() += 1;
        }
    }
    let mut held: Vec<usize> = by_owner.into_values().collect();
    held.sort_unstable();
    held
}

async fn shared_out(env: &TestEnv, expected: &[usize]) {
    let mut last = Vec::new();
    eventually(&format!("{expected:?} partitions are held"), async || {
        last = held(env).await;
        last == expected
    })
    .await;
}

/// Each key's events arrived once, in their order, and so many messages are left.
async fn check_order(env: &TestEnv, n_left: u64) {
    eventually("everything is acknowledged", async || {
        env.n_messages(SHARED).await == n_left
    })
    .await;
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
}

async fn arrived(env: &TestEnv, n_messages: u64) {
    eventually(&format!("{n_messages} effects are there"), async || {
        env.n_messages("SEARCH").await >= n_messages
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtimes_share_the_partitions_out_when_they_come_and_when_one_is_killed() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("partitions = 16");
    let first = env.spawn_as("first", &config).await;
    shared_out(&env, &[16]).await;
    let second = env.spawn_as("second", &config).await;
    shared_out(&env, &[8, 8]).await;

    send(&env, 0, N_OF_EACH / 2).await;
    arrived(&env, 200).await;
    first.kill();
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    // The lease is 2 s; what is not taken over by then never will be.
    shared_out(&env, &[16]).await;
    arrived(&env, N_EVENTS).await;
    check_order(&env, 0).await;

    let third = env.spawn_as("third", &config).await;
    let fourth = env.spawn_as("fourth", &config).await;
    shared_out(&env, &[4, 6, 6]).await;
    check_law_of(&second.drain().await);
    shared_out(&env, &[8, 8]).await;
    check_law_of(&third.drain().await);
    check_law_of(&fourth.drain().await);
    assert_eq!(held(&env).await, Vec::<usize>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_partitions_move_under_load() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("partitions = 8");
    let first = env.spawn_as("first", &config).await;
    send(&env, 0, N_OF_EACH / 2).await;
    arrived(&env, 100).await;
    let second = env.spawn_as("second", &config).await;
    send(&env, N_OF_EACH / 2, N_OF_EACH).await;
    shared_out(&env, &[4, 4]).await;
    check_law_of(&first.drain().await);
    arrived(&env, N_EVENTS).await;
    check_order(&env, 0).await;
    check_law_of(&second.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_the_one_that_lies_in_the_source() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("partitions = 4").replace("subject:2", "subject:3");
    let runtime = env.run(&config).await;
    env.send_raw("src.x.a", r#"{"do": "drop"}"#).await;
    let reject = r#"{"do": "reject"}"#;
    let sequence = env.send_raw("src.y.b.z", reject).await;
    env.send("src.short", &Ce::new("without a key")).await;
    let counts = runtime.settled("p", 3).await;
    let ends = (counts.filtered, counts.dead, counts.done, counts.unkeyed);
    assert_eq!(ends, (1, 1, 1, 1));
    let letter = env.letters().await.remove(0);
    let letter = serde_json::to_value(&letter).unwrap();
    assert_eq!(letter["stream"], "SRC");
    assert_eq!(letter["sequence"], sequence);
    assert_eq!(letter["subject"], "src.y.b.z");
    assert_eq!(letter["key"], "b");
    assert_eq!(letter["event_id"], format!("SRC:{sequence}"));
    assert_eq!(letter["headers"], json!([]));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_to_the_partition_of_its_key_and_is_done_once() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("partitions = 4");
    let first = env.run(&config).await;
    for key in 0..8 {
        let data = json!({"do": "reject"});
        env.send(&format!("src.k{key}"), &Ce::new(key).data(data))
            .await;
    }
    first.settled("p", 8).await;
    let second = env.run(&config).await;
    shared_out(&env, &[2, 2]).await;
    let store = DeadLetters::open(&env.js, &Provision::default())
        .await
        .unwrap();
    for line in store.list(&Selection::default()).await.unwrap() {
        store.replay(&line, false).await.unwrap();
    }
    let both = |runtimes: [&Running; 2]| {
        let counts = runtimes.map(|runtime| runtime.counts("p"));
        let replayed: u64 = counts.iter().map(|counts| counts.replayed).sum();
        let dead: u64 = counts.iter().map(|counts| counts.dead).sum();
        (replayed, dead, counts[0].replayed)
    };
    eventually("every replay has ended", async || {
        let (replayed, dead, _) = both([&first, &second]);
        (replayed, dead) == (8, 16)
    })
    .await;
    let (_, _, by_first) = both([&first, &second]);
    assert!((1..8).contains(&by_first), "{by_first}");
    eventually("no request is open", async || {
        let newest = env.js.get_stream("SYNCLINE_DLQ").await.unwrap();
        let newest = newest.cached_info().state.last_sequence;
        // The last ones are the letters of the second death.
        store.handled("p").await.unwrap() + 8 >= newest
    })
    .await;
    check_law(&first.drain().await);
    check_law(&second.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_the_subjects_name_are_taken_as_they_are() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = config("partitions = { count = 4, token = 2 }").replace("subject:2", "subject:3");
    let first = env.run(&config).await;
    let second = env.run(&config).await;
    shared_out(&env, &[2, 2]).await;
    let events = (0..10).flat_map(|n| (0..8).map(move |key| (key, n)));
    let events = events.map(|(key, n)| {
        let event = Ce::new(format!("{key}-{n}")).data(json!({"n": n}));
        (format!("src.{}.k{key}", key % 4), event)
    });
    env.send_all(events).await;
    arrived(&env, 80).await;
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in env.messages("SEARCH").await {
        let key = message.header("Syncline-Key").unwrap().to_owned();
        by_key
            .entry(key)
            .or_default()
            .push(message.json()["n"].as_u64().unwrap());
    }
    assert_eq!(by_key.len(), 8);
    assert!(by_key.values().all(|n| *n == Vec::from_iter(0..10)));
    for partition in 0..4 {
        let durable = format!("syncline-p@{partition}");
        eventually("its events are acknowledged", async || {
            env.unacked("SRC", &durable).await == (0, 0)
        })
        .await;
    }
    check_law(&first.drain().await);
    check_law(&second.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_is_shared_out_goes_on_where_it_was() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config("")).await;
    send(&env, 0, 1).await;
    runtime.settled("p", N_KEYS).await;
    check_law(&runtime.drain().await);
    let runtime = env.run(&config("partitions = 4")).await;
    send(&env, 1, 2).await;
    let counts = runtime.settled("p", N_KEYS).await;
    assert_eq!(counts.done, N_KEYS);
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("SEARCH").await, 2 * N_KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_partitions_is_refused() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(&config("partitions = 4")).await;
    check_law(&runtime.drain().await);
    let Err(error) = Running::try_start(env.parse(&config("partitions = 5"))).await else {
        panic!("it starts");
    };
    let error = error.to_string();
    assert!(error.contains(SHARED), "{error}");
    assert!(error.contains("partition(4,1)"), "{error}");
    assert!(error.contains("partition(5,1)"), "{error}");
}
