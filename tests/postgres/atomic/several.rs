//! Several databases, or one and what is changed before the decision: prepared, then committed
//! everywhere or nowhere.

use super::{Held, NOTHING, World, event, launch};
use crate::cli::in_dir;
use crate::harness::{Ce, Running, check_law, eventually};
use serde_json::json;
use syncline::app::AppError;

pub(super) const TO: &str = r#"{ target = "table" }, { target = "second", operation = "append" }, { target = "entries", operation = "merge" }, { target = "messages" }"#;

/// What so many events leave, of which the last one carried `n`.
pub(super) fn after(n_events: u32, n: i64) -> Held {
    Held {
        n: Some(n),
        booked: 0,
        second: n_events.into(),
        messages: n_events.into(),
        entry: Some(n),
    }
}

pub(super) async fn check_clean(world: &World) {
    assert_eq!(world.n_prepared().await, 0);
    let log = world.logged().await;
    assert!(!log.iter().any(|state| state == "PREPARING"), "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_an_entry_and_a_message_change_together_and_once() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    env.send("src.a", &event("1", 1)).await;
    env.send("src.a", &event("2", 2)).await;
    env.send("src.a", &event("1", 3)).await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate, counts.effects), (2, 1, 8));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(2, 2));
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_database_refuses_changes_nothing_anywhere() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    let small = "ALTER TABLE booked ADD CONSTRAINT small CHECK ((data->'n')::int < 10)";
    world.server.sql("second", small).await;
    let runtime = env.run(&config).await;
    env.send("src.a", &event("1", 11)).await;
    env.send("src.a", &event("2", 2)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(1, 2));
    let letters = env.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].error.contains("target `second`"),
        "{}",
        letters[0].error
    );
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_prepared_and_not_decided_is_taken_back_without_the_event() {
    // The server of the databases is killed as well.
    for (point, is_server_killed) in [
        ("begun", false),
        ("between-effects", true),
        ("prepared", true),
        ("prepared", false),
    ] {
        let world = World::start(8).await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event("1", 1)).await;
        world.die_at(&config, point).await;
        assert_eq!(world.n_prepared().await > 0, point != "begun", "{point}");
        if is_server_killed {
            world.server.kill();
            world.server.restart().await;
        }
        world.forget_the_event().await;
        let runtime = env.run(&config).await;
        world.until("what was begun is taken back", NOTHING).await;
        env.send("src.a", &event("1", 2)).await;
        let counts = runtime.settled("p", 1).await;
        assert_eq!(counts.done, 1, "died at {point}");
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, after(1, 2), "died at {point}");
        check_clean(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_committed_everywhere_without_the_event() {
    // Of the hits between effects the first two are before the decision.
    for fault in [
        "decided:1",
        "between-effects:3",
        "between-effects:4",
        "applied:1",
    ] {
        let world = World::start(8).await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event("1", 1)).await;
        let mut dying = launch(env, &config, &format!("die={fault}"));
        eventually("the program dies", async || dying.has_ended()).await;
        if fault == "decided:1" {
            assert_eq!(world.n_prepared().await, 2);
            world.server.kill();
            world.server.restart().await;
        }
        world.forget_the_event().await;
        let runtime = env.run(&config).await;
        world.until("what was decided is done", after(1, 1)).await;
        env.send("src.a", &event("1", 2)).await;
        let counts = runtime.settled("p", 1).await;
        assert_eq!(counts.duplicate, 1, "died at {fault}");
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, after(1, 1), "died at {fault}");
        check_clean(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_runtime_takes_over_from_one_that_is_stopped_in_the_middle() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    // It stands still with everything prepared, goes on when its lease is gone, and dies then.
    env.send("src.a", &event("1", 1)).await;
    let mut stopped = launch(env, &config, "die=prepared:1:60000");
    eventually("everything is prepared", async || {
        world.n_prepared().await == 2
    })
    .await;
    stopped.pause();
    let runtime = env.run(&config).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1);
    stopped.resume();
    env.send("src.a", &event("2", 2)).await;
    runtime.settled("p", 2).await;
    assert!(!stopped.has_ended());
    check_law(&runtime.drain().await);
    stopped.kill();
    assert_eq!(world.held().await, after(2, 2));
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_that_nothing_tells_of_is_rolled_back() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    world.die_at(&config, "prepared").await;
    // As if the log had been lost, but not the lease.
    let tx = env.js.get_stream("TX").await.unwrap();
    tx.purge().filter("tx.log.>").await.unwrap();
    world.forget_the_event().await;
    let before = world.held().await;
    let runtime = env.run(&config).await;
    eventually("nothing is prepared", async || {
        world.n_prepared().await == 0
    })
    .await;
    check_law(&runtime.drain().await);
    let held = world.held().await;
    assert_eq!((held.n, held.second), (before.n, before.second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_prepares_nothing_is_the_last_to_be_asked() {
    let to = r#"{ target = "table" }, { target = "entries", operation = "merge" }, { target = "messages" }"#;
    let one = |n_events: u32, n| Held {
        second: 0,
        ..after(n_events, n)
    };
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(to));
    let small = "ALTER TABLE crm ADD CONSTRAINT small CHECK ((data->'n')::int < 10)";
    world.server.sql("postgres", small).await;
    let runtime = env.run(&config).await;
    env.send("src.a", &event("1", 1)).await;
    env.send("src.a", &event("2", 12)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, one(1, 1));
    for (id, point, is_done) in [
        ("3", "prepared", false),
        ("4", "begun:2", false),
        ("5", "decided:1", true),
    ] {
        env.send("src.a", &event(id, 5)).await;
        let mut dying = launch(
            env,
            &config,
            &format!("die={point}").replace("prepared", "prepared:1"),
        );
        eventually("the program dies", async || dying.has_ended()).await;
        world.forget_the_event().await;
        let before = world.env.n_messages("MESSAGES").await;
        let runtime = env.run(&config).await;
        let wake = Ce::new(format!("wake-{id}")).data(json!({"key": "other", "n": 1}));
        env.send("src.a", &wake).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);
        let n_more = world.env.n_messages("MESSAGES").await - before;
        assert_eq!(n_more, 1 + u64::from(is_done), "died at {point}");
        let held = world.held().await;
        let expected = if is_done { Some(5) } else { Some(1) };
        assert_eq!(
            (held.n, held.entry),
            (expected, expected),
            "died at {point}"
        );
    }
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugin_state_is_written_with_what_one_database_prepared() {
    let world = World::start(8).await;
    let to = r#"{ target = "table" }, { target = "messages" }"#;
    let config = world.config(to).replace(
        r#"grants = { lookup = ["*"] }"#,
        r#"grants = { lookup = ["*"], state = true }"#,
    );
    assert!(config.contains("state = true"), "{config}");
    let count = json!([{"do": "state", "op": "add", "key": "n"}]);
    let env = &world.env;
    env.stream("SRC", &["src.>"]).await;
    for (n, point) in (1..).zip(["prepared", "decided", "between-effects"]) {
        let counted = Ce::new(n).data(json!({"key": "k", "n": n, "steps": count}));
        env.send("src.a", &counted).await;
        world.die_at(&config, point).await;
    }
    let runtime = env.run(&config).await;
    let last = Ce::new(4).data(json!({"key": "k", "n": 4, "steps": count}));
    env.send("src.a", &last).await;
    let all = Held {
        second: 0,
        entry: None,
        ..after(4, 4)
    };
    world.until("every event is done", all).await;
    check_law(&runtime.drain().await);
    let state = env.last_on("TX", "tx.state.p.probe.n").await;
    assert_eq!(state[0].1.as_ref(), b"4");
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_prepares_for_several_databases_is_counted_together() {
    // Two events at a time; with more, one of them would be told that nothing more can be prepared.
    let world = World::start(4).await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    let n_events = 60;
    let events = (0..n_events).map(|n| {
        let data = json!({"key": format!("k{n}"), "n": n});
        ("src.a".to_owned(), Ce::new(n).data(data))
    });
    env.send_all(events).await;
    let counts = runtime.settled("p", n_events).await;
    assert_eq!((counts.done, counts.retries), (n_events, 0));
    check_law(&runtime.drain().await);
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_prepares_nothing_is_refused_where_it_may_have_to() {
    let world = World::start(0).await;
    let config = world.config(TO);
    let expected = "pipeline `p` may change several databases, modules of level M3 or plugin state in \
                     one transaction, and the database of target `table` prepares none: set `max_prepared_transactions`";
    match Running::try_start(world.env.parse(&config)).await {
        Err(error @ AppError::Unprepared(_)) => {
            assert!(error.to_string().contains(expected), "{error}");
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it starts"),
    }
    let file = world.env.folder().join("syncline.toml");
    std::fs::write(&file, world.env.text(&config)).unwrap();
    let said = in_dir(world.env.folder(), &["validate", "--connect"], "");
    assert!(
        said.stdout.contains(expected),
        "{}{}",
        said.stdout,
        said.stderr
    );
    // With one of them it is not needed.
    let one = world.config(r#"{ target = "table" }, { target = "booked", operation = "append" }"#);
    std::fs::write(&file, world.env.text(&one)).unwrap();
    in_dir(world.env.folder(), &["validate", "--connect"], "").fine();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_can_prepare_is_free_again_once_it_is_committed() {
    // Room for one event.
    let world = World::start(2).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    // Committed everywhere, and the message not sent.
    let process = launch(env, &config, "stall=between-effects:4:8000");
    eventually("the first event is committed", async || {
        process.log().contains("events stand still here") && world.held().await.second == 1
    })
    .await;
    let other = Ce::new("2").data(json!({"key": "other", "n": 2}));
    env.send("src.a", &other).await;
    eventually("the second one is being prepared", async || {
        world.n_prepared().await == 1
    })
    .await;
    assert_eq!(world.held().await.messages, 0, "nothing is carried out yet");
    eventually("both have ended", async || world.held().await.messages == 2).await;
    drop(process.drain().await);
    check_clean(&world).await;
}
