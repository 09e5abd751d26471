//! `make chaos`: a stream of events while the program and its server are killed, and a judge who
//! knows what must have come of each event. A short run is a test like any other; `make chaos` sets
//! its size and seed.

mod clean;
mod ground;
mod judge;
mod modes;
mod outpaced;
mod publisher;
mod report;
mod schedule;
mod servers;
mod settings;
mod storm;
mod table;
mod takeover;
mod workload;

use crate::harness::within;
use report::{Report, Verdict};
use schedule::{Blow, Schedule};
use servers::Role;
use settings::{Mode, Settings};
use std::time::Duration;

/// Long enough for a cluster on a loaded machine that has to elect its leaders one after the other.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `condition` holds; fails when it does not even with patience.
async fn patiently(what: &str, condition: impl AsyncFnMut() -> bool) {
    let holds = within(PATIENCE, condition).await;
    assert!(holds, "not in {PATIENCE:?}: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_effects_once_and_in_order_under_kill_9() {
    let settings = Settings::of_the_environment();
    let modes = Mode::of_the_environment(&settings);
    let report = modes::run(&settings, &modes).await;
    report.save();
    assert_eq!(report.verdict, Verdict::Ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_all_of_its_effects_or_none_under_kill_9() {
    let settings = Settings {
        runtimes: 2,
        guarantee: "atomic".to_owned(),
        ..Settings::default()
    };
    let report = modes::run(&settings, &Mode::all()).await;
    assert_eq!(report.verdict, Verdict::Ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_runtime_had_is_worked_on_within_twice_the_lease() {
    let settings = Settings {
        partitions: settings::number("CHAOS_PARTITIONS").unwrap_or(16),
        ..Settings::of_the_environment()
    };
    let report = takeover::run(&settings).await;
    report.save();
    assert_eq!(report.verdict, Verdict::Ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_a_cluster_may_be_killed_besides_the_runtime() {
    // Few: each election takes seconds.
    let blows = vec![Blow::KillRuntime, Blow::KillLeader(Role::Records)];
    let settings = Settings {
        events: 1_000,
        runtimes: 2,
        nodes: 3,
        schedule: Some(Schedule(blows)),
        ..Settings::default()
    };
    let report = storm::run(&settings).await;
    assert_eq!(report.verdict, Verdict::Ok, "{report:#?}");
}

/// A run in which the program breaks a promise, and dies where that shows.
async fn broken(promise: &str, schedule: Schedule) -> Report {
    broken_in("at-least-once", promise, schedule).await
}

async fn broken_in(guarantee: &str, promise: &str, schedule: Schedule) -> Report {
    broken_mode((guarantee, Mode::Records), promise, schedule).await
}

async fn broken_mode((guarantee, mode): (&str, Mode), promise: &str, schedule: Schedule) -> Report {
    let settings = Settings {
        events: 2_500,
        guarantee: guarantee.to_owned(),
        mode,
        broken: Some(promise.to_owned()),
        schedule: Some(schedule),
        ..Settings::default()
    };
    let report = storm::run(&settings).await;
    assert_eq!(report.verdict, Verdict::Violated, "{report:#?}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_events_of_one_key_side_by_side() {
    let report = broken("order", Schedule::default()).await;
    assert!(report.order_violations > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_an_event_that_was_answered_for_before_it_had_ended() {
    let report = broken("answer-last", Schedule::kills(3)).await;
    assert!(report.lost > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_a_dead_letter_that_was_stored_after_the_answer() {
    let schedule = Schedule::deaths("letter-pending", 500, 3);
    let report = broken("letter-first", schedule).await;
    assert!(report.lost > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_a_second_copy_that_was_not_skipped() {
    let report = broken("dedupe", Schedule::default()).await;
    assert!(report.duplicates > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_an_event_that_was_decided_twice() {
    let report = broken_in("atomic", "marker-cas", Schedule::default()).await;
    assert!(report.duplicates > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_a_database_that_takes_no_note_of_what_it_commits() {
    let schedule = Schedule::kills(4);
    let report = broken_mode(("atomic", Mode::Database), "barrier", schedule).await;
    assert!(report.duplicates > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_what_is_not_known_taken_for_a_failure() {
    let schedule = Schedule::kills(4);
    let report = broken_mode(("atomic", Mode::Database), "settle", schedule).await;
    assert!(report.duplicates > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_an_atomic_event_that_was_answered_for_before_it_was_decided() {
    let schedule = Schedule::kills(3);
    let report = broken_in("atomic", "answer-last", schedule).await;
    assert!(report.lost > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_a_decision_that_was_made_after_its_changes_were_taken_back() {
    let schedule = Schedule(vec![Blow::Outpace; 2]);
    let report = broken_mode(("atomic", Mode::Databases), "fence", schedule).await;
    assert!(report.torn > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_changes_that_were_taken_back_in_the_order_in_which_they_were_made() {
    let schedule = Schedule::deaths("prepared", 0, 2);
    let report = broken_mode(("atomic", Mode::Databases), "undo-order", schedule).await;
    assert!(report.order_violations > 0, "{report:#?}");
}
