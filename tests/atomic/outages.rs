//! Targets that are away, or not what was expected, when something is decided.

use super::{die_at, event, pipeline};
use crate::harness::{Ce, PARTS, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use bytes::Bytes;
use serde_json::json;

/// One subject that exists, on the stream `OUT`.
fn out(lines: &str, to: &str) -> String {
    let target = format!(
        "[targets.out]\nkind = \"subject\"\nsubject = \"out.all\"\nstream = \"OUT\"\n{lines}\n"
    );
    let parts = PARTS.replace(", state = true", "");
    [&parts, &*target, &pipeline(to)].concat()
}

fn stream() -> Config {
    Config {
        name: "OUT".to_owned(),
        subjects: vec!["out.>".to_owned()],
        allow_direct: true,
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tries_a_target_in_vain_leaves_its_decisions_to_be_carried_out() {
    let env = TestEnv::start().await;
    let full = Config {
        max_messages: 1,
        discard: DiscardPolicy::New,
        ..stream()
    };
    env.js.create_stream(full).await.unwrap();
    env.publish("out.first", HeaderMap::new(), Bytes::new())
        .await;
    let lines = "breaker = { failures = 2, pause = \"20ms..50ms\" }";
    let runtime = env.run(&out(lines, r#"{ target = "out" }"#)).await;
    for n in 0..6 {
        let event = Ce::new(n).data(json!({"key": format!("k{n}"), "n": n}));
        env.send("src.a", &event).await;
        if n == 0 {
            eventually("the target is left alone", async || {
                runtime.target("out").opened > 0
            })
            .await;
        }
    }
    eventually("one has tried it", async || {
        runtime.target("out").probes > 0
    })
    .await;
    env.js.update_stream(stream()).await.unwrap();
    let counts = runtime.settled("p", 6).await;
    assert_eq!((counts.done, counts.dead), (6, 0));
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("OUT").await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_work_queue_has_taken_is_found_there_again() {
    let env = TestEnv::start().await;
    let queue = Config {
        retention: RetentionPolicy::WorkQueue,
        // Message ids do not help.
        duplicate_window: std::time::Duration::from_millis(100),
        ..stream()
    };
    env.js.create_stream(queue).await.unwrap();
    env.stream("SRC", &["src.>"]).await;
    let config = out("", r#"{ target = "out" }, { target = "crm" }"#);
    env.send("src.a", &event("1", 1)).await;
    die_at(&env, &config, "between-effects").await;
    assert_eq!(env.n_messages("OUT").await, 1);
    // Then ours is not the last one of its subject any more.
    let another = Bytes::from_static(b"another");
    env.publish("out.all", HeaderMap::new(), another).await;
    let runtime = env.run(&config).await;
    eventually("it is carried out", async || {
        env.entry("crm", "k").await == Some(json!({"key": "k", "n": 1}))
    })
    .await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("OUT").await, 2, "none is sent twice");
}
