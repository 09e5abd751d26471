//! Waiting for what must come, and the law that holds at the end of every test.

use serde_json::Value;
use std::time::Duration;
use syncline::app::Summary;
use tokio::time::Instant;

/// Long enough for a loaded machine: a test that passes never waits so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `condition` holds; fails when it does not in time.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    let holds = within(PATIENCE, condition).await;
    assert!(holds, "not in {PATIENCE:?}: {what}");
}

/// Waits until `condition` holds, at most for this time; gives whether it does.
pub(crate) async fn within(time: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !condition().await {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

/// Lets time pass where the time itself is what is done to somebody, as while a process is stopped.
pub(crate) async fn stall(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Every event that was received ended in one of the known ways, and the runtime drained.
pub(crate) fn check_law(summary: &Summary) {
    check_law_of(&serde_json::to_value(summary).unwrap());
}

/// The same for the summary that `syncline run --json` prints.
pub(crate) fn check_law_of(summary: &Value) {
    assert_eq!(summary["drained"], true, "{summary:#}");
    for (pipeline, counts) in summary["pipelines"].as_object().unwrap() {
        let count = |name: &str| counts[name].as_u64().unwrap();
        let ended: u64 = ["done", "filtered", "dead", "parked", "duplicate"]
            .into_iter()
            .map(count)
            .sum();
        assert_eq!(count("in_flight"), 0, "{pipeline}: {counts:#}");
        assert_eq!(count("received"), ended, "{pipeline}: {counts:#}");
    }
}
