//! `dedupe`: an event that ended is known for a while, and a second copy of it is skipped.

use crate::harness::{Ce, PARTS, TestEnv, check_law, check_law_of, eventually};
use async_nats::jetstream::stream::Config;
use serde_json::json;
use syncline::dead_letter::Selection;

fn pipeline(horizon: &str) -> String {
    format!(
        r#"
[pipelines.p]
source = {{ stream = "SRC", subjects = ["src.>"], create = true }}
key = "json:/key"
stages = ["probe"]
to = [{{ target = "search", entity = "customer" }}]
guarantee = "at-least-once"
dedupe = {{ horizon = "{horizon}" }}
retry = {{ attempts = 2, backoff = "1ms..1ms" }}
"#
    )
}

/// Copies of one event whose data differ, so that the target's stream would keep each.
fn copy(id: &str, n: u32) -> Ce {
    Ce::new(id).data(json!({"key": "k", "n": n}))
}

async fn n_markers(env: &TestEnv) -> u64 {
    env.n_messages_on("TX", "tx.done.>").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_copy_is_skipped_after_a_restart_too() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&pipeline("1h")).await;
    env.send("src.a", &copy("1", 1)).await;
    env.send("src.a", &copy("2", 1)).await;
    env.send("src.a", &copy("1", 2)).await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate), (2, 1));
    check_law(&runtime.drain().await);

    let runtime = env.run_with_parts(&pipeline("1h")).await;
    env.send("src.a", &copy("2", 3)).await;
    // Another source makes it another event.
    let mut other = copy("2", 4);
    other.source = "/other".to_owned();
    env.send("src.a", &other).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.duplicate), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("SEARCH").await, 3);
    assert_eq!(n_markers(&env).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_horizon_it_is_an_event_again() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&pipeline("1s")).await;
    env.send("src.a", &copy("1", 1)).await;
    runtime.settled("p", 1).await;
    eventually("the marker is gone", async || n_markers(&env).await == 0).await;
    env.send("src.a", &copy("1", 2)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.duplicate), (2, 0));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_one_is_skipped_and_its_replay_is_not() {
    let env = TestEnv::start().await;
    let config = pipeline("1h").replace(
        r#"to = [{ target = "search", entity = "customer" }]"#,
        r#"to = [{ target = "late" }]"#,
    );
    let late = "[targets.late]\nkind = \"subject\"\nsubject = \"late.{key}\"\n";
    let runtime = env.run(&[PARTS, late, &config].concat()).await;
    env.send("src.a", &copy("1", 1)).await;
    env.send("src.a", &copy("1", 2)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.duplicate), (1, 1));
    assert_eq!(env.letters().await.len(), 1);

    env.stream("LATE", &["late.*"]).await;
    let letters = env.dead_letters().await;
    let open = letters.list(&Selection::default()).await.unwrap();
    letters.replay(&open[0], false).await.unwrap();
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.dead, counts.duplicate), (1, 1, 1));
    env.send("src.a", &copy("1", 3)).await;
    let counts = runtime.settled("p", 4).await;
    assert_eq!((counts.done, counts.duplicate), (1, 2));
    assert_eq!(env.n_messages("LATE").await, 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_nothing_leaves_no_marker() {
    let env = TestEnv::start().await;
    let runtime = env.run_with_parts(&pipeline("1h")).await;
    let dropped = Ce::new("1").data(json!({"key": "k", "do": "drop"}));
    env.send("src.a", &dropped).await;
    env.send("src.a", &dropped.clone().header("x-copy", "2"))
        .await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.filtered, counts.duplicate), (2, 0));
    assert_eq!(n_markers(&env).await, 0);
    check_law(&runtime.drain().await);
}

/// Killed at any time, again and again: nothing is lost, nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_double_nothing() {
    const N_EVENTS: u32 = 400;
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    for n in 0..N_EVENTS {
        let event = Ce::new(n).data(json!({"key": format!("k{}", n % 20), "n": n}));
        env.send("src.a", &event).await;
        // Published twice, the second time with other data.
        let again = Ce::new(n).data(json!({"key": format!("k{}", n % 20), "n": n, "again": true}));
        env.send("src.a", &again).await;
    }
    let config = [PARTS, &pipeline("1h")].concat();
    let mut n_kills = 0;
    for part in 1..=4_u64 {
        let runtime = env.spawn(&config).await;
        let so_far = u64::from(N_EVENTS) * part / 6;
        eventually("some events are through", async || {
            env.n_messages("SEARCH").await >= so_far
        })
        .await;
        runtime.kill();
        n_kills += 1;
    }
    let runtime = env.spawn(&config).await;
    eventually("everything is acknowledged", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    check_law_of(&runtime.drain().await);
    assert_eq!(n_kills, 4);
    let mut seen: Vec<u64> = Vec::new();
    for message in env.messages("SEARCH").await {
        assert_eq!(
            message.json().get("again"),
            None,
            "a second copy had an effect"
        );
        seen.push(message.json()["n"].as_u64().unwrap());
    }
    seen.sort_unstable();
    let expected: Vec<u64> = (0..u64::from(N_EVENTS)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_that_name_that_serves_otherwise_is_refused() {
    let env = TestEnv::start().await;
    let own = Config {
        name: "TX".to_owned(),
        subjects: vec!["their.own".to_owned()],
        ..Default::default()
    };
    env.js.create_stream(own).await.unwrap();
    let config = env.parse(&[PARTS, &pipeline("1h")].concat());
    let Err(error) = crate::harness::Running::try_start(config).await else {
        panic!("it starts");
    };
    let error = error.to_string();
    assert!(error.contains("stream TX for `dedupe` of `p`"), "{error}");
    assert!(error.contains("allow_msg_ttl"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_that_cannot_be_written_holds_the_answer_and_nothing_else() {
    let env = TestEnv::start().await;
    // The room is for markers: no heartbeats meanwhile.
    let rare = "lease = \"10m\"\n";
    let runtime = env.run_with_parts(&[&pipeline("1h"), rare].concat()).await;
    let mut settings = env
        .js
        .get_stream("TX")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    settings.max_messages = i64::try_from(env.n_messages("TX").await).unwrap() + 1;
    env.js.update_stream(&settings).await.unwrap();
    env.send("src.a", &copy("1", 1)).await;
    runtime.settled("p", 1).await;
    env.send("src.a", &copy("2", 2)).await;
    eventually("its effect is there", async || {
        env.n_messages("SEARCH").await == 2
    })
    .await;
    let counts = runtime.counts("p");
    assert_eq!((counts.done, counts.in_flight), (1, 1));
    settings.max_messages = -1;
    env.js.update_stream(&settings).await.unwrap();
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.retries, counts.effects), (2, 0, 2));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_messages_of_a_stream_made_anew_are_no_copies() {
    let env = TestEnv::start().await;
    let config = pipeline("1h").replace("stages = [\"probe\"]\n", "");
    let config = config.replace("key = \"json:/key\"\n", "");
    let raw = async |text: &'static str| {
        let ack = env.js.publish("src.a", text.into()).await.unwrap();
        ack.await.unwrap();
    };
    let runtime = env.run_with_parts(&config).await;
    raw("old").await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    env.js.delete_stream("SRC").await.unwrap();
    let runtime = env.run_with_parts(&config).await;
    raw("new").await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.duplicate), (1, 0));
    assert_eq!(env.n_messages("SEARCH").await, 2);
    check_law(&runtime.drain().await);
}
