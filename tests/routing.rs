//! Which event becomes which change, where.

use crate::harness::{Ce, PARTS, Running, TestEnv, check_law};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use syncline::event::DeadReason;

const SOURCE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

/// A runtime with one pipeline of these further settings.
async fn run(env: &TestEnv, settings: &str) -> Running {
    env.run(&[PARTS, SOURCE, settings].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_is_appended_to_subjects_and_put_into_buckets() {
    let env = TestEnv::start().await;
    let settings = r#"to = [{ target = "crm", key = "/id" }, { target = "search" }]"#;
    let runtime = run(&env, settings).await;
    let data = json!({"key": "order", "id": 7});
    env.send("src.a", &Ce::new("1").data(data.clone())).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.effects), (1, 2));
    assert_eq!(env.entry("crm", "7").await, Some(data.clone()));
    let published = &env.messages("SEARCH").await[0];
    assert_eq!(published.subject, "search._.order");
    assert_eq!(published.header("Syncline-Operation"), Some("append"));
    assert_eq!(published.json(), data);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_entry_that_matches_the_type_is_taken_for_each_target() {
    let env = TestEnv::start().await;
    let settings = r#"to = [
        { target = "crm", operation = "delete", when = { type = "*.deleted" } },
        { target = "search", entity = "new", when = { type = "customer.created" } },
        { target = "crm", operation = "merge", when = { type = "customer.*" } },
        { target = "search", entity = "any", when = { type = "customer.*" } },
    ]"#;
    let runtime = run(&env, settings).await;
    for (n, kind) in ["customer.created", "customer.renamed", "order.paid"]
        .into_iter()
        .enumerate()
    {
        let data = json!({"key": "c", format!("field-{n}"): n});
        env.send("src.a", &Ce::new(n).kind(kind).data(data)).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.unrouted), (3, 1));
    let merged = json!({"key": "c", "field-0": 0, "field-1": 1});
    assert_eq!(env.entry("crm", "c").await, Some(merged));
    let subjects: Vec<_> = env
        .messages("SEARCH")
        .await
        .into_iter()
        .map(|m| m.subject)
        .collect();
    assert_eq!(subjects, ["search.new.c", "search.any.c"]);

    env.send(
        "src.a",
        &Ce::new("gone")
            .kind("order.deleted")
            .data(json!({"key": "c"})),
    )
    .await;
    runtime.settled("p", 4).await;
    assert!(env.kv("crm").await.is_empty());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_without_a_target_goes_to_every_target_of_to() {
    let env = TestEnv::start().await;
    let settings = r#"
        stages = ["probe"]
        to = [{ target = "crm", when = { type = "never" } }, { target = "search" }]
    "#;
    let runtime = run(&env, settings).await;
    let data = json!({"key": "k", "do": "accept", "effects": [{"payload": {"n": 1}}]});
    env.send("src.a", &Ce::new("1").data(data)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.effects, 2);
    assert_eq!(env.entry("crm", "k").await, Some(json!({"n": 1})));
    let published = &env.messages("SEARCH").await[0];
    assert_eq!(published.header("Syncline-Operation"), Some("upsert"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_carried_out_is_a_dead_letter_and_nothing_is_applied() {
    let env = TestEnv::start().await;
    let settings = r#"
        stages = ["probe"]
        targets = ["crm"]
    "#;
    let runtime = run(&env, settings).await;
    let cases = [
        (
            json!({"target": "billing"}),
            "target `billing` is not configured",
        ),
        (
            json!({"target": "search"}),
            "may not write target `search`: name it in `targets`",
        ),
        (
            json!({"target": "crm", "key": ""}),
            "an effect on target `crm` has an empty key",
        ),
        (
            json!({"target": "crm", "operation": "append"}),
            "a kv target has no `append`",
        ),
        (
            json!({}),
            "an effect names no target and the pipeline has no `to`",
        ),
    ];
    for (n, (effect, _)) in cases.iter().enumerate() {
        let effects = json!([{"target": "crm", "key": "before"}, effect]);
        let data = json!({"key": "k", "do": "accept", "effects": effects});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let counts = runtime.settled("p", cases.len() as u64).await;
    assert_eq!((counts.dead, counts.effects), (cases.len() as u64, 0));
    for (letter, (_, expected)) in env.letters().await.iter().zip(&cases) {
        assert_eq!(letter.reason, DeadReason::BadAnswer);
        assert!(
            letter.error.contains(expected),
            "{expected}: {}",
            letter.error
        );
        assert_eq!(letter.accepted, []);
    }
    assert!(env.kv("crm").await.is_empty());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_sends_each_part_on_its_own_way_and_once() {
    let env = TestEnv::start().await;
    let settings = r#"
        stages = ["probe"]
        to = [{ target = "crm", key = "/id" }, { target = "search", when = { type = "part.b" } }]
    "#;
    let runtime = run(&env, settings).await;
    let part = |kind: &str, id: u64| json!({"type": kind, "data": {"id": id}});
    let data = json!({"key": "whole", "do": "accept", "next": "forward",
        "events": [part("part.a", 1), part("part.b", 2), part("part.b", 3)]});
    env.send("src.a", &Ce::new("1").data(data)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.received, counts.done, counts.effects), (1, 1, 5));
    let entries = env.kv("crm").await;
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["1", "2", "3"]);
    let published = env.messages("SEARCH").await;
    let ids: BTreeSet<_> = published
        .iter()
        .map(|m| m.header("Syncline-Effect-Id"))
        .collect();
    assert_eq!((published.len(), ids.len()), (2, 2));
    assert_eq!(published[0].header("ce-id"), Some("1.1"));
    assert_eq!(published[0].header("Syncline-Key"), Some("whole"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rejected_part_rejects_the_whole_and_one_retried_part_retries_it() {
    let env = TestEnv::start().await;
    let settings = r#"
        stages = ["probe", "second"]
        to = [{ target = "search" }]
        [plugins.second]
        path = "${PROBE}"
    "#;
    let runtime = run(&env, settings).await;
    let split = |steps: &[Value]| {
        let parts: Vec<_> = steps.iter().map(|step| json!({"data": step})).collect();
        json!({"key": "k", "do": "accept", "next": "forward", "events": parts})
    };
    let (good, bad) = (
        json!({"n": 1}),
        json!({"do": "reject", "reason": "part is bad"}),
    );
    let later = json!({"do": "retry", "before_attempt": 3});
    let dropped = json!({"do": "drop"});
    let splits = [
        split(&[good.clone(), bad, later.clone()]),
        split(&[later, good.clone(), dropped.clone()]),
        split(&[dropped.clone(), dropped]),
    ];
    for (n, data) in splits.iter().enumerate() {
        env.send("src.a", &Ce::new(n).data(data.clone())).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.dead, counts.done, counts.filtered), (1, 1, 1));
    assert_eq!((counts.retries, counts.effects), (2, 2));
    let letter = &env.letters().await[0];
    assert_eq!(
        (letter.reason, &*letter.error),
        (DeadReason::Reject, "part is bad")
    );
    assert_eq!(letter.history[0].place.as_deref(), Some("second"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drops_are_counted_as_filtered_and_what_has_nowhere_to_go_as_unrouted() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "stages = [\"probe\"]").await;
    env.send(
        "src.a",
        &Ce::new(1).data(json!({"do": "drop", "reason": "test"})),
    )
    .await;
    env.send("src.a", &Ce::new(2).data(json!({"do": "accept"})))
        .await;
    env.send("src.a", &Ce::new(3).data(json!({"key": "stands"})))
        .await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.filtered, counts.done, counts.unrouted), (1, 2, 1));
    assert_eq!(counts.effects, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_run_in_order_and_pass_types_that_they_do_not_accept() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let pipeline = |name: &str, stages: &str, target: &str| {
        format!(
            r#"
            [pipelines.{name}]
            source = {{ stream = "SRC" }}
            key = "json:/key"
            stages = [{stages}]
            to = [{{ target = "{target}" }}]
            guarantee = "at-least-once"
            "#
        )
    };
    let picky = r#"
        [plugins.picky]
        path = "${PICKY}"
        grants = { state = true, secrets = ["token"], lookup = ["crm"] }
        [secrets.token]
        file = "token"
        [targets.late]
        kind = "kv"
        bucket = "late"
        create = true
    "#;
    std::fs::write(env.folder().join("token"), "hunter22").unwrap();
    let early = pipeline("early", "\"picky\", \"probe\"", "crm");
    let late = pipeline("late", "\"probe\", \"picky\"", "late");
    let runtime = env.run(&[PARTS, picky, &early, &late].concat()).await;

    let report = |key: &str| json!({"key": key, "do": "accept", "effects": [{}]});
    env.send(
        "src.a",
        &Ce::new("1").kind("picky.one").data(report("accepted")),
    )
    .await;
    env.send(
        "src.a",
        &Ce::new("2").kind("other").data(report("untouched")),
    )
    .await;
    env.send(
        "src.a",
        &Ce::new("3").kind("picky.one").data(json!({"key": "plain"})),
    )
    .await;
    runtime.settled("early", 3).await;
    runtime.settled("late", 3).await;

    let stamp = async |bucket: &str, key: &str| {
        let entry = env.entry(bucket, key).await.unwrap();
        let data = if entry["data"].is_object() {
            &entry["data"]
        } else {
            &entry
        };
        data["stamped"].clone()
    };
    assert_eq!(stamp("crm", "accepted").await, "picky");
    assert_eq!(stamp("crm", "untouched").await, Value::Null);
    assert_eq!(stamp("crm", "plain").await, "picky");
    // The probe's answer left nothing for the next stage.
    assert_eq!(stamp("late", "accepted").await, Value::Null);
    assert_eq!(stamp("late", "plain").await, "picky");
    check_law(&runtime.drain().await);
}
