//! The breaker: a target that gives no answer is left alone, and its events wait.

use super::large;
use crate::harness::{Ce, Running, TestEnv, check_law, eventually};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use syncline::event::DeadReason;
use tokio::task::JoinSet;
use tokio::time::Instant;

const SILENT: &str = r#"
[targets.out]
kind = "subject"
subject = "out.{key}"
timeout = "100ms"
breaker = { failures = 3, pause = "100ms..400ms" }

[targets.log]
kind = "subject"
subject = "log.{key}"
stream = "LOG"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }
key = "json:/key"
to = [{ target = "log" }, { target = "out", when = { type = "test.event" } }]
guarantee = "at-least-once"
retry = { attempts = 2, backoff = "1ms" }
"#;

/// A module behind `out.*` that takes every effect and answers only when it is told to.
struct Module {
    answers: Arc<AtomicBool>,
    n_asked: Arc<AtomicUsize>,
    _work: JoinSet<()>,
}

impl Module {
    async fn start(env: &TestEnv) -> Self {
        let (answers, n_asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let client = env.client();
        let mut asked = client.subscribe("out.*").await.unwrap();
        let mut work = JoinSet::new();
        let (does, counted): (_, Arc<AtomicUsize>) = (answers.clone(), Arc::clone(&n_asked));
        work.spawn(async move {
            while let Some(message) = asked.next().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if does.load(Ordering::Relaxed) {
                    let ack = "{\"stream\":\"OUT\",\"seq\":1}";
                    let reply = message.reply.unwrap();
                    client.publish(reply, ack.into()).await.unwrap();
                }
            }
        });
        env.client().flush().await.unwrap();
        Self {
            answers,
            n_asked,
            _work: work,
        }
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }

    fn answer(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }
}

async fn tried_in_vain(runtime: &Running, n_probes: u64) {
    eventually("it is tried again and again", async || {
        runtime.target("out").probes >= n_probes
    })
    .await;
}

/// How many messages the stream `LOG` holds for each key.
async fn logged(env: &TestEnv) -> BTreeMap<String, usize> {
    let mut logged = BTreeMap::new();
    for message in env.messages("LOG").await {
        *logged.entry(message.subject).or_default() += 1;
    }
    logged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_silent_target_wait_and_none_dies() {
    let env = TestEnv::start().await;
    let module = Module::start(&env).await;
    let runtime = env.run(SILENT).await;
    env.send_all((0..20).map(|id| large(id, 10))).await;
    tried_in_vain(&runtime, 4).await;
    // More come: they wait without having been tried, and without their first effect.
    let n_before = runtime.target("out").probes;
    let n_asked = module.n_asked();
    env.send_all((20..40).map(|id| large(id, 10))).await;
    runtime
        .until("p", "they are at work", |counts| counts.received == 40)
        .await;
    // What has another way is not held up.
    let other = Ce::new("other").kind("other").data(json!({"key": "other"}));
    env.send("src.a", &other).await;
    let counts = runtime
        .until("p", "the other one is done", |counts| counts.done == 1)
        .await;
    assert_eq!((counts.dead, counts.in_flight), (0, 40));
    tried_in_vain(&runtime, n_before + 4).await;
    let n_probes = runtime.target("out").probes - n_before;
    let n_asked = u64::try_from(module.n_asked() - n_asked).unwrap();
    assert!(
        n_asked <= n_probes + 1,
        "{n_asked} times for {n_probes} tries"
    );
    assert!(runtime.target("out").open);
    let begun = logged(&env).await;
    assert!(!begun.contains_key("log.k-39"), "it was begun: {begun:?}");
    let stream = env.js.get_stream("SRC").await.unwrap();
    let consumer = stream.consumer_info("syncline-p").await.unwrap();
    assert_eq!(consumer.num_redelivered, 0, "what waits is kept alive");

    module.answer();
    let counts = runtime.settled("p", 41).await;
    assert_eq!((counts.done, counts.dead), (41, 0));
    assert!(!runtime.target("out").open);
    let logged = logged(&env).await;
    assert_eq!(logged.len(), 41);
    assert!(logged.values().all(|n| *n == 1), "{logged:?}");
    let summary = runtime.drain().await;
    assert_eq!(summary.targets["out"].opened, 1);
    check_law(&summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_breaker_attempts_are_used_up() {
    let env = TestEnv::start().await;
    let _module = Module::start(&env).await;
    let line = "breaker = { failures = 3, pause = \"100ms..400ms\" }";
    assert!(SILENT.contains(line));
    let runtime = env.run(&SILENT.replace(line, "breaker = false")).await;
    env.send_all((0..20).map(|id| large(id, 10))).await;
    let counts = runtime.settled("p", 20).await;
    assert_eq!((counts.dead, counts.retries), (20, 20));
    let letters = env.letters().await;
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == DeadReason::Exhausted)
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_defaults_an_event_that_is_alone_outlives_a_silent_target() {
    let env = TestEnv::start().await;
    let module = Module::start(&env).await;
    let config = SILENT
        .replace("breaker = { failures = 3, pause = \"100ms..400ms\" }", "")
        .replace("attempts = 2, ", "");
    let runtime = env.run(&config).await;
    env.send_all([large(1, 10)]).await;
    tried_in_vain(&runtime, 1).await;
    assert!(module.n_asked() >= 5, "five attempts before it opens");
    module.answer();
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.dead), (1, 0));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_target_holds_up_neither_the_shutdown_nor_the_order() {
    let env = TestEnv::start().await;
    let module = Module::start(&env).await;
    let config = SILENT.replace("key = \"json:/key\"", "key = \"subject:1\"");
    let config = config
        .replace("100ms..400ms", "50ms..100ms")
        .replace("attempts = 2", "attempts = 5");
    let runtime = env.run(&config).await;
    env.send_all((0..10).map(|id| large(id, 10))).await;
    tried_in_vain(&runtime, 3).await;
    let begun = Instant::now();
    let summary = runtime.drain().await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        summary.pipelines["p"].received, 0,
        "all of it is given back"
    );
    check_law(&summary);

    module.answer();
    let runtime = env.run(&config).await;
    runtime.settled("p", 10).await;
    let keys = env
        .messages("LOG")
        .await
        .into_iter()
        .map(|m| m.json()["key"].clone());
    let keys: Vec<Value> = keys.collect();
    let expected: Vec<Value> = (0..10).map(|id| json!(format!("k-{id}"))).collect();
    assert_eq!(keys, expected);
    check_law(&runtime.drain().await);
}
