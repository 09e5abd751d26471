//! A plugin's state is durable with the effects of the event that wrote it, or not at all.

use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

fn add(key: &str) -> Value {
    json!({"do": "state", "op": "add", "key": key})
}

/// An event whose plugin does these steps.
fn event(id: impl ToString, steps: Value) -> Ce {
    Ce::new(id.to_string()).data(json!({"key": id.to_string(), "steps": steps}))
}

/// A state entry as it lies in the bucket.
async fn stored(env: &TestEnv, key: &str) -> Option<String> {
    env.kv("SYNCLINE_STATE")
        .await
        .remove(&format!("p.probe.{key}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_counts_every_event_once_whatever_their_keys() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    env.send_all((0..500).map(|n| {
        let key = format!("k{}", n % 7);
        let data = json!({"key": key, "n": n, "steps": [add(&key), add("all")]});
        ("src.a".to_owned(), Ce::new(n).data(data))
    }))
    .await;
    let counts = runtime.settled("p", 500).await;
    assert_eq!((counts.done, counts.dead), (500, 0));
    assert_eq!(stored(&env, "all").await.as_deref(), Some("500"));
    let mut sum = 0;
    for key in 0..7 {
        let count = stored(&env, &format!("k{key}")).await.unwrap();
        sum += count.parse::<u64>().unwrap();
    }
    assert_eq!(sum, 500);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_attempt_wrote_is_discarded() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    let retry = json!({"do": "retry", "before_attempt": 3});
    let effect = json!({"target": "crm", "operation": "append"});
    let endings = [
        json!([add("n"), {"do": "reject"}]),
        json!([add("n"), {"do": "trap"}]),
        json!([add("n"), {"do": "accept", "effects": [effect]}]),
        json!([add("n"), retry]),
        json!([add("n"), {"do": "drop"}]),
        json!([add("n"), {"do": "accept"}]),
    ];
    for (n, steps) in endings.into_iter().enumerate() {
        env.send("src.a", &event(n, steps)).await;
    }
    let counts = runtime.settled("p", 6).await;
    assert_eq!((counts.dead, counts.done, counts.filtered), (3, 2, 1));
    assert_eq!(counts.retries, 2);
    assert_eq!(stored(&env, "n").await.as_deref(), Some("3"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sees_its_own_writes_and_later_events_see_them_too() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    let op =
        |op: &str, value: &str| json!({"do": "state", "op": op, "key": "a b.c", "value": value});
    let report = |key: &str| json!({"do": "accept", "effects": [{"target": "crm", "key": key}]});
    let first = json!([
        op("get", ""),
        op("put-new", "one"),
        op("put-new", "two"),
        op("get", ""),
        op("add", ""),
        op("delete", ""),
        op("get", ""),
        op("put", "three"),
        report("first")
    ]);
    let second = json!([op("get", ""), op("delete", ""), report("second")]);
    let third = json!([op("get", ""), op("put-new", "four"), report("third")]);
    let mut results = Vec::new();
    for (n, (key, steps)) in [("first", first), ("second", second), ("third", third)]
        .into_iter()
        .enumerate()
    {
        env.send("src.a", &event(key, steps)).await;
        runtime.settled("p", n as u64 + 1).await;
        results.push(env.entry("crm", key).await.unwrap()["results"].take());
    }
    let not_a_number = results[0][4]["error"].take();
    assert!(
        not_a_number.as_str().unwrap().contains("is not a counter"),
        "{not_a_number}"
    );
    results[0][4] = json!("refused");
    assert_eq!(
        results[0],
        json!([null, true, false, "one", "refused", true, null, true])
    );
    assert_eq!(results[1], json!(["three", true]));
    assert_eq!(results[2], json!([null, true]));
    assert_eq!(stored(&env, "a=20b=2Ec").await.as_deref(), Some("four"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_with_a_time_to_live_goes_by_itself() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(PIPELINE).await;
    let put = json!({"do": "state", "op": "put-new", "key": "short", "value": "x", "ttl_s": 1});
    let kept = json!({"do": "state", "op": "put-new", "key": "kept", "value": "x"});
    let report = |key: &str| json!({"do": "accept", "effects": [{"target": "crm", "key": key}]});
    env.send("src.a", &event(1, json!([put, kept, report("first")])))
        .await;
    runtime.settled("p", 1).await;
    let bucket = env.js.get_key_value("SYNCLINE_STATE").await.unwrap();
    eventually("the value is gone", async || {
        bucket.get("p.probe.short").await.unwrap().is_none()
    })
    .await;
    env.send("src.a", &event(2, json!([put, kept, report("second")])))
        .await;
    runtime.settled("p", 2).await;
    let results = env.entry("crm", "second").await.unwrap()["results"].take();
    assert_eq!(results, json!([true, false]));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pipeline_and_each_plugin_has_state_of_its_own() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let pipeline = |name: &str, stages: &str| {
        format!(
            r#"
            [pipelines.{name}]
            source = {{ stream = "SRC" }}
            stages = [{stages}]
            to = [{{ target = "crm" }}]
            guarantee = "at-least-once"
            "#
        )
    };
    let second = r#"
        [plugins.second]
        path = "${PROBE}"
        grants = { state = true }
    "#;
    let both = [
        pipeline("p", "\"probe\", \"second\""),
        pipeline("q", "\"second\""),
    ]
    .concat();
    let runtime = env.run(&[PARTS, second, &both].concat()).await;
    env.send("src.a", &event(1, json!([add("n")]))).await;
    env.send("src.a", &event(2, json!([add("n")]))).await;
    runtime.settled("p", 2).await;
    runtime.settled("q", 2).await;
    let entries = env.kv("SYNCLINE_STATE").await;
    for key in ["p.probe.n", "p.second.n", "q.second.n"] {
        assert_eq!(entries[key], "2", "{key}");
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_outlives_the_runtime() {
    let env = TestEnv::start().await;
    for run in 1..=2 {
        let runtime = env.run_with_parts(PIPELINE).await;
        env.send("src.a", &event(run, json!([add("n")]))).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);
        assert_eq!(stored(&env, "n").await, Some(run.to_string()));
    }
}
