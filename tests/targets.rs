//! What becomes of an effect at each kind of target.

use crate::harness::{Ce, Message, PARTS, Running, TestEnv, check_law};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use syncline::app::AppError;
use syncline::event::{Accepted, DeadReason, Operation};

mod batches;
mod rivals;

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

async fn run(env: &TestEnv, targets: &str) -> Running {
    env.run(&[PARTS, targets, PIPELINE].concat()).await
}

/// An event that asks for these effects.
fn asks(id: impl ToString, effects: Value) -> Ce {
    let data = json!({"key": "k", "do": "accept", "effects": effects});
    Ce::new(id).data(data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_written_merged_into_and_deleted_from() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "").await;
    let effect = |operation: &str, payload: Value| json!([{"target": "crm", "key": "c", "operation": operation, "payload": payload}]);
    let steps = [
        (
            "merge",
            json!({"name": "Ada", "old": 1}),
            Some(json!({"name": "Ada", "old": 1})),
        ),
        (
            "merge",
            json!({"old": null, "in": {"x": 1}}),
            Some(json!({"name": "Ada", "in": {"x": 1}})),
        ),
        (
            "upsert",
            json!({"name": "Bea"}),
            Some(json!({"name": "Bea"})),
        ),
        ("delete", json!({"ignored": true}), None),
        ("delete", json!(null), None),
        (
            "merge",
            json!({"name": "Cleo", "none": null}),
            Some(json!({"name": "Cleo"})),
        ),
    ];
    for (n, (operation, payload, expected)) in steps.into_iter().enumerate() {
        env.send("src.a", &asks(n, effect(operation, payload)))
            .await;
        runtime.settled("p", n as u64 + 1).await;
        let entry = env.kv("crm").await.remove("c");
        let entry = entry.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!(entry, expected, "step {n}");
    }
    assert_eq!(runtime.counts("p").dead, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_cannot_be_is_refused_with_its_reason() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "").await;
    let text = json!([{"target": "crm", "key": "text", "text": "no json"}]);
    env.send("src.a", &asks("text", text)).await;
    let patches = [
        (
            json!({"key": "text", "payload": {"a": 1}}),
            "the entry to merge into is not JSON",
        ),
        (
            json!({"key": "new", "text": "{"}),
            "the payload of a merge is not JSON",
        ),
    ];
    for (n, (mut patch, _)) in patches.clone().into_iter().enumerate() {
        patch["operation"] = "merge".into();
        patch["target"] = "crm".into();
        env.send("src.a", &asks(n, json!([patch]))).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.dead), (1, 2));
    for (letter, (_, expected)) in env.letters().await.iter().zip(&patches) {
        assert_eq!(letter.reason, DeadReason::Refused);
        assert!(letter.error.contains(expected), "{}", letter.error);
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_escaped_where_a_subject_or_a_bucket_cannot_hold_it() {
    let env = TestEnv::start().await;
    let targets = r#"
        [targets.out]
        kind = "subject"
        subject = "out.{operation}.{entity}.x-{key}"
        stream = "OUT"
        create = true
    "#;
    let runtime = run(&env, targets).await;
    let keys = [
        "a.b", "a b", "*", ">", "é", "a=b", ".a.", "x/y-z_1", "\u{0}",
    ];
    for (n, key) in keys.into_iter().enumerate() {
        let effects = json!([
            {"target": "crm", "key": key, "payload": key},
            {"target": "out", "key": key, "entity": "e.f", "operation": "merge"},
        ]);
        env.send("src.a", &asks(n, effects)).await;
    }
    let counts = runtime.settled("p", keys.len() as u64).await;
    assert_eq!(counts.done, keys.len() as u64);
    let expected = [
        ("a.b", "a=2Eb"),
        ("a=20b", "a=20b"),
        ("=2A", "=2A"),
        ("=3E", "=3E"),
        ("=C3=A9", "=C3=A9"),
        ("a=3Db", "a=3Db"),
        ("=2Ea=2E", "=2Ea=2E"),
        ("x/y-z_1", "x/y-z_1"),
        ("=00", "=00"),
    ];
    let entries = env.kv("crm").await;
    let published = env.messages("OUT").await;
    for ((key, (in_bucket, in_subject)), message) in keys.into_iter().zip(expected).zip(published) {
        assert_eq!(entries[in_bucket], json!(key).to_string());
        assert_eq!(message.subject, format!("out.merge.e=2Ef.x-{in_subject}"));
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_another_stream_takes_is_refused_and_the_letter_lists_what_was_accepted() {
    let env = TestEnv::start().await;
    env.stream("OTHER", &["other.>"]).await;
    let targets = r#"
        [targets.out]
        kind = "subject"
        subject = "other.{key}"
        stream = "SEARCH"
        create = false
    "#;
    let runtime = run(&env, targets).await;
    let effects = json!([{"target": "crm", "key": "first"}, {"target": "out"}]);
    env.send("src.a", &asks(1, effects)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    let letter = &env.letters().await[0];
    assert_eq!(letter.reason, DeadReason::Refused);
    assert!(
        letter.error.starts_with("target `out` refused"),
        "{}",
        letter.error
    );
    let accepted = Accepted {
        target: "crm".to_owned(),
        entity: None,
        operation: Operation::Upsert,
        key: "first".to_owned(),
    };
    assert_eq!(letter.accepted, [accepted]);
    assert_eq!(env.n_messages("OTHER").await, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_no_stream_takes_is_tried_again_until_one_does() {
    let env = TestEnv::start().await;
    let targets = r#"
        [targets.out]
        kind = "subject"
        subject = "nobody.{key}"
    "#;
    let patient = PIPELINE.replace("attempts = 3", "attempts = 100000");
    let runtime = env.run(&[PARTS, targets, &patient].concat()).await;
    env.send("src.a", &asks(1, json!([{"target": "out"}])))
        .await;
    runtime
        .until("p", "it was tried again", |counts| counts.retries > 2)
        .await;
    env.stream("LATE", &["nobody.>"]).await;
    runtime.settled("p", 1).await;
    assert_eq!(env.n_messages("LATE").await, 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_target_publishes_without_a_stream() {
    let env = TestEnv::start().await;
    let targets = r#"
        [targets.out]
        kind = "subject"
        subject = "live.{key}"
        core = true
    "#;
    let mut listener = env.client().subscribe("live.*").await.unwrap();
    env.client().flush().await.unwrap();
    let runtime = run(&env, targets).await;
    let effects = json!([{"target": "out", "operation": "delete", "key": "gone"}]);
    env.send("src.a", &asks(1, effects)).await;
    runtime.settled("p", 1).await;
    let wait = Duration::from_secs(30);
    let message = tokio::time::timeout(wait, listener.next())
        .await
        .unwrap()
        .unwrap();
    let message = Message::of(&message);
    assert_eq!(message.subject, "live.gone");
    assert_eq!(message.header("Syncline-Operation"), Some("delete"));
    assert!(message.payload.is_empty());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_holds_can_be_looked_up() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "").await;
    let write = json!([
        {"target": "crm", "key": "a b", "payload": {"n": 1}},
        {"target": "search", "entity": "doc", "key": "x", "payload": {"n": 2}},
        {"target": "search", "entity": "doc", "key": "gone", "operation": "delete"},
    ]);
    env.send("src.a", &asks("write", write)).await;
    let addresses = [
        json!({"target": "crm", "key": "a b"}),
        json!({"target": "crm", "key": "none"}),
        json!({"target": "search", "entity": "doc", "key": "x"}),
        json!({"target": "search", "entity": "doc", "key": "gone"}),
        json!({"target": "crm", "key": ""}),
        json!({"target": "nowhere", "key": "x"}),
    ];
    let mut steps = addresses.map(|mut address| {
        address["do"] = "lookup".into();
        address
    });
    let mut steps = Vec::from_iter(steps.iter_mut().map(|step| step.take()));
    steps.push(json!({"do": "accept", "effects": [{"target": "crm", "key": "report"}]}));
    env.send(
        "src.a",
        &Ce::new("read").data(json!({"key": "k", "steps": steps})),
    )
    .await;
    runtime.settled("p", 2).await;
    let report = env.entry("crm", "report").await.unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results[0]["data"], json!({"n": 1}));
    assert_eq!(results[0]["content_type"], "application/json");
    assert_eq!(results[1], Value::Null);
    assert_eq!(results[2]["data"], json!({"n": 2}));
    assert_eq!(results[3], Value::Null);
    for (result, expected) in [(&results[4], "the key is empty"), (&results[5], "nowhere")] {
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(expected), "{error}");
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_stream_or_bucket_refuses_the_start_and_create_makes_it() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let config = [PARTS, PIPELINE].concat();
    let strict = config.replace("create = true\n", "");
    let Err(AppError::Targets(problems)) = Running::try_start(env.parse(&strict)).await else {
        panic!("the runtime starts without its targets");
    };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "cannot open target `crm`: bucket `crm` does not exist: make it, or set `create = true`",
            "cannot open target `search`: stream `SEARCH` does not exist: make it with subject \
             `search.*.*`, or set `create = true`",
        ]
    );
    check_law(&env.run(&config).await.drain().await);
    // They are there now, so that nothing needs to be made.
    check_law(&env.run(&strict).await.drain().await);
    let subjects = env
        .js
        .get_stream("SEARCH")
        .await
        .unwrap()
        .cached_info()
        .config
        .subjects
        .clone();
    assert_eq!(
        BTreeSet::from_iter(subjects),
        BTreeSet::from(["search.*.*".to_owned()])
    );
}
