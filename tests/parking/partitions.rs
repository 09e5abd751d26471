//! Each partition holds the keys that are its own.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_several_partitions_are_held_and_let_go() {
    let env = TestEnv::start().await;
    let config = PARKING
        .replace("src.>", "src.*")
        .replace("json:/key\"", "subject:2\"\npartitions = 4");
    let send = async |n: u32, key: &str, kind: &str| {
        env.send(&format!("src.{key}"), &event(n, key, kind)).await;
    };
    let keys = ["a", "b", "c", "d", "e", "f"];
    let runtime = env.run(&config).await;
    for key in keys {
        send(1, key, "late").await;
        send(2, key, "plain").await;
    }
    let counts = runtime.settled("p", 12).await;
    assert_eq!(ends(&counts), (0, 6, 6));
    check_law(&runtime.drain().await);

    let runtime = env.run(&config).await;
    for key in keys {
        send(3, key, "plain").await;
    }
    let counts = runtime.settled("p", 6).await;
    assert_eq!(ends(&counts), (0, 0, 6));
    env.stream("LATE", &["late.*"]).await;
    assert_eq!(
        dlq(&env, &["replay", "--reason", "exhausted"]).fine(),
        "replayed 6\n"
    );
    for key in keys {
        until_applied(&env, key, &[1, 2, 3]).await;
    }
    eventually("no key is held", async || env.letters().await.is_empty()).await;
    check_law(&runtime.drain().await);
}
