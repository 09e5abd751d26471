//! Streams, buckets and consumers: made, checked, or taken as they are.

use crate::harness::{Ce, Running, TestEnv, check_law};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Stream;
use serde_json::json;
use std::time::Duration;
use syncline::app::AppError;

/// Copies events of `SRC` to a bucket and a stream, with `CREATE` for each.
const COPY: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = CREATE

[targets.search]
kind = "subject"
subject = "search.{key}"
stream = "SEARCH"
create = CREATE

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = CREATE }
key = "json:/key"
to = [{ target = "crm" }, { target = "search" }]
guarantee = "at-least-once"
limits = { events = 100 }
"#;

fn config(create: &str) -> String {
    COPY.replace("CREATE", create)
}

async fn refusal(env: &TestEnv, config: &str) -> String {
    match Running::try_start(env.parse(config)).await {
        Ok(_) => panic!("the runtime starts with\n{config}"),
        Err(error @ AppError::Unreachable { .. }) => panic!("{error}"),
        Err(error) => error.to_string(),
    }
}

async fn send(env: &TestEnv, id: u32) {
    let event = Ce::new(id).data(json!({"key": format!("c-{id}")}));
    env.send("src.a", &event).await;
}

/// A consumer that somebody else made and that does.
fn fitting() -> pull::Config {
    pull::Config {
        durable_name: Some("syncline-p".to_owned()),
        description: Some("made by hand".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_ack_pending: 50,
        filter_subjects: vec!["src.>".to_owned()],
        ..Default::default()
    }
}

async fn settings(stream: &Stream) -> async_nats::jetstream::consumer::Config {
    stream.consumer_info("syncline-p").await.unwrap().config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_made_refused_or_left_alone() {
    let env = TestEnv::start().await;
    let text = refusal(&env, &config("\"check\"")).await;
    for expected in [
        "bucket `crm` does not exist",
        "stream `SEARCH` does not exist",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let text = refusal(&env, &config("false")).await;
    let expected = "cannot find consumer `syncline-p` on stream `SRC`";
    assert!(text.contains(expected), "{text}");

    let stream = env.stream("SRC", &["src.>"]).await;
    let text = refusal(&env, &config("false")).await;
    let expected = "consumer `syncline-p` on stream `SRC` does not exist, and `create = false`";
    assert!(text.contains(expected), "{text}");
    assert!(env.js.get_stream("KV_crm").await.is_err());

    let runtime = env.run(&config("true")).await;
    send(&env, 1).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    assert_eq!(settings(&stream).await.max_ack_pending, 100);
    assert_eq!(
        (env.kv("crm").await.len(), env.n_messages("SEARCH").await),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_others_is_adopted_where_it_does_and_refused_setting_by_setting_where_not() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    env.stream("SEARCH", &["search.*"]).await;
    env.bucket("crm").await;
    stream.create_consumer(fitting()).await.unwrap();
    for (create, id) in [("\"check\"", 1), ("false", 2)] {
        let runtime = env.run(&config(create)).await;
        send(&env, id).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);
        let held = settings(&stream).await;
        assert_eq!(held.description.as_deref(), Some("made by hand"));
        assert_eq!(held.max_ack_pending, 50);
    }
    assert_eq!(env.kv("crm").await.len(), 2);

    let changed = pull::Config {
        max_deliver: 3,
        ack_wait: Duration::from_secs(5),
        filter_subjects: vec!["src.b".to_owned()],
        ..fitting()
    };
    stream.create_consumer(changed).await.unwrap();
    for create in ["\"check\"", "false"] {
        let text = refusal(&env, &config(create)).await;
        for expected in [
            "pipeline `p`: consumer `syncline-p` on stream `SRC` does not do: ",
            "`max_deliver` is 3, needed is -1",
            "`ack_wait` is 5s, needed is 30s",
            "`filter_subjects` is `src.b`, needed is `src.>`",
            "`create = true`",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert_eq!(
            settings(&stream).await.max_deliver,
            3,
            "nothing was changed"
        );
    }
    let runtime = env.run(&config("true")).await;
    let held = settings(&stream).await;
    assert_eq!((held.max_deliver, held.max_ack_pending), (-1, 100));
    // Those that were acknowledged do not come again.
    send(&env, 3).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_our_own_follows_the_configuration() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    check_law(&env.run(&config("true")).await.drain().await);
    let other = config("\"check\"").replace("events = 100", "events = 70");
    check_law(&env.run(&other).await.drain().await);
    assert_eq!(settings(&stream).await.max_ack_pending, 70);
    let text = refusal(&env, &config("false")).await;
    assert!(
        text.contains("`max_ack_pending` is 70, needed is at most 100"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_consumer_is_refused_whatever_may_be_made() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    let push = async_nats::jetstream::consumer::push::Config {
        durable_name: Some("syncline-p".to_owned()),
        deliver_subject: "out".to_owned(),
        ..Default::default()
    };
    stream.create_consumer(push).await.unwrap();
    let text = refusal(&env, &config("true")).await;
    for expected in [
        "`deliver_subject` is `out` (a push consumer), needed is none",
        "the server cannot change that: delete the consumer, or name another with `consumer`",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_stream_that_never_takes_the_subject_is_refused_or_extended() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    env.bucket("crm").await;
    env.stream("SEARCH", &["other.*"]).await;
    let text = refusal(&env, &config("\"check\"")).await;
    let expected = "stream `SEARCH` takes no subject of `search.*`, only `other.*`";
    assert!(text.contains(expected), "{text}");
    let runtime = env.run(&config("true")).await;
    send(&env, 1).await;
    runtime.settled("p", 1).await;
    assert_eq!(env.n_messages("SEARCH").await, 1);
    check_law(&runtime.drain().await);
}

/// A merge reads the entry and an adopted consumer tells nothing of the stream: what an earlier
/// run did is found out all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_source_goes_back_to_what_was_not_acknowledged() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    env.stream("SEARCH", &["search.*"]).await;
    env.bucket("crm").await;
    stream.create_consumer(fitting()).await.unwrap();
    for id in 1..=20 {
        send(&env, id).await;
    }
    // Taken by somebody who was killed before any answer.
    let consumer = stream
        .get_consumer::<pull::Config>("syncline-p")
        .await
        .unwrap();
    let taken = consumer.fetch().max_messages(10).messages().await.unwrap();
    let n_taken = futures::StreamExt::count(taken).await;
    assert_eq!(n_taken, 10);
    let runtime = env.run(&config("false")).await;
    let counts = runtime.settled("p", 20).await;
    assert_eq!(counts.done, 20);
    check_law(&runtime.drain().await);
    let mut keys = Vec::new();
    for message in env.messages("SEARCH").await {
        keys.push(message.json()["key"].as_str().unwrap().to_owned());
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}
