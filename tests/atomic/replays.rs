//! Replays with `guarantee = "atomic"`: what an earlier generation of an event had come to stays so.

use super::{die_at, event, numbers, pipeline, two_merges};
use crate::cli::in_dir;
use crate::harness::{Ce, PARTS, TestEnv, check_law};
use serde_json::json;

fn replay(env: &TestEnv) {
    let url = env.nats.url();
    let args = ["dlq", "replay", "--pipeline", "p", "--nats", &url];
    assert_eq!(in_dir(env.folder(), &args, "").fine(), "replayed 1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_had_ended_is_not_begun_again_because_its_replay_was_taken_back() {
    let env = TestEnv::start().await;
    let config = two_merges();
    let runtime = env.run(&config).await;
    let steps = json!([{"do": "reject", "reason": "no"}]);
    let rejected = Ce::new("1").data(json!({"key": "k", "n": 1, "steps": steps}));
    env.send("src.a", &rejected).await;
    assert_eq!(runtime.settled("p", 1).await.dead, 1);
    check_law(&runtime.drain().await);

    let lenient = config.replace(r#"stages = ["probe"]"#, "stages = []");
    replay(&env);
    die_at(&env, &lenient, "prepared").await;
    assert_eq!(numbers(&env).await, (0, Some(1), Some(1)), "half a replay");
    // The second copy comes first: nobody asks for the replay any more.
    let letters = env.js.get_stream("SYNCLINE_DLQ").await.unwrap();
    let requests = letters.purge().filter("syncline.replay.p.>");
    assert_eq!(requests.await.unwrap().purged, 1);
    let runtime = env.run(&lenient).await;
    env.send("src.a", &event("1", 2)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.duplicate), (0, 1));
    assert_eq!(numbers(&env).await, (0, None, None), "it is taken back");

    replay(&env);
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.replayed), (1, 1));
    env.send("src.a", &event("1", 3)).await;
    assert_eq!(runtime.settled("p", 3).await.duplicate, 2);
    check_law(&runtime.drain().await);
    assert_eq!(numbers(&env).await, (1, Some(1), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_a_later_event_wrote_does_not_go_back() {
    let env = TestEnv::start().await;
    let to = r#"{ target = "crm" }, { target = "search", entity = "c" }"#;
    let parts = PARTS.replace(", state = true", "");
    let config = [&*parts, &pipeline(to)].concat();
    let runtime = env.run(&config).await;
    let steps = json!([{"do": "reject", "reason": "no"}]);
    let rejected = Ce::new("1").data(json!({"key": "k", "n": 1, "steps": steps}));
    env.send("src.a", &rejected).await;
    env.send("src.a", &event("2", 2)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.done), (1, 1));
    check_law(&runtime.drain().await);

    let runtime = env
        .run(&config.replace(r#"stages = ["probe"]"#, "stages = []"))
        .await;
    replay(&env);
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(env.entry("crm", "k").await.unwrap()["n"], 2);
    assert_eq!(env.n_messages("SEARCH").await, 2);
}
