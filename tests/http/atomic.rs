//! Modules in `guarantee = "atomic"`: changed before the decision, and changed back without it.

use super::target;
use crate::atomic::launch;
use crate::harness::{Ce, Fault, Module, PARTS, Process, TestEnv, check_law, eventually};
use serde_json::{Value, json};
use syncline::event::DeadReason;

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "crm", operation = "merge" }, { target = "api", entity = "person", operation = "upsert" },
    { target = "search", entity = "person" }]
guarantee = "atomic"
lease = "1s"
retry = { attempts = 4, backoff = "10ms..50ms" }
"#;

pub(super) fn config(module: &Module, level: &str) -> String {
    let parts = PARTS.replace(", state = true", "");
    let level = format!("level = \"{level}\"");
    [&parts, &*target(module, &level), PIPELINE].concat()
}

const LEVELS: [&str; 2] = ["M1", "M2"];

pub(super) fn event(n: u32) -> Ce {
    Ce::new(n).data(json!({"key": "k", "n": n}))
}

/// The numbers in the module and the bucket, and how many messages there are.
pub(super) async fn held(env: &TestEnv, module: &Module) -> (Option<i64>, Option<i64>, u64) {
    let number = |value: Value| value["n"].as_i64();
    let entity = module.held("/v2/person/k");
    let entity = entity.and_then(|text| number(serde_json::from_str(&text).unwrap()));
    let entry = env.entry("crm", "k").await.and_then(number);
    (entity, entry, env.n_messages("SEARCH").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_changes_with_the_other_targets() {
    for level in LEVELS {
        let (env, module) = (TestEnv::start().await, Module::start_at(level).await);
        let runtime = env.run(&config(&module, level)).await;
        env.send("src.a", &event(1)).await;
        env.send("src.a", &event(2)).await;
        env.send("src.a", &event(1)).await;
        let counts = runtime.settled("p", 3).await;
        assert_eq!((counts.done, counts.duplicate), (2, 1));
        check_law(&runtime.drain().await);
        assert_eq!(held(&env, &module).await, (Some(2), Some(2), 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_a_module_that_cannot_even_be_read_and_none_dies() {
    let (env, module) = (TestEnv::start().await, Module::start_at("M1").await);
    let breaker = "breaker = { failures = 2, pause = \"20ms..100ms\" }\n";
    let level = "level = \"M1\"\n";
    let config = config(&module, "M1").replace(level, &[level, breaker].concat());
    let runtime = env.run(&config).await;
    // More than all of them have attempts.
    module.misbehave((0..16).map(|_| Fault::Refuse(503, "")));
    for n in 0..3 {
        let event = Ce::new(n).data(json!({"key": format!("k{n}"), "n": n}));
        env.send("src.a", &event).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.dead), (3, 0));
    assert_eq!(runtime.target("api").opened, 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_refuses_leaves_the_other_targets_as_they_were() {
    for level in LEVELS {
        let (env, module) = (TestEnv::start().await, Module::start_at(level).await);
        let runtime = env.run(&config(&module, level)).await;
        env.send("src.a", &event(1)).await;
        runtime.settled("p", 1).await;
        module.misbehave([Fault::Refuse(422, "")]);
        env.send("src.a", &event(2)).await;
        let counts = runtime.settled("p", 2).await;
        assert_eq!((counts.done, counts.dead), (1, 1));
        check_law(&runtime.drain().await);
        assert_eq!(held(&env, &module).await, (Some(1), Some(1), 1));
        assert_eq!(env.letters().await[0].reason, DeadReason::Refused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_takes_a_change_and_says_that_it_failed_is_changed_once_in_the_end() {
    let faults = [Fault::FailAfter, Fault::Cut, Fault::Garble];
    let cases = faults
        .into_iter()
        .flat_map(|fault| LEVELS.map(|level| (fault.clone(), level)));
    for (fault, level) in cases {
        let (env, module) = (TestEnv::start().await, Module::start_at(level).await);
        let runtime = env.run(&config(&module, level)).await;
        env.send("src.a", &event(1)).await;
        runtime.settled("p", 1).await;
        module.misbehave([fault]);
        env.send("src.a", &event(2)).await;
        let counts = runtime.settled("p", 2).await;
        assert_eq!(counts.done, 2);
        check_law(&runtime.drain().await);
        assert_eq!(held(&env, &module).await, (Some(2), Some(2), 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_run_changed_is_changed_back() {
    for level in LEVELS {
        let (env, module) = (TestEnv::start().await, Module::start_at(level).await);
        let runtime = env.run(&config(&module, level)).await;
        env.send("src.a", &event(1)).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);

        let file = env.folder().join("atomic.toml");
        std::fs::write(&file, env.text(&config(&module, level))).unwrap();
        let mut process = Process::launch(&file, "die=prepared:1");
        env.send("src.a", &event(2)).await;
        eventually("the program dies", async || process.has_ended()).await;
        assert_eq!(
            held(&env, &module).await,
            (Some(2), Some(2), 1),
            "half an event"
        );
        // Nothing but the log tells of it.
        let source = env.js.get_stream("SRC").await.unwrap();
        source.purge().await.unwrap();
        let runtime = env.run(&config(&module, level)).await;
        eventually("it is changed back", async || {
            held(&env, &module).await == (Some(1), Some(1), 1)
        })
        .await;
        check_law(&runtime.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_was_thought_lost_and_comes_after_a_takeover_changes_nothing() {
    let (env, module) = (TestEnv::start().await, Module::start_at("M2").await);
    let text = config(&module, "M2");
    env.stream("SRC", &["src.>"]).await;
    let mut process = launch(&env, &text, "die=undoing:1");
    assert!(process.is_ready().await);
    // Each time that it is sent.
    module.misbehave([Fault::Delay, Fault::Delay, Fault::Delay]);
    env.send("src.a", &event(1)).await;
    eventually("the program dies", async || process.has_ended()).await;
    env.js
        .get_stream("SRC")
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
    let runtime = env.run(&text).await;
    eventually("it is taken back", async || {
        held(&env, &module).await == (None, None, 0)
    })
    .await;
    module.arrive();
    assert_eq!(held(&env, &module).await, (None, None, 0));
    env.send("src.a", &event(1)).await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(held(&env, &module).await, (Some(1), Some(1), 1));
}
