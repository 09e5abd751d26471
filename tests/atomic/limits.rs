//! What is more than the server takes is given up with what to do about it, and nothing waits for it.

use super::{event, pipeline, two_merges};
use crate::harness::{Ce, PARTS, TestEnv, check_law};
use async_nats::jetstream::stream;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_of_more_messages_than_the_server_takes_at_once_is_given_up() {
    let env = TestEnv::with_server_settings("limits { batch { max_msgs: 4 } }").await;
    let left = "[targets.left]\nkind = \"subject\"\nsubject = \"out.left.{key}\"\nstream = \"TX\"\ncreate = true\n";
    let parts = PARTS.replace(", state = true", "");
    let config = [&parts, left, &*pipeline(r#"{ target = "left" }"#)].concat();
    let runtime = env.run(&config).await;
    let effects: Vec<_> = (0..4)
        .map(|n| json!({"target": "left", "key": n.to_string(), "payload": n}))
        .collect();
    let accept = json!({"do": "accept", "effects": effects});
    let large = Ce::new("large").data(json!({"key": "k", "steps": [accept]}));
    env.send("src.a", &large).await;
    // Of these one batch would be more than that as well.
    env.send_all((0..20).map(|n| {
        let data = json!({"key": format!("k{n}"), "n": n});
        ("src.a".to_owned(), Ce::new(n).data(data))
    }))
    .await;
    let counts = runtime.settled("p", 21).await;
    assert_eq!((counts.done, counts.dead), (20, 1));
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages_on("TX", "out.left.>").await, 20);
    let why = &env.letters().await[0].error;
    assert!(why.contains("set `max_msgs` in its `jetstream"), "{why}");
    assert!(why.contains("to 5 or more"), "{why}");
}

/// Makes what the stream of decisions takes smaller, as somebody may who looks after the server.
async fn narrow(env: &TestEnv) {
    let stream = env.js.get_stream("TX").await.unwrap();
    let narrow = stream::Config {
        max_message_size: 20_000,
        ..stream.cached_info().config.clone()
    };
    env.js.update_stream(narrow).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_more_bytes_than_the_stream_takes_by_now_is_given_up() {
    let parts = PARTS.replace(", state = true", "");
    let to = pipeline(r#"{ target = "crm" }"#);
    let text = "x".repeat(30_000);
    let large = json!({"key": "k", "n": 2, "text": text});
    let put = json!({"do": "state", "op": "put", "key": "large", "value": text});
    let cases = [
        ([&parts, &*to].concat(), large.clone()),
        // With a log record.
        (two_merges(), large),
        // With something beside the decision.
        (
            [PARTS, &*to].concat(),
            json!({"key": "k", "steps": [put, {"do": "drop"}]}),
        ),
    ];
    for (config, data) in cases {
        let env = TestEnv::start().await;
        let runtime = env.run(&config).await;
        env.send("src.a", &event("1", 1)).await;
        assert_eq!(runtime.settled("p", 1).await.done, 1);
        narrow(&env).await;
        env.send("src.a", &Ce::new("2").data(data)).await;
        env.send("src.a", &event("3", 3)).await;
        let counts = runtime.settled("p", 3).await;
        assert_eq!((counts.done, counts.dead), (2, 1));
        check_law(&runtime.drain().await);
        let letters = env.letters().await;
        let why = &letters[0].error;
        assert!(why.contains("holds at most 20000"), "{why}");
        assert!(why.contains("`max_msg_size` of the stream"), "{why}");
    }
}
