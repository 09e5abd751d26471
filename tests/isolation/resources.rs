//! Floods: of lines, calls, output, state, handles. What has a limit says so, the rest is dropped.

use super::host::PluginLines;
use super::lab::{Lab, hostile, probe};
use serde_json::json;
use std::time::Duration;
use syncline::event::Verdict;
use syncline::plugin::{CallError, Limits};

#[track_caller]
fn trap(answer: Result<Verdict, CallError>) -> CallError {
    match answer {
        Err(error @ CallError::Trap { .. }) => error,
        other => panic!("no trap: {other:?}"),
    }
}

#[tokio::test]
async fn log_lines_beyond_the_volume_are_dropped() {
    let lines = PluginLines::default();
    let _listening = tracing::subscriber::set_default(lines.clone());
    let lab = Lab::of(probe().await).await;
    let flood = json!({ "do": "log", "lines": 20_000, "bytes": 1_000 });
    lab.ask(flood).await.expect("a flood of lines is no trap");
    let n_lines = lines.count();
    assert!(
        (1..=65).contains(&n_lines),
        "{n_lines} lines of 1,000 bytes, 64 KiB allowed"
    );
}

#[tokio::test]
async fn a_line_longer_than_the_volume_is_dropped() {
    let lines = PluginLines::default();
    let _listening = tracing::subscriber::set_default(lines.clone());
    let lab = Lab::of(hostile().await).await;
    assert_eq!(Lab::reason(lab.ask("long-log 1 1048576").await), "logged");
    assert_eq!(lines.count(), 0);
}

#[tokio::test]
async fn of_standard_output_only_the_volume_is_kept() {
    let lab = Lab::of(probe().await).await;
    for stream in ["stdout", "stderr"] {
        let steps = json!({ "steps": [
            { "do": "print", "to": stream, "bytes": 20 << 20 },
            { "do": "trap" },
        ]});
        let CallError::Trap { output, .. } = trap(lab.ask(steps).await) else {
            panic!("checked above");
        };
        assert_eq!(output.len(), 64 << 10, "{stream}");
    }
}

#[tokio::test]
async fn a_flood_of_host_calls_is_a_trap_that_names_the_limit() {
    let lab = Lab::of(probe().await).await;
    for what in ["state", "lookup", "secret"] {
        let calls = |n: u32| json!({ "do": "call", "what": what, "times": n });
        lab.ask(calls(1_000)).await.expect("as many as allowed");
        let error = trap(lab.ask(calls(1_001)).await);
        assert!(
            error.to_string().contains("`host_calls`"),
            "{what}: {error}"
        );
    }
}

#[tokio::test]
async fn log_and_metrics_are_no_host_calls() {
    let lab = Lab::of(probe().await).await;
    for what in ["log", "metric"] {
        let calls = json!({ "do": "call", "what": what, "times": 5_000 });
        lab.ask(calls).await.expect(what);
    }
}

#[tokio::test]
async fn a_guest_that_sleeps_has_the_time_for_waiting() {
    let short = |limits: &mut Limits| {
        limits.time = Duration::from_millis(100);
        limits.host_time = Duration::from_secs(1);
    };
    let lab = Lab::limited(probe().await, short).await;
    let nap = |ms: u32| json!({ "do": "sleep", "ms": ms });
    lab.ask(nap(300)).await.expect("waiting is not guest time");
    match lab.ask(nap(3_600_000)).await {
        Err(CallError::Timeout { what, limit, .. }) => {
            assert_eq!(
                (what, limit),
                ("waiting in host calls", Duration::from_secs(1))
            );
        }
        other => panic!("no timeout: {other:?}"),
    }
}

#[tokio::test]
async fn series_beyond_the_limit_are_dropped() {
    let lab = Lab::of(probe().await).await;
    let flood = json!({ "do": "metric", "series": 10_000 });
    lab.ask(flood).await.expect("a flood of series is no trap");
}

#[tokio::test]
async fn state_of_one_event_has_a_limit() {
    let lab = Lab::of(hostile().await).await;
    let reason = Lab::reason(lab.ask("state-puts 900 2097152").await);
    assert!(
        reason.contains("then invalid") && reason.contains("`output`"),
        "{reason}"
    );
    let reason = Lab::reason(lab.ask("state-reads 900 2097152").await);
    assert!(reason.contains("invalid"), "{reason}");
}

#[tokio::test]
async fn handles_that_are_never_closed_end_the_instance() {
    let lab = Lab::of(hostile().await).await;
    assert_eq!(
        Lab::reason(lab.ask("leak-pollables 100").await),
        "100 leaked"
    );
    trap(lab.ask("leak-pollables 1000000").await);
}

#[tokio::test]
async fn a_giant_wish_for_random_bytes_is_a_trap() {
    let lab = Lab::of(hostile().await).await;
    assert_eq!(Lab::reason(lab.ask("random 1000").await), "1000 bytes");
    trap(lab.ask("random 4000000000").await);
}
