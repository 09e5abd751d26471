//! Modules that follow each other by the change feed, and do not run in circles.

use super::TOKEN;
use super::client::{ask, try_ask};
use crate::harness::{Process, TestEnv, check_law, eventually, free_ports};
use serde_json::{Value, json};
use std::net::SocketAddr;
use syncline::api::Hash;
use syncline::event::DeadReason;

/// Buckets `a` and `b`, each with a feed on one stream, and pipelines that copy each into the other.
fn circle(env: &TestEnv, hops: u32) -> String {
    let contract = json!({
        "name": "side",
        "version": 1,
        "default": "item",
        "entities": { "item": {
            "operations": ["retrieve", "upsert", "merge", "delete"], "schema": { "type": "object" },
        } },
    });
    std::fs::write(env.folder().join("side.v1.json"), contract.to_string()).unwrap();
    let hash = Hash::of(TOKEN.as_bytes());
    let target = |name: &str| {
        format!(
            r#"
[targets.{name}]
kind = "kv"
bucket = "{name}"
create = true
contract = {{ version = 1, schema = "side.v1.json" }}
feed = "changes_{name}"
[targets.changes_{name}]
kind = "subject"
subject = "changes.{name}.{{key}}"
stream = "CHANGES"
"#
        )
    };
    let pipeline = |from: &str, to: &str| {
        format!(
            r#"
[pipelines.{from}-{to}]
source = {{ stream = "CHANGES", subjects = ["changes.{from}.>"] }}
key = "json:/key"
to = [{{ target = "{to}", key = "/key" }}]
hops = {hops}
"#
        )
    };
    let api = format!(
        "[api]\nlisten = \"127.0.0.1:0\"\n[api.tokens.all]\nsha256 = \"{hash}\"\nscopes = [\"*:*\"]\n"
    );
    [
        target("a"),
        target("b"),
        api,
        pipeline("a", "b"),
        pipeline("b", "a"),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_pipelines_is_gone_round_once() {
    let env = TestEnv::start().await;
    env.stream("CHANGES", &["changes.>"]).await;
    let runtime = env.run(&circle(&env, 8)).await;
    let put = ask(
        runtime.api(),
        "PUT /v1/a/_/k",
        &[("If-None-Match", "*")],
        r#"{"n":1}"#,
    )
    .await;
    assert_eq!(put.status, 201, "{put:?}");
    // There, and back, and there once more, where it is seen to have been before.
    runtime
        .until("a-b", "the circle ends", |counts| counts.filtered == 1)
        .await;
    // What it did is seen before it is counted.
    runtime
        .until("b-a", "the way back has ended", |counts| counts.done == 1)
        .await;
    let (there, back) = (runtime.counts("a-b"), runtime.counts("b-a"));
    assert_eq!((there.done, there.filtered), (1, 1));
    assert_eq!((back.done, back.filtered), (1, 0));
    let changes = env.messages("CHANGES").await;
    let trails: Vec<_> = changes
        .iter()
        .map(|it| it.header("ce-synclinetrail"))
        .collect();
    assert_eq!(trails, [None, Some("a-b"), Some("a-b,b-a")]);
    let first: Value = changes[0].json();
    let expected = json!({ "target": "a", "key": "k", "operation": "upsert", "contract": "side@1",
        "before": null, "after": { "n": 1 } });
    assert_eq!(first, expected);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_through_too_many_pipelines_is_a_dead_letter() {
    let env = TestEnv::start().await;
    env.stream("CHANGES", &["changes.>"]).await;
    let runtime = env.run(&circle(&env, 1)).await;
    let put = ask(runtime.api(), "PUT /v1/a/_/k", &[], r#"{"n":1}"#).await;
    assert_eq!(put.status, 201, "{put:?}");
    runtime
        .until("b-a", "it is given up", |counts| counts.dead == 1)
        .await;
    let mut letters = Vec::new();
    eventually("the letter is there", async || {
        letters = env.letters().await;
        !letters.is_empty()
    })
    .await;
    assert_eq!(letters[0].reason, DeadReason::Hops);
    assert!(letters[0].error.contains("a-b"), "{}", letters[0].error);
    check_law(&runtime.drain().await);
}

/// The test of a circle notices when nothing cuts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_cut_a_circle_is_gone_round_until_hops_end_it() {
    let env = TestEnv::start().await;
    env.stream("CHANGES", &["changes.>"]).await;
    let [port] = free_ports();
    let api: SocketAddr = ([127, 0, 0, 1], port).into();
    let config = circle(&env, 3).replace("127.0.0.1:0", &api.to_string());
    let file = env.folder().join("circle.toml");
    std::fs::write(&file, env.text(&config)).unwrap();
    let mut process = Process::launch(&file, "break=loop");
    assert!(process.is_ready().await, "{}", process.log());
    eventually("the change is made", async || {
        let put = try_ask(api, "PUT /v1/a/_/k", &[], r#"{"n":1}"#).await;
        put.is_ok_and(|put| put.status == 201 || put.status == 204)
    })
    .await;
    eventually("the circle ends", async || !env.letters().await.is_empty()).await;
    let changes = env.messages("CHANGES").await;
    let trails = changes.iter().map(|it| it.header("ce-synclinetrail"));
    let longest = trails.flatten().max_by_key(|trail| trail.len());
    assert_eq!(longest, Some("a-b,b-a,a-b"));
    process.drain().await;
}
