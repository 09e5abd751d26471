//! Attempts that failed are known to whoever takes over: a kill gives no extra ones.

use crate::harness::{Ce, TestEnv, check_law, check_law_of, eventually};
use async_nats::jetstream::stream::Config;
use serde_json::{Value, json};

/// Its target takes nothing until there is a stream for `late.*`.
fn pipeline(backoff: &str) -> String {
    format!(
        r#"
[targets.late]
kind = "subject"
subject = "late.{{key}}"

[pipelines.p]
source = {{ stream = "SRC", subjects = ["src.>"], create = true }}
key = "json:/key"
to = [{{ target = "late" }}]
guarantee = "at-least-once"
retry = {{ attempts = 3, backoff = "{backoff}" }}
"#
    )
}

fn event(id: u32) -> Ce {
    Ce::new(id).data(json!({"key": "k", "n": id}))
}

/// What is kept of the attempts at events.
async fn kept(env: &TestEnv) -> Vec<Value> {
    let messages = env.messages("TX").await.into_iter();
    let tries = messages.filter(|message| message.subject.starts_with("tx.try.p."));
    tries.map(|message| message.json()).collect()
}

async fn until_tried(env: &TestEnv, attempts: u64) {
    eventually("the failed attempt is recorded", async || {
        let kept = kept(env).await;
        kept.iter().any(|record| record["attempts"] == attempts)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_attempts_gives_no_extra_ones() {
    let env = TestEnv::start().await;
    // Nothing but a kill ends the pause.
    let config = pipeline("1h..1h");
    let process = env.spawn(&config).await;
    env.send("src.a", &event(1)).await;
    until_tried(&env, 1).await;
    process.kill();
    let process = env.spawn(&config).await;
    until_tried(&env, 2).await;
    assert_eq!(kept(&env).await.len(), 1, "the earlier one is replaced");
    process.kill();

    // The third is the last.
    let process = env.spawn(&config).await;
    eventually("the event is given up", async || {
        !env.letters().await.is_empty()
    })
    .await;
    check_law_of(&process.drain().await);
    let letters = env.letters().await;
    let attempts: Vec<_> = letters[0].history.iter().map(|f| f.attempt).collect();
    assert_eq!((letters.len(), letters[0].attempts), (1, 3));
    assert_eq!(attempts, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_succeeds_at_once_leaves_nothing_and_a_copy_counts_for_itself() {
    let env = TestEnv::start().await;
    let runtime = env.run(&pipeline("1ms..1ms")).await;
    env.send("src.a", &event(1)).await;
    runtime.settled("p", 1).await;
    // Published again, it is tried three times as well.
    env.send("src.a", &event(1)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.retries), (2, 4));
    env.stream("LATE", &["late.*"]).await;
    env.send("src.a", &event(2)).await;
    runtime.settled("p", 3).await;
    assert_eq!(kept(&env).await.len(), 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_cannot_be_recorded_are_counted_in_memory_and_said() {
    let env = TestEnv::start().await;
    let process = env.spawn(&pipeline("1ms..1ms")).await;
    let stream = env.js.get_stream("TX").await.unwrap();
    // Leases fit, what was tried does not.
    let small = Config {
        max_message_size: 256,
        ..stream.cached_info().config.clone()
    };
    env.js.update_stream(small).await.unwrap();
    env.send("src.a", &event(1)).await;
    eventually("the event is given up", async || {
        !env.letters().await.is_empty()
    })
    .await;
    assert_eq!(env.letters().await[0].history.len(), 3);
    assert_eq!(kept(&env).await.len(), 0);
    let log = process.log();
    assert!(log.contains("a failed attempt is not recorded"), "{log}");
    check_law_of(&process.drain().await);
}
