//! `syncline pipeline`: what runs, and a pause that every runtime keeps, over restarts.

use crate::cli::{command::Said, in_dir};
use crate::harness::{Ce, TestEnv, check_law, eventually};
use serde_json::{Value, json};

const PLAIN: &str = r#"
[targets.out]
kind = "subject"
subject = "out.{key}"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
to = [{ target = "out" }]
guarantee = "at-least-once"
retry = { attempts = 1000, backoff = "50ms" }
"#;

fn event(n: u64) -> (String, Ce) {
    let event = Ce::new(n).data(json!({"key": "k", "n": n}));
    ("src.a".to_owned(), event)
}

/// `syncline pipeline ARGS` against the server.
fn pipeline(env: &TestEnv, args: &[&str]) -> Said {
    let url = env.nats.url();
    in_dir(
        env.folder(),
        &[&["pipeline"], args, &["--nats", &url]].concat(),
        "",
    )
}

/// What `list` says of a pipeline.
fn listed(env: &TestEnv, name: &str) -> Value {
    let text = pipeline(env, &["list", "--json"]).fine();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let found: Vec<Value> = lines
        .filter(|line: &Value| line["pipeline"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{text}");
    found[0].clone()
}

async fn numbers(env: &TestEnv) -> Vec<u64> {
    let messages = env.messages("OUT").await;
    let numbers = messages.iter().map(|message| message.json()["n"].as_u64());
    numbers.map(Option::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_over_a_restart_until_it_is_resumed() {
    let env = TestEnv::start().await;
    env.stream("OUT", &["out.*"]).await;
    assert_eq!(pipeline(&env, &["list"]).fine(), "no pipelines\n");
    let runtime = env.run(PLAIN).await;
    env.send_all((0..5).map(event)).await;
    runtime.settled("p", 5).await;
    assert_eq!(pipeline(&env, &["pause", "p"]).fine(), "p: paused\n");

    env.send_all((5..8).map(event)).await;
    let seen = listed(&env, "p");
    assert_eq!(
        (&seen["state"], &seen["lag"]),
        (&json!("paused"), &json!(3))
    );
    assert_eq!(
        (&seen["in_flight"], &seen["source"]),
        (&json!(0), &json!("SRC"))
    );
    assert_eq!(seen["runtimes"].as_array().unwrap().len(), 1, "{seen}");
    let summary = runtime.drain().await;
    assert_eq!(summary.pipelines["p"].received, 5);

    let seen = listed(&env, "p");
    assert_eq!(
        (&seen["state"], &seen["runtimes"]),
        (&json!("paused"), &json!([]))
    );
    let runtime = env.run(PLAIN).await;
    let seen = listed(&env, "p");
    assert_eq!(
        (&seen["state"], &seen["lag"]),
        (&json!("paused"), &json!(3))
    );
    assert_eq!(runtime.counts("p").received, 0);

    assert_eq!(pipeline(&env, &["resume", "p"]).fine(), "p: running\n");
    runtime.settled("p", 3).await;
    assert_eq!(numbers(&env).await, [0, 1, 2, 3, 4, 5, 6, 7]);
    check_law(&runtime.drain().await);
    let table = pipeline(&env, &["list"]).fine();
    assert!(table.contains("not running"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pausing_and_resuming_under_load_keeps_the_order_and_loses_nothing() {
    let env = TestEnv::start().await;
    env.stream("OUT", &["out.*"]).await;
    let runtime = env.run(PLAIN).await;
    let load = async {
        for n in 0..600 {
            let (subject, event) = event(n);
            env.send(&subject, &event).await;
        }
    };
    let turning = async {
        for _ in 0..3 {
            for verb in ["pause", "resume"] {
                let wish = format!("{{\"paused\":{}}}", verb == "pause");
                let store = env.js.get_key_value("SYNCLINE_CONTROL").await.unwrap();
                store.put("pipeline.p", wish.into()).await.unwrap();
                let expected = if verb == "pause" { "paused" } else { "running" };
                eventually(verb, async || listed(&env, "p")["state"] == expected).await;
            }
        }
    };
    futures::join!(load, turning);
    runtime
        .until("p", "everything has ended", |counts| counts.done >= 600)
        .await;
    assert_eq!(numbers(&env).await, (0..600).collect::<Vec<_>>());
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_at_work_end_while_their_pipeline_is_paused() {
    let env = TestEnv::start().await;
    let runtime = env.run(PLAIN).await;
    env.send_all((0..3).map(event)).await;
    runtime
        .until("p", "one is tried again", |counts| counts.retries > 0)
        .await;
    let said = pipeline(&env, &["pause", "p"]);
    assert!(
        said.stderr.contains("3 events are at work and end"),
        "{said:?}"
    );
    assert_eq!(said.fine(), "p: pausing\n");
    env.send_all((3..5).map(event)).await;

    env.stream("OUT", &["out.*"]).await;
    eventually("they have ended", async || {
        listed(&env, "p")["state"] == "paused"
    })
    .await;
    assert_eq!(numbers(&env).await, [0, 1, 2]);
    pipeline(&env, &["resume", "p"]).fine();
    runtime.settled("p", 5).await;
    assert_eq!(numbers(&env).await, [0, 1, 2, 3, 4]);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_is_seen_after_the_server_was_killed_and_after_its_bucket_was_deleted() {
    let env = TestEnv::start().await;
    env.stream("OUT", &["out.*"]).await;
    let runtime = env.run(PLAIN).await;
    env.nats.kill();
    env.nats.restart().await;
    eventually("the runtime is back", async || {
        let said = pipeline(&env, &["list", "--json"]);
        said.stdout.contains("\"running\"")
    })
    .await;
    pipeline(&env, &["pause", "p"]).fine();
    eventually("it is paused", async || {
        listed(&env, "p")["state"] == "paused"
    })
    .await;

    env.js.delete_key_value("SYNCLINE_CONTROL").await.unwrap();
    env.send_all((0..2).map(event)).await;
    pipeline(&env, &["resume", "p"]).fine();
    runtime.settled("p", 2).await;
    pipeline(&env, &["pause", "p"]).fine();
    eventually("it is paused again", async || {
        listed(&env, "p")["state"] == "paused"
    })
    .await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_wait_for_their_pipeline_to_be_resumed() {
    let env = TestEnv::start().await;
    let config = PLAIN.replace("attempts = 1000", "attempts = 1");
    let runtime = env.run(&config).await;
    env.send_all([event(1)]).await;
    runtime
        .until("p", "it is dead", |counts| counts.dead == 1)
        .await;
    env.stream("OUT", &["out.*"]).await;
    pipeline(&env, &["pause", "p"]).fine();
    let url = env.nats.url();
    let replay = ["dlq", "replay", "--pipeline", "p", "--nats", &url];
    in_dir(env.folder(), &replay, "").fine();
    assert_eq!(listed(&env, "p")["state"], "paused");
    assert_eq!(runtime.counts("p").received, 1);
    let replays = env.unacked("SYNCLINE_DLQ", "replay-p").await;
    assert_eq!(replays, (0, 1), "it was not even asked for");

    pipeline(&env, &["resume", "p"]).fine();
    runtime.settled("p", 2).await;
    assert_eq!(numbers(&env).await, [1]);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_source_is_paused_too_and_says_what_that_costs() {
    let env = TestEnv::start().await;
    env.stream("OUT", &["out.*"]).await;
    let source = "source = { stream = \"SRC\", subjects = [\"src.>\"], create = true }";
    let config = PLAIN.replace(source, "source = { subject = \"src.>\" }");
    let process = env.spawn(&config).await;
    let send = async |n: u64| {
        let (subject, event) = event(n);
        let sent = env.client();
        sent.publish_with_headers(subject, event.headers(), event.data)
            .await
            .unwrap();
        env.client().flush().await.unwrap();
    };
    eventually("it listens", async || {
        send(1).await;
        env.n_messages("OUT").await > 0
    })
    .await;
    assert_eq!(pipeline(&env, &["pause", "p"]).fine(), "p: paused\n");
    assert_eq!(listed(&env, "p")["source"], "src.>");
    send(2).await;
    assert_eq!(pipeline(&env, &["resume", "p"]).fine(), "p: running\n");
    eventually("it listens again", async || {
        send(3).await;
        numbers(&env).await.contains(&3)
    })
    .await;
    assert!(!numbers(&env).await.contains(&2));
    let log = process.log();
    assert!(log.contains("what is published now is lost to it"), "{log}");
    process.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_is_nowhere_is_not_paused() {
    let env = TestEnv::start().await;
    let said = pipeline(&env, &["pause", "q"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.stderr
            .contains("there are no pipelines on this server"),
        "{said:?}"
    );
    let runtime = env.run(PLAIN).await;
    for verb in ["pause", "resume"] {
        let said = pipeline(&env, &[verb, "q"]);
        assert_eq!(said.code, 1, "{said:?}");
        insta::assert_snapshot!(format!("pipeline-{verb}-unknown"), said.whole());
    }
    let said = in_dir(
        env.folder(),
        &["pipeline", "list", "--nats", "nats://127.0.0.1:1"],
        "",
    );
    assert_eq!(said.code, 3, "{said:?}");
    check_law(&runtime.drain().await);
}
