//! Rate limits: what has to wait is neither tried in vain nor sent again, and ends at the shutdown.

use super::{large, numbered};
use crate::harness::{TestEnv, check_law};
use std::time::Duration;
use tokio::time::Instant;

/// What it waits for is longer than `timeout` and `ack_wait`.
const LIMITED: &str = r#"
[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true
timeout = "1s"
rate_limit = "TARGET"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }
key = "subject:1"
to = [{ target = "out" }]
guarantee = "at-least-once"
rate_limit = "PIPELINE"
"#;

fn limited(target: &str, pipeline: &str) -> String {
    LIMITED
        .replace("TARGET", target)
        .replace("PIPELINE", pipeline)
}

async fn takes_its_time(config: &str) {
    let env = TestEnv::start().await;
    let runtime = env.run(config).await;
    let begun = Instant::now();
    env.send_all((0..30).map(|id| large(id, 10))).await;
    let counts = runtime.settled("p", 30).await;
    // 29 events after the first, 10 in a second.
    assert!(
        begun.elapsed() > Duration::from_millis(2_850),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        (counts.done, counts.retries, counts.redelivered),
        (30, 0, 0)
    );
    assert_eq!(numbered(&env).await, (0..30).collect::<Vec<_>>());
    let summary = runtime.drain().await;
    check_law(&summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_is_written_no_more_often_than_it_may_be() {
    takes_its_time(&limited("10/s", "100000/s")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_begins_no_more_events_than_it_may() {
    takes_its_time(&limited("100000/s", "10/s")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_turn_ends_at_the_shutdown() {
    for config in [limited("1/h", "100000/s"), limited("100000/s", "1/h")] {
        let env = TestEnv::start().await;
        let config = config.replace("subject:1", "json:/key");
        let runtime = env.run(&config).await;
        env.send_all((0..4).map(|id| large(id, 10))).await;
        runtime
            .until("p", "one has gone", |counts| {
                counts.done == 1 && counts.received == 4
            })
            .await;
        let begun = Instant::now();
        let summary = runtime.drain().await;
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(
            summary.pipelines["p"].received, 1,
            "the others were given back"
        );
        check_law(&summary);
        assert_eq!(env.unacked("SRC", "syncline-p").await.0, 3);
    }
}
