//! A source stream that is deleted and made anew under its name: its events are others.

use crate::harness::{Ce, Running, TestEnv, check_law, eventually};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
retry = { attempts = 1000, backoff = "10ms..50ms" }
"#;

async fn run(env: &TestEnv) -> Running {
    env.run_with_parts(PIPELINE).await
}

fn value(id: &str, n: u32) -> Ce {
    Ce::new(id).data(json!({"key": "c-1", "n": n}))
}

async fn n_of(env: &TestEnv) -> Option<Value> {
    env.entry("crm", "c-1")
        .await
        .map(|entry| entry["n"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_of_that_name_held_before_does_not_count_as_later() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    for n in 1..=5 {
        env.send("src.a", &value(&format!("old-{n}"), n)).await;
    }
    runtime.settled("p", 5).await;
    check_law(&runtime.drain().await);
    assert_eq!(n_of(&env).await, Some(json!(5)));

    env.js.delete_stream("SRC").await.unwrap();
    env.stream("SRC", &["src.>"]).await;
    // A backlog: to the runtime these may be redeliveries.
    env.send("src.a", &value("new-1", 11)).await;
    env.send("src.a", &value("new-2", 12)).await;
    let runtime = run(&env).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!(counts.done, 2);
    assert_eq!(n_of(&env).await, Some(json!(12)));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_at_work_does_not_stand_for_what_took_its_place() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let stuck = Ce::new("old").data(json!({"key": "stuck", "do": "retry"}));
    env.send("src.a", &stuck).await;
    runtime
        .until("p", "it is at work", |counts| counts.retries > 0)
        .await;
    env.js.delete_stream("SRC").await.unwrap();
    eventually("the runtime has made the stream anew", async || {
        let Ok(stream) = env.js.get_stream("SRC").await else {
            return false;
        };
        stream.consumer_info("syncline-p").await.is_ok()
    })
    .await;
    // Position 1, as the one at work.
    assert_eq!(env.send("src.a", &value("new", 7)).await, 1);
    runtime
        .until("p", "the new one is done", |counts| counts.done == 1)
        .await;
    assert_eq!(n_of(&env).await, Some(json!(7)));
    eventually("the new one is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    let summary = runtime.drain().await;
    assert_eq!(summary.pipelines["p"].done, 1);
}
