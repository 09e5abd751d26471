//! What earlier runtimes left and nobody saw at the takeover, since it came later; and what is on its way, for
//! however long.

use super::several::{TO, after, check_clean};
use super::{NOTHING, World, event, launch};
use crate::harness::{Ce, check_law, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_is_ended_while_a_runtime_is_at_work() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    world.die_at(&config, "prepared").await;
    let late = env.last_on("TX", "tx.log.>").await;
    world.forget_the_event().await;
    let runtime = env.run(&config).await;
    world.until("what was begun is taken back", NOTHING).await;
    // As if the dead runtime had been stopped, and wrote down now what it is about to do.
    for (subject, payload) in late {
        env.js
            .publish(subject, payload)
            .await
            .unwrap()
            .await
            .unwrap();
    }
    // And as if it had prepared something of which no log tells.
    let tx = env.js.get_stream("TX").await.unwrap();
    let cluster = tx.cached_info().created.unix_timestamp_nanos();
    let prepare = format!(
        "BEGIN; INSERT INTO booked VALUES ('{{}}'); \
         PREPARE TRANSACTION 'syncline:{cluster}:p:late.0.0.1:0'"
    );
    world.server.sql("second", &prepare).await;
    assert!(world.logged().await.contains(&"PREPARING".to_owned()));
    eventually("all of it has ended", async || {
        let log = world.logged().await;
        world.n_prepared().await == 0 && !log.iter().any(|state| state == "PREPARING")
    })
    .await;
    let other = Ce::new("2").data(json!({"key": "k", "n": 2}));
    env.send("src.a", &other).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, after(1, 2));
    check_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_left_alone() {
    let world = World::start(8).await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    // An earlier tenure, which the event does not belong to.
    env.run(&config).await.drain().await;
    env.send("src.a", &event("1", 1)).await;
    // For three rounds, after one, three and seven times of the lease.
    let mut running = launch(env, &config, "stall=prepared:1:8000");
    eventually("everything is prepared", async || {
        world.n_prepared().await == 2
    })
    .await;
    eventually("the event has ended", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0)
    })
    .await;
    assert!(!running.has_ended());
    assert!(
        !running.log().contains("a prepared transaction"),
        "{}",
        running.log()
    );
    assert!(
        !running.log().contains("of an earlier run was ended"),
        "{}",
        running.log()
    );
    drop(running.drain().await);
    assert_eq!(world.held().await, after(1, 1));
    check_clean(&world).await;
}
