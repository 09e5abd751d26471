//! Hostile guests in a whole pipeline: their events become dead letters, everybody else's go on.

use crate::harness::{Ce, TestEnv, check_law};
use serde_json::json;
use syncline::event::DeadReason;

const CONFIG: &str = r#"
[plugins.probe]
path = "${PROBE}"
limits = { time = "1s", memory = "16MiB" }

[targets.out]
kind = "kv"
bucket = "out"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
key = "subject:2"
stages = ["probe"]
to = [{ target = "out" }]
retry = { attempts = 2, backoff = "10ms..20ms" }
guarantee = "at-least-once"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_events_are_dead_letters_and_the_others_are_done() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(CONFIG).await;
    let misdeeds = [
        (
            json!({ "do": "trap", "message": "the cat is out" }),
            DeadReason::Trap,
        ),
        (json!({ "do": "alloc" }), DeadReason::Trap),
        (json!({ "do": "recurse" }), DeadReason::Trap),
        (
            json!({ "do": "call", "what": "state", "times": 2_000 }),
            DeadReason::Trap,
        ),
        (json!({ "do": "loop" }), DeadReason::Exhausted),
        (
            json!({ "do": "flood", "effects": 2_000 }),
            DeadReason::BadAnswer,
        ),
        (
            json!({ "do": "giant", "field": "key", "bytes": 5 << 20 }),
            DeadReason::BadAnswer,
        ),
    ];
    let series = json!({ "do": "metric", "series": 5_000 });
    env.send("src.series", &Ce::new("series").data(series))
        .await;
    let mut n_events = 1;
    for (index, (misdeed, _)) in misdeeds.iter().enumerate() {
        let event = Ce::new(format!("bad-{index}")).data(misdeed.clone());
        env.send(&format!("src.bad-{index}"), &event).await;
        let event = Ce::new(format!("good-{index}")).data(json!({ "n": index }));
        env.send(&format!("src.good-{index}"), &event).await;
        n_events += 2;
    }
    let counts = runtime.settled("p", n_events).await;
    assert_eq!((counts.done, counts.dead), (8, 7), "{counts:?}");
    let summary = runtime.drain().await;
    check_law(&summary);
    assert_eq!(
        summary.plugins["probe"].len(),
        100,
        "series that the plugin may make"
    );

    let mut letters = env.letters().await;
    letters.sort_by(|a, b| a.key.cmp(&b.key));
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, misdeeds.map(|(_, reason)| reason));
    assert!(
        letters[0].error.contains("the cat is out"),
        "{}",
        letters[0].error
    );
    assert_eq!(env.kv("out").await.len(), 8);
}
