//! How what waits is let go.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replay_lets_the_whole_key_go_in_order() {
    for config in [PARKING.to_owned(), atomic()] {
        let env = TestEnv::start().await;
        let runtime = env.run(&config).await;
        publish(&env, "a", 40).await;
        publish(&env, "b", 3).await;
        let counts = runtime.settled("p", 43).await;
        assert_eq!(ends(&counts), (0, 2, 41));
        check_law(&runtime.drain().await);

        let runtime = env.run(&mended(&config, "late")).await;
        replay_first(&env, "a").await;
        let counts = runtime.settled("p", 40).await;
        assert_eq!((counts.done, counts.replayed), (40, 40));
        assert_eq!(env.n_messages("LATE").await, 1);
        assert_eq!(applied(&env, "a").await, (1..=40).collect::<Vec<_>>());
        assert_eq!(letters(&env, "a").await, []);
        assert_eq!(letters(&env, "b").await.len(), 3, "that one is held on");

        // The key is free.
        env.send("src.a", &event(41, "a", "plain")).await;
        let counts = runtime.settled("p", 41).await;
        assert_eq!(ends(&counts), (41, 0, 0));
        until_quiet(&env).await;
        check_law(&runtime.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_replays_all_of_a_key_in_any_order_gets_it_in_order() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 12).await;
    runtime.settled("p", 12).await;
    env.stream("LATE", &["late.*"]).await;
    // Those that wait first, the last one before the others.
    for letter in letters(&env, "a").await.iter().skip(1).rev() {
        assert_eq!(dlq(&env, &["replay", &letter.id]).fine(), "replayed 1\n");
    }
    let counts = runtime.settled("p", 23).await;
    assert_eq!(ends(&counts), (0, 1, 22), "they wait again");
    assert_eq!(applied(&env, "a").await, NOTHING);
    // The runtime itself may be first with some.
    dlq(&env, &["replay", "--key", "a"]).fine();
    until_applied(&env, "a", &(1..=12).collect::<Vec<_>>()).await;
    until_quiet(&env).await;
    assert_eq!(letters(&env, "a").await, []);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_again_holds_its_key_again() {
    for config in [PARKING.to_owned(), atomic()] {
        let env = TestEnv::start().await;
        let runtime = env.run(&config).await;
        let kinds = ["late", "plain", "last", "plain", "plain"];
        for (n, kind) in (1..).zip(kinds) {
            env.send("src.a", &event(n, "a", kind)).await;
        }
        runtime.settled("p", 5).await;

        // In vain.
        replay_first(&env, "a").await;
        let counts = runtime.settled("p", 6).await;
        assert_eq!(ends(&counts), (0, 2, 4));
        let again = &letters(&env, "a").await[0];
        assert_eq!((again.generation, again.history.len()), (1, 2));
        check_law(&runtime.drain().await);

        // Up to the next one that fails.
        let config = mended(&config, "late");
        let runtime = env.run(&config).await;
        replay_first(&env, "a").await;
        until_applied(&env, "a", &[1, 2]).await;
        eventually("the others wait again", async || {
            let left = letters(&env, "a").await;
            let waiting = left.iter().skip(1);
            left.len() == 3 && waiting.map(|letter| letter.generation).eq([1, 1])
        })
        .await;
        until_quiet(&env).await;
        let left = letters(&env, "a").await;
        let numbers: Vec<_> = left.iter().map(|letter| letter.sequence).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert_ne!(left[0].reason, DeadReason::Parked);
        assert_eq!(left[1].reason, DeadReason::Parked);
        assert_eq!(applied(&env, "a").await, [1, 2]);
        check_law(&runtime.drain().await);

        let runtime = env.run(&mended(&config, "last")).await;
        replay_first(&env, "a").await;
        until_applied(&env, "a", &[1, 2, 3, 4, 5]).await;
        until_quiet(&env).await;
        assert_eq!(letters(&env, "a").await, []);
        check_law(&runtime.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_the_letter_that_holds_lets_the_others_go() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 5).await;
    runtime.settled("p", 5).await;
    // One that waits: nothing happens but that it is gone.
    let waits = letters(&env, "a").await[2].clone();
    assert_eq!(dlq(&env, &["purge", &waits.id]).fine(), "deleted 1\n");
    assert_eq!(applied(&env, "a").await, NOTHING);
    assert_eq!(
        dlq(&env, &["purge", "--reason", "exhausted"]).fine(),
        "deleted 1\n"
    );
    until_applied(&env, "a", &[2, 4, 5]).await;
    until_quiet(&env).await;
    assert_eq!(letters(&env, "a").await, []);
    env.send("src.a", &event(6, "a", "plain")).await;
    until_applied(&env, "a", &[2, 4, 5, 6]).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_while_nobody_was_at_work_is_seen_at_the_start() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 4).await;
    publish(&env, "b", 2).await;
    runtime.settled("p", 6).await;
    check_law(&runtime.drain().await);
    assert_eq!(
        dlq(&env, &["purge", "--key", "a", "--reason", "exhausted"]).fine(),
        "deleted 1\n"
    );
    env.send("src.a", &event(5, "a", "plain")).await;
    env.send("src.a", &event(3, "b", "plain")).await;
    let runtime = env.run(PARKING).await;
    until_applied(&env, "a", &[2, 3, 4, 5]).await;
    until_quiet(&env).await;
    assert_eq!(applied(&env, "b").await, NOTHING, "it is held on");
    assert_eq!(letters(&env, "b").await.len(), 3);
    check_law(&runtime.drain().await);
}

/// A letter whose payload somebody deleted can never be replayed: it must not hold its key for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_lost_lets_the_others_go() {
    let env = TestEnv::start().await;
    let process = env.spawn(PARKING).await;
    let text = "x".repeat(900_000);
    let data = json!({"key": "a", "n": 1, "text": text});
    let large = Ce::new("a-1").kind("late").data(data);
    env.send("src.a", &large).await;
    env.send("src.a", &event(2, "a", "plain")).await;
    eventually("both are letters", async || {
        letters(&env, "a").await.len() == 2
    })
    .await;
    until_quiet(&env).await;
    let bucket = "SYNCLINE_DLQ_PAYLOADS";
    let store = env.js.get_object_store(bucket).await.unwrap();
    let letter = &env.messages(STREAM).await[0].json();
    store
        .delete(letter["payload_object"].as_str().unwrap())
        .await
        .unwrap();
    let id = letter["id"].as_str().unwrap();
    assert_eq!(dlq(&env, &["replay", id]).fine(), "replayed 1\n");
    until_applied(&env, "a", &[2]).await;
    until_quiet(&env).await;
    assert!(process.log().contains("payload of the dead letter is gone"));
    // Nor does it after a start.
    process.kill();
    let runtime = env.run(PARKING).await;
    env.send("src.a", &event(3, "a", "plain")).await;
    until_applied(&env, "a", &[2, 3]).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_parks_no_more_hands_its_letters_back() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 4).await;
    runtime.settled("p", 4).await;
    check_law(&runtime.drain().await);
    let plain = PARKING.replace("park-key", "dead-letter");
    let runtime = env.run(&plain).await;
    env.send("src.a", &event(5, "a", "plain")).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(ends(&counts), (1, 0, 0), "no key is held");
    // The first one fails again: as a letter that holds nothing.
    assert_eq!(dlq(&env, &["replay", "--key", "a"]).fine(), "replayed 4\n");
    runtime.settled("p", 5).await;
    until_applied(&env, "a", &[5, 2, 3, 4]).await;
    until_quiet(&env).await;
    let left = letters(&env, "a").await;
    assert_eq!((left.len(), left[0].holds_key), (1, false));
    check_law(&runtime.drain().await);
    // And none that was handled holds the key when keys are held again.
    let runtime = env.run(PARKING).await;
    env.send("src.a", &event(6, "a", "plain")).await;
    until_applied(&env, "a", &[5, 2, 3, 4, 6]).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_a_whole_key_applies_nothing_of_it() {
    let env = TestEnv::start().await;
    let runtime = env.run(PARKING).await;
    publish(&env, "a", 20).await;
    runtime.settled("p", 20).await;
    let said = dlq(&env, &["purge", "--key", "a"]).fine();
    assert_eq!(said, "deleted 20\n");
    env.send("src.a", &event(21, "a", "plain")).await;
    until_applied(&env, "a", &[21]).await;
    until_quiet(&env).await;
    check_law(&runtime.drain().await);
}

/// Two copies of one event that wait: neither answers for the other, unless that is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_copy_of_an_event_waits_for_itself() {
    let dedupe = format!("{PARKING}dedupe = {{ horizon = \"1h\" }}\n");
    for (config, expected) in [
        (PARKING.to_owned(), &[1, 2, 3, 4][..]),
        (dedupe, &[1, 2, 4]),
    ] {
        let env = TestEnv::start().await;
        let runtime = env.run(&config).await;
        env.send("src.a", &event(1, "a", "late")).await;
        for n in 2..=3 {
            let copy = Ce::new("same").kind("plain");
            env.send("src.a", &copy.data(json!({"key": "a", "n": n})))
                .await;
        }
        env.send("src.a", &event(4, "a", "plain")).await;
        let counts = runtime.settled("p", 4).await;
        let n_waiting = expected.len() as u64 - 1;
        assert_eq!(
            (counts.parked, counts.duplicate),
            (n_waiting, 3 - n_waiting)
        );
        env.stream("LATE", &["late.*"]).await;
        replay_first(&env, "a").await;
        until_applied(&env, "a", expected).await;
        until_quiet(&env).await;
        assert_eq!(letters(&env, "a").await, []);
        check_law(&runtime.drain().await);
    }
}
