//! A changed plugin file takes over between two events; a bad one changes nothing and says why.

use crate::harness::{Ce, Running, TestEnv, check_law, check_law_of, eventually, guests};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use syncline::plugin::PluginError;

/// The probe's file lies in the environment's folder, where a test may replace it.
const CONFIG: &str = r#"
[plugins.probe]
path = "probe.wasm"
limits = { time = "5s" }

[targets.search]
kind = "subject"
subject = "search.{key}"
stream = "SEARCH"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 100000, backoff = "10ms..20ms" }
"#;

const FIRST: &str = "1.0.0";
const SECOND: &str = "2.0.0";

fn file(env: &TestEnv) -> PathBuf {
    env.folder().join("probe.wasm")
}

/// Replaces the file as a build does: written beside it, then renamed.
fn install(env: &TestEnv, bytes: &[u8]) {
    let aside = env.folder().join("probe.part");
    std::fs::write(&aside, bytes).unwrap();
    std::fs::rename(aside, file(env)).unwrap();
}

async fn run(env: &TestEnv) -> Running {
    install(env, &guests::bytes("PROBE"));
    env.run(CONFIG).await
}

/// Events that publish a report, on a few keys, numbered from `first`.
async fn send(env: &TestEnv, first: u64, n_events: u64) {
    let events = (first..first + n_events).map(|n| {
        let data = json!({"key": format!("k{}", n % 8), "n": n, "do": "accept",
            "effects": [{"target": "search"}]});
        ("src.e".to_owned(), Ce::new(n).data(data))
    });
    env.send_all(events).await;
}

/// The versions that worked on each key, in order; every event must have come once.
async fn stamps(env: &TestEnv, n_events: u64) -> BTreeMap<String, Vec<String>> {
    let mut numbers = BTreeSet::new();
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let messages = env.messages("SEARCH").await;
    assert_eq!(messages.len() as u64, n_events);
    for report in messages.iter().map(|message| message.json()) {
        assert!(
            numbers.insert(report["data"]["n"].as_u64().unwrap()),
            "twice: {report}"
        );
        let key = report["delivery"]["key"].as_str().unwrap().to_owned();
        let stamp = report["stamp"].as_str().unwrap().to_owned();
        by_key.entry(key).or_default().push(stamp);
    }
    assert_eq!(numbers, BTreeSet::from_iter(0..n_events));
    by_key
}

async fn swapped_from(runtime: &Running, digest: &str) {
    eventually("the new version is at work", async || {
        runtime.digest("probe", "p") != digest
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_loses_nothing_and_repeats_nothing() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let before = runtime.digest("probe", "p");
    send(&env, 0, 1_000).await;
    runtime
        .until("p", "some events are done", |counts| counts.done >= 100)
        .await;
    install(&env, &guests::bytes("PROBE_NEXT"));
    send(&env, 1_000, 1_000).await;
    swapped_from(&runtime, &before).await;
    send(&env, 2_000, 100).await;
    let counts = runtime.settled("p", 2_100).await;
    assert_eq!((counts.done, counts.retries), (2_100, 0));
    for (key, stamps) in stamps(&env, 2_100).await {
        assert!(
            stamps.is_sorted(),
            "{key} met an old version again: {stamps:?}"
        );
        assert_eq!(stamps.first().map(String::as_str), Some(FIRST));
        assert_eq!(stamps.last().map(String::as_str), Some(SECOND));
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_may_be_written_in_place_and_swapped_back() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let first = runtime.digest("probe", "p");
    std::fs::write(file(&env), guests::bytes("PROBE_NEXT")).unwrap();
    swapped_from(&runtime, &first).await;
    let second = runtime.digest("probe", "p");
    std::fs::write(file(&env), guests::bytes("PROBE")).unwrap();
    swapped_from(&runtime, &second).await;
    assert_eq!(runtime.digest("probe", "p"), first);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_at_work_ends_on_the_version_that_it_met() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let report = json!({"do": "accept", "effects": [{"target": "search"}]});
    let steps = json!([{"do": "sleep", "ms": 1500}, report]);
    let data = json!({"key": "slow", "n": 0, "steps": steps});
    env.send("src.e", &Ce::new(0).data(data)).await;
    runtime
        .until("p", "the event is at work", |counts| counts.in_flight == 1)
        .await;
    std::fs::write(file(&env), guests::bytes("PROBE_NEXT")).unwrap();
    let swapped = runtime.plugins().swap("probe").await.unwrap();
    let at_work = runtime.digest("probe", "p");
    assert!(swapped.is_none_or(|digest| digest == at_work));
    send(&env, 1, 1).await;
    runtime.settled("p", 2).await;
    let stamps = stamps(&env, 2).await;
    assert_eq!(stamps["slow"], [FIRST]);
    assert_eq!(stamps["k1"], [SECOND]);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_tried_again_meets_the_new_version() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let retry = json!({"do": "retry", "before_version": SECOND});
    let report = json!({"do": "accept", "effects": [{"target": "search"}]});
    let data = json!({"key": "k", "n": 0, "steps": [retry, report]});
    env.send("src.e", &Ce::new(0).data(data)).await;
    runtime
        .until("p", "it was tried again", |counts| counts.retries > 1)
        .await;
    install(&env, &guests::bytes("PROBE_NEXT"));
    runtime.settled("p", 1).await;
    assert_eq!(stamps(&env, 1).await["k"], [SECOND]);
    check_law(&runtime.drain().await);
}

/// Files that cannot take over, and a part of what is said about each.
fn bad_files() -> Vec<(Vec<u8>, &'static str)> {
    let good = guests::bytes("PROBE_NEXT");
    vec![
        (good[..good.len() / 2].to_vec(), "it is damaged"),
        (good[..6].to_vec(), "it is cut short"),
        (Vec::new(), "it is empty"),
        (
            b"\0asm\x01\0\0\0".to_vec(),
            "it is a core WebAssembly module, not a component",
        ),
        (b"#!/bin/sh".to_vec(), "it is not WebAssembly"),
        (
            guests::bytes("FOREIGN_IMPORT"),
            "it imports `acme:database/query@1.0.0`",
        ),
        (
            guests::bytes("OTHER_WORLD"),
            "it is a component of another world",
        ),
        (
            guests::bytes("OLDER_CONTRACT"),
            "version 0.0.9 of the contract",
        ),
        (
            guests::bytes("PICKY"),
            "the capability `state`, which is not granted",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_take_over_changes_nothing() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let before = runtime.digest("probe", "p");
    for (bytes, expected) in bad_files() {
        install(&env, &bytes);
        let error = runtime.plugins().swap("probe").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        let is_ungranted = matches!(error, PluginError::Ungranted { .. });
        let is_unloadable = matches!(error, PluginError::Unloadable { .. });
        assert!(is_ungranted || is_unloadable, "{error:?}");
        assert_eq!(runtime.digest("probe", "p"), before, "{expected}");
    }
    std::fs::remove_file(file(&env)).unwrap();
    let error = runtime.plugins().swap("probe").await.unwrap_err();
    assert!(matches!(error, PluginError::Unreadable { .. }), "{error}");
    send(&env, 0, 16).await;
    runtime.settled("p", 16).await;
    for stamps in stamps(&env, 16).await.values() {
        assert_eq!(*stamps, [FIRST, FIRST]);
    }
    // And the next good one takes over.
    install(&env, &guests::bytes("PROBE_NEXT"));
    swapped_from(&runtime, &before).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_a_file_was_not_taken_and_when_one_was() {
    let env = TestEnv::start().await;
    install(&env, &guests::bytes("PROBE"));
    let process = env.spawn(CONFIG).await;
    let says = async |text: &str| {
        eventually(text, async || process.log().contains(text)).await;
    };
    for (bytes, expected) in [bad_files().remove(3), bad_files().remove(5)] {
        install(&env, &bytes);
        says(expected).await;
    }
    assert_eq!(process.log().matches("plugin not swapped").count(), 2);
    install(&env, &guests::bytes("PROBE_NEXT"));
    says("plugin swapped").await;
    send(&env, 0, 1).await;
    eventually("the event is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0) && env.n_messages("SEARCH").await == 1
    })
    .await;
    assert_eq!(stamps(&env, 1).await["k0"], [SECOND]);
    check_law_of(&process.drain().await);
}
