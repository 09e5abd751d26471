//! `on_failure = "stop"`: the pipeline stops at an event that failed for good, and begins again with it.

use crate::harness::{Ce, TestEnv, check_law, check_law_of, eventually};
use serde_json::json;

const STOPPING: &str = r#"
[targets.late]
kind = "subject"
subject = "late.{key}"

[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "late", when = { type = "late" } }, { target = "out" }]
guarantee = "at-least-once"
retry = { attempts = 2, backoff = "1ms..1ms" }
on_failure = "stop"
"#;

/// On the same stream, and does not stop.
const OTHER: &str = r#"
[pipelines.other]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "out" }]
guarantee = "at-least-once"
"#;

fn event(id: u32, kind: &str) -> Ce {
    Ce::new(id).kind(kind).data(json!({"key": "k", "n": id}))
}

async fn held(env: &TestEnv, stream: &str) -> Vec<u64> {
    let messages = env.messages(stream).await;
    let numbers = messages.iter().map(|message| message.json()["n"].as_u64());
    numbers.map(Option::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_stops_and_begins_again_with_the_same_event() {
    let env = TestEnv::start().await;
    let process = env.spawn(STOPPING).await;
    env.send("src.a", &event(1, "plain")).await;
    env.send("src.a", &event(2, "late")).await;
    env.send("src.a", &event(3, "plain")).await;
    // No pipeline is left, so the program ends by itself, and not well.
    let (status, summary, log) = process.ended_somehow().await;
    assert_eq!(status, Some(1), "{log}");
    check_law_of(&summary);
    let counts = &summary["pipelines"]["p"];
    assert_eq!(
        (&counts["stopped"], &counts["dead"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(held(&env, "OUT").await[..1], [1]);
    let line = log
        .lines()
        .find(|line| line.contains("the pipeline stops at it"));
    let line = line.unwrap_or_else(|| panic!("nothing says so: {log}"));
    assert!(line.contains("sequence=2"), "{line}");
    assert_eq!(env.letters().await, []);
    assert!(!held(&env, "OUT").await.contains(&3), "3 has overtaken 2");

    // What it failed at is mended.
    env.stream("LATE", &["late.*"]).await;
    let runtime = env.run(STOPPING).await;
    eventually("everything is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    assert_eq!(held(&env, "LATE").await, [2]);
    assert_eq!(held(&env, "OUT").await, [1, 2, 3]);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_pipelines_go_on() {
    let env = TestEnv::start().await;
    let runtime = env.run(&[STOPPING, OTHER].concat()).await;
    env.send("src.a", &event(1, "late")).await;
    runtime
        .until("p", "it has stopped", |counts| counts.stopped)
        .await;
    env.send("src.a", &event(2, "plain")).await;
    let counts = runtime.settled("other", 2).await;
    assert_eq!((counts.done, counts.stopped), (2, false));
    let summary = runtime.drain().await;
    assert_eq!(summary.pipelines["p"].received, 0, "given back");
    check_law(&summary);
}
