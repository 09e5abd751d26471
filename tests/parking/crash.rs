//! A key is held over kills and takeovers, and nothing is parked or let go twice.

use super::*;

/// The real program, which dies at a point.
fn launch(env: &TestEnv, config: &str, faults: &str) -> Process {
    let file = env.folder().join("dies.toml");
    std::fs::write(&file, env.text(config)).unwrap();
    Process::launch(&file, faults)
}

async fn until_dead(mut process: Process) {
    eventually("it dies", async || process.has_ended()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_does_not_lose_the_hold() {
    for config in [PARKING.to_owned(), atomic()] {
        let env = TestEnv::start().await;
        let process = env.spawn(&config).await;
        publish(&env, "a", 4).await;
        eventually("all are letters", async || {
            letters(&env, "a").await.len() == 4
        })
        .await;
        process.kill();
        for n in 5..=6 {
            env.send("src.a", &event(n, "a", "plain")).await;
        }
        env.send("src.a", &event(1, "b", "plain")).await;
        let process = env.spawn(&config).await;
        until_applied(&env, "b", &[1]).await;
        until_quiet(&env).await;
        assert_eq!(applied(&env, "a").await, NOTHING);
        assert_eq!(letters(&env, "a").await.len(), 6);

        // Killed again while the key is let go: what was not goes on by itself.
        process.kill();
        let config = mended(&config, "late");
        let process = env.spawn(&config).await;
        replay_first(&env, "a").await;
        process.kill();
        let process = env.spawn(&config).await;
        eventually("the key is free", async || {
            letters(&env, "a").await.is_empty()
        })
        .await;
        until_quiet(&env).await;
        let mut in_order = applied(&env, "a").await;
        in_order.dedup();
        assert_eq!(in_order, [1, 2, 3, 4, 5, 6]);
        check_law_of(&process.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_parked_before_a_kill_is_not_parked_twice() {
    for config in [PARKING.to_owned(), atomic()] {
        let env = TestEnv::start().await;
        env.stream("SRC", &["src.>"]).await;
        // Nothing but what the runtime itself knows holds a second letter back.
        env.forgetful(STREAM, &["syncline.dlq.>", "syncline.replay.>"])
            .await;
        publish(&env, "a", 4).await;
        // Dies with the third letter stored and its event not answered for.
        until_dead(launch(&env, &config, "die=letter-stored:3")).await;
        assert_eq!(letters(&env, "a").await.len(), 3);
        let process = env.spawn(&config).await;
        eventually("the last one is parked", async || {
            letters(&env, "a").await.len() == 4
        })
        .await;
        until_quiet(&env).await;
        assert_eq!(env.n_messages_on(STREAM, "syncline.dlq.>").await, 4);
        check_law_of(&process.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_one_and_the_next_lets_the_next_go() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 30).await;
    runtime.settled("p", 30).await;
    check_law(&runtime.drain().await);
    env.stream("LATE", &["late.*"]).await;
    replay_first(&env, "a").await;
    until_dead(launch(&env, PARKING, "die=closed:1")).await;
    until_dead(launch(&env, PARKING, "die=closed:3")).await;
    until_dead(launch(&env, PARKING, "die=applied:4")).await;
    let runtime = env.run(PARKING).await;
    eventually("the key is free", async || {
        letters(&env, "a").await.is_empty()
    })
    .await;
    until_quiet(&env).await;
    let mut in_order = applied(&env, "a").await;
    // One had been applied, and was not closed: its message id holds it back.
    in_order.dedup();
    assert_eq!(in_order, (1..=30).collect::<Vec<_>>());
    check_law(&runtime.drain().await);
}

/// The promise taken away: the tests above must be able to fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_hold_later_events_overtake() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    env.stream("OUT", &["out.*"]).await;
    let process = launch(&env, PARKING, "break=hold");
    publish(&env, "a", 4).await;
    until_applied(&env, "a", &[2, 3, 4]).await;
    check_law_of(&process.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_holds_the_key_on() {
    let env = TestEnv::start().await;
    let first = env.spawn_as("first", PARKING).await;
    publish(&env, "a", 3).await;
    eventually("all are letters", async || {
        letters(&env, "a").await.len() == 3
    })
    .await;
    let second = env.spawn_as("second", PARKING).await;
    first.kill();
    env.send("src.a", &event(4, "a", "plain")).await;
    eventually("that one waits as well", async || {
        letters(&env, "a").await.len() == 4
    })
    .await;
    env.stream("LATE", &["late.*"]).await;
    replay_first(&env, "a").await;
    until_applied(&env, "a", &[1, 2, 3, 4]).await;
    until_quiet(&env).await;
    check_law_of(&second.drain().await);
}
