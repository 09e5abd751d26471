//! One database: it decides by committing.

use super::{Held, NOTHING, World, event, launch};
use crate::cli::in_dir;
use crate::harness::{Ce, check_law, eventually};
use serde_json::json;

const TO: &str =
    r#"{ target = "table" }, { target = "booked", operation = "append" }, { target = "messages" }"#;

/// What so many events leave, of which the last one carried `n`.
fn after(n_events: u32, n: i64) -> Held {
    Held {
        n: Some(n),
        booked: n_events.into(),
        messages: n_events.into(),
        ..NOTHING
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_messages_change_together_and_once_and_nothing_is_prepared_for_it() {
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    env.send("src.a", &event("1", 1)).await;
    env.send("src.a", &event("2", 2)).await;
    // The same event again, with other data.
    env.send("src.a", &event("1", 3)).await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate, counts.effects), (2, 1, 6));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(2, 2));
    let runtime = env.run(&config).await;
    env.send("src.a", &event("2", 4)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.duplicate), (0, 1));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_constraint_refuses_changes_nothing_and_can_be_replayed() {
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(TO));
    let small = "ALTER TABLE booked ADD CONSTRAINT small CHECK ((data->'n')::int < 10)";
    world.server.sql("postgres", small).await;
    let runtime = env.run(&config).await;
    env.send("src.a", &event("1", 11)).await;
    env.send("src.a", &event("1", 12)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.duplicate), (1, 1));
    assert_eq!(world.held().await, NOTHING);
    let letters = env.letters().await;
    assert_eq!(letters.len(), 1);
    let why = &letters[0].error;
    assert!(
        why.contains("target `booked`") && why.contains("`small`") || why.contains("\"small\""),
        "{why}"
    );
    world
        .server
        .sql("postgres", "ALTER TABLE booked DROP CONSTRAINT small")
        .await;
    let url = env.nats.url();
    let replay = ["dlq", "replay", "--pipeline", "p", "--nats", &url];
    for _ in 0..2 {
        // The second one finds the letter replayed, or its event ended.
        drop(in_dir(env.folder(), &replay, "").fine());
    }
    let counts = runtime.until("p", "the replay is done", |counts| counts.done == 1);
    counts.await;
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(1, 11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_down_and_not_committed_never_will_be_and_the_event_is_done_once() {
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    for _ in 0..3 {
        world.die_at(&config, "begun").await;
        assert_eq!(world.held().await, NOTHING);
    }
    let runtime = env.run(&config).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_carried_out_without_the_event() {
    for point in ["decided", "applied"] {
        let world = World::start(0).await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event("1", 1)).await;
        world.die_at(&config, point).await;
        world.server.kill();
        world.server.restart().await;
        world.forget_the_event().await;
        let runtime = env.run(&config).await;
        world.until("what was decided is done", after(1, 1)).await;
        // It comes again, by another publisher.
        env.send("src.a", &event("1", 5)).await;
        env.send("src.a", &event("2", 2)).await;
        let counts = runtime.settled("p", 2).await;
        assert_eq!(
            (counts.done, counts.duplicate),
            (1, 1),
            "killed when {point}"
        );
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, after(2, 2), "killed when {point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_moment_takes_every_event_once() {
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    let n_events = 300;
    let send = async {
        for n in 0..n_events {
            let event = Ce::new(n).data(json!({"key": format!("k{n}"), "n": n}));
            env.send("src.a", &event).await;
        }
    };
    let strike = async {
        for n in 1..=4 {
            eventually("some more are done", async || {
                runtime.counts("p").done >= n * n_events / 6
            })
            .await;
            world.server.kill();
            world.server.restart().await;
        }
    };
    tokio::join!(send, strike);
    let counts = runtime.settled("p", n_events).await;
    assert_eq!((counts.done, counts.dead), (n_events, 0));
    check_law(&runtime.drain().await);
    let held = world.held().await;
    assert_eq!(
        (held.booked, held.messages),
        (i64::try_from(n_events).unwrap(), n_events)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_takes_no_note_or_does_not_ask_is_found_out() {
    for promise in ["barrier", "settle"] {
        let world = World::start(0).await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event("1", 1)).await;
        let broken = format!("break={promise}");
        let mut dying = launch(env, &config, &format!("{broken} die=decided:1"));
        eventually("the program dies", async || dying.has_ended()).await;
        let mut running = launch(env, &config, &broken);
        assert!(running.is_ready().await);
        eventually("the event has ended", async || {
            env.unacked("SRC", "syncline-p").await == (0, 0)
        })
        .await;
        drop(running.drain().await);
        let held = world.held().await;
        assert_eq!(held.booked, 2, "{promise}: {held:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_copies_side_by_side_one_is_done() {
    let several = r#"{ target = "table" }, { target = "second", operation = "append" }, { target = "messages" }"#;
    for (to, max_prepared) in [(TO, 0), (several, 8)] {
        let world = World::start(max_prepared).await;
        let runtime = world.env.run(&world.config(to)).await;
        let n_events = 60;
        // Of different keys, so that they do not wait for each other.
        let copies = (0..n_events).flat_map(|n| {
            ["a", "b", "c"].map(|copy| {
                let data = json!({"key": format!("{copy}{n}"), "n": n});
                ("src.a".to_owned(), Ce::new(n).data(data))
            })
        });
        world.env.send_all(copies).await;
        let counts = runtime.settled("p", n_events * 3).await;
        let ends = (counts.done, counts.duplicate, counts.dead);
        assert_eq!(ends, (n_events, n_events * 2, 0));
        check_law(&runtime.drain().await);
        let held = world.held().await;
        let n_rows = u64::try_from(held.booked + held.second).unwrap();
        assert_eq!((n_rows, held.messages), (n_events, n_events), "{to}");
        assert_eq!(world.n_prepared().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_had_ended_stays_so_where_a_database_was_to_decide_about_its_replay() {
    let world = World::start(0).await;
    let (env, config) = (&world.env, world.config(r#"{ target = "table" }"#));
    let runtime = env.run(&config).await;
    let steps = json!([{"do": "reject", "reason": "no"}]);
    let rejected = Ce::new("1").data(json!({"key": "k", "n": 1, "steps": steps}));
    env.send("src.a", &rejected).await;
    assert_eq!(runtime.settled("p", 1).await.dead, 1);
    check_law(&runtime.drain().await);
    let lenient = config.replace(r#"stages = ["probe"]"#, "stages = []");
    let url = env.nats.url();
    let args = ["dlq", "replay", "--pipeline", "p", "--nats", &url];
    assert_eq!(in_dir(env.folder(), &args, "").fine(), "replayed 1\n");
    // The record lets the database decide, and it was never asked.
    world.die_at(&lenient, "begun").await;
    let letters = env.js.get_stream("SYNCLINE_DLQ").await.unwrap();
    let requests = letters.purge().filter("syncline.replay.p.>");
    assert_eq!(requests.await.unwrap().purged, 1);
    let runtime = env.run(&lenient).await;
    env.send("src.a", &event("1", 2)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.duplicate), (0, 1));
    assert_eq!(world.held().await, NOTHING);
    assert_eq!(in_dir(env.folder(), &args, "").fine(), "replayed 1\n");
    assert_eq!(runtime.settled("p", 2).await.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await.n, Some(1));
}
