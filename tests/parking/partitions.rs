//! Each partition holds the keys that are its own.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_several_partitions_are_held_and_let_go() {
    let by_subject = PARKING
        .replace("src.>", "src.*")
        .replace("json:/key\"", "subject:2\"\npartitions = 4");
    let by_data = PARKING.replace(
        "json:/key\"",
        "json:/key\"\npartitions = 4\nrepartition = true",
    );
    for config in [by_subject, by_data] {
        let env = TestEnv::start().await;
        let send = async |n: u32, key: &str, kind: &str| {
            env.send(&format!("src.{key}"), &event(n, key, kind)).await;
        };
        let until_letters = async |n_letters: usize| {
            eventually("so many are letters", async || {
                env.letters().await.len() == n_letters
            })
            .await;
        };
        let keys = ["a", "b", "c", "d", "e", "f"];
        let runtime = env.run(&config).await;
        for key in keys {
            send(1, key, "late").await;
            send(2, key, "plain").await;
        }
        until_letters(12).await;
        check_law(&runtime.drain().await);

        let runtime = env.run(&config).await;
        for key in keys {
            send(3, key, "plain").await;
        }
        until_letters(18).await;
        assert_eq!(env.n_messages("OUT").await, 0);
        env.stream("LATE", &["late.*"]).await;
        let said = dlq(&env, &["replay", "--reason", "exhausted"]).fine();
        assert_eq!(said, "replayed 6\n");
        for key in keys {
            until_applied(&env, key, &[1, 2, 3]).await;
        }
        until_letters(0).await;
        check_law(&runtime.drain().await);
    }
}
