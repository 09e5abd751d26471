//! An event that is given up is stored whole, with its story, before it is acknowledged.

use crate::harness::{Ce, PARTS, Running, TestEnv, check_law, check_law_of, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use syncline::dead_letter::{STREAM, Selection};
use syncline::event::DeadReason;

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

async fn run(env: &TestEnv) -> Running {
    env.run_with_parts(PIPELINE).await
}

fn bad(id: impl ToString, key: &str, step: &str) -> Ce {
    Ce::new(id).data(json!({"key": key, "do": step}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_holds_the_original_and_the_whole_story() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let data = json!({"key": "k", "do": "retry", "reason": "the CRM is away"});
    let event = Ce::new("e-1")
        .kind("customer.created")
        .data(data)
        .header("X-Own", "kept")
        .header("traceparent", traceparent);
    let sequence = env.send("src.a.b", &event).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.dead, counts.retries), (1, 2));

    let letters = env.letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.pipeline, "p");
    assert!(letter.id.starts_with("p."), "{}", letter.id);
    assert_eq!(letter.reason, DeadReason::Exhausted);
    assert_eq!(letter.error, "the CRM is away");
    assert_eq!(letter.key, "k");
    assert_eq!(letter.event_id.as_deref(), Some("e-1"));
    assert_eq!(letter.event_source.as_deref(), Some("/test"));
    assert_eq!(letter.event_type.as_deref(), Some("customer.created"));
    assert_eq!(letter.traceparent.as_deref(), Some(traceparent));
    let digest = runtime.digest("probe", "p");
    assert_eq!(digest.len(), 64);
    assert_eq!(letter.plugins, [("probe".to_owned(), digest.clone())]);

    assert_eq!(letter.attempts, 3);
    let attempts: Vec<_> = letter
        .history
        .iter()
        .map(|failure| failure.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    for failure in &letter.history {
        assert_eq!(failure.error, "the CRM is away");
        assert_eq!(failure.place.as_deref(), Some("probe"));
        assert_eq!(failure.digest, Some(digest.clone()));
        assert!(
            failure.at <= letter.at,
            "{} after {}",
            failure.at,
            letter.at
        );
    }

    assert_eq!((&*letter.stream, letter.sequence), ("SRC", sequence));
    assert_eq!(letter.subject, "src.a.b");
    assert_eq!(letter.headers.get("X-Own"), Some("kept"));
    assert_eq!(letter.headers.get("ce-id"), Some("e-1"));
    assert_eq!(letter.payload_bytes, event.data.len());
    assert_eq!(letter.payload_base64, Some(STANDARD.encode(&event.data)));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_chosen_by_pipeline_key_and_reason() {
    let env = TestEnv::start().await;
    let other = PIPELINE
        .replace("pipelines.p", "pipelines.q")
        .replace("SRC", "TWO");
    let other = other.replace("src.>", "two.>");
    let runtime = env.run_with_parts(&[PIPELINE, &other].concat()).await;
    env.send("src.a", &bad(1, "x", "reject")).await;
    env.send("src.a", &bad(2, "y", "trap")).await;
    env.send("two.a", &bad(3, "x", "trap")).await;
    runtime.settled("p", 2).await;
    runtime.settled("q", 1).await;

    let store = env.dead_letters().await;
    let all = Selection::default();
    let choices = [
        (all.clone(), 3),
        (
            Selection {
                pipeline: Some("p".into()),
                ..all.clone()
            },
            2,
        ),
        (
            Selection {
                key: Some("x".into()),
                ..all.clone()
            },
            2,
        ),
        (
            Selection {
                reason: Some(DeadReason::Trap),
                ..all.clone()
            },
            2,
        ),
        (
            Selection {
                limit: Some(1),
                ..all.clone()
            },
            1,
        ),
        (
            Selection {
                pipeline: Some("q".into()),
                key: Some("y".into()),
                ..all
            },
            0,
        ),
    ];
    for (selection, expected) in choices {
        let listed = store.list(&selection).await.unwrap();
        assert_eq!(listed.len(), expected, "{selection:?}: {listed:?}");
    }
    assert_eq!(store.get("p.unknown").await.unwrap(), None);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_too_large_for_the_letter_lies_in_the_object_store() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    // With the headers that a write adds it is more than the server takes.
    let payload = vec![0xff_u8; 1 << 20];
    env.send_raw("src.large", payload.clone()).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    let letter = &env.letters().await[0];
    assert_eq!(letter.reason, DeadReason::Refused);
    assert_eq!(letter.payload_bytes, payload.len());
    let kept = letter.payload_base64.as_ref().unwrap();
    assert!(
        STANDARD.decode(kept).unwrap() == payload,
        "the payload changed"
    );
    let raw: Value = env.messages(STREAM).await[0].json();
    let object = raw["payload_object"].as_str().unwrap();
    assert!(object.starts_with(&letter.id), "{object}");
    assert_eq!(raw["payload_base64"], Value::Null);
    check_law(&runtime.drain().await);
}

/// Waits until a bad event has failed and is still not acknowledged.
async fn waits_unacknowledged(env: &TestEnv, runtime: &Running) {
    let at_work = |counts: &syncline::telemetry::PipelineCounts| counts.in_flight == 1;
    runtime.until("p", "the event is at work", at_work).await;
    eventually("the server waits for an answer", async || {
        env.unacked("SRC", "syncline-p").await == (1, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_not_acknowledged_before_its_letter_is_stored() {
    let env = TestEnv::start().await;
    let process = env.spawn(&[PARTS, PIPELINE].concat()).await;
    env.send("src.a", &bad(1, "k", "reject")).await;
    let acked = async || env.unacked("SRC", "syncline-p").await == (0, 0);
    eventually("the first letter is stored", acked).await;

    let stream = env.js.get_stream(STREAM).await.unwrap();
    let mut settings = stream.cached_info().config.clone();
    settings.max_messages = 1;
    env.js.update_stream(&settings).await.unwrap();
    env.send("src.a", &bad(2, "k", "reject")).await;
    let failed = async || {
        process
            .log()
            .contains("cannot store the dead letter, trying again")
    };
    eventually("the second letter finds no room", failed).await;
    assert_eq!(env.unacked("SRC", "syncline-p").await, (1, 0));
    assert_eq!(env.n_messages(STREAM).await, 1);

    settings.max_messages = -1;
    env.js.update_stream(&settings).await.unwrap();
    eventually("the second letter is stored", acked).await;
    assert_eq!(env.letters().await.len(), 2);
    let summary = process.drain().await;
    check_law_of(&summary);
    assert_eq!(summary["pipelines"]["p"]["dead"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_waits_for_a_stream_that_was_deleted() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    env.js.delete_stream(STREAM).await.unwrap();
    env.send("src.a", &bad(1, "k", "reject")).await;
    waits_unacknowledged(&env, &runtime).await;
    // Opening makes the stream again.
    env.dead_letters().await;
    runtime.settled("p", 1).await;
    assert_eq!(env.letters().await.len(), 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_letter_could_not_be_stored_is_given_back_at_shutdown() {
    let env = TestEnv::start().await;
    let runtime = run(&env).await;
    env.js.delete_stream(STREAM).await.unwrap();
    env.send("src.a", &bad(1, "k", "reject")).await;
    waits_unacknowledged(&env, &runtime).await;
    let summary = runtime.drain().await;
    check_law(&summary);
    assert_eq!(summary.pipelines["p"].received, 0);

    let runtime = run(&env).await;
    runtime.settled("p", 1).await;
    assert_eq!(env.letters().await.len(), 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_letter_and_no_log_line() {
    let env = TestEnv::start().await;
    std::fs::write(env.folder().join("token"), "hunter22\n").unwrap();
    let secret = r#"
        [plugins.keeper]
        path = "${PROBE}"
        config = { start = "log" }
        grants = { secrets = ["token"] }
        [secrets.token]
        file = "token"
    "#;
    let pipeline = PIPELINE.replace("\"probe\"", "\"keeper\"");
    let process = env.spawn(&[PARTS, secret, &pipeline].concat()).await;
    let ask = json!({"do": "secret", "name": "token"});
    let tell = "the CRM refused $results";
    let endings = [
        json!({"do": "reject", "reason": tell}),
        json!({"do": "retry", "reason": tell}),
        json!({"do": "trap", "message": tell}),
    ];
    for (n, ending) in endings.into_iter().enumerate() {
        let data = json!({"key": "k", "steps": [ask, ending]});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let buried = async || env.letters().await.len() == 3;
    eventually("three letters are stored", buried).await;
    let letters = env.letters().await;
    for letter in &letters {
        assert!(letter.error.contains("[secret token]"), "{}", letter.error);
    }
    for message in env.messages(STREAM).await {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        assert!(!text.contains("hunter22"), "{text}");
    }
    let log = process.log();
    assert!(log.contains("token=[secret token]"), "{log}");
    check_law_of(&process.drain().await);
    assert!(!log.contains("hunter22"), "{log}");
}
