//! Prepared, then committed or aborted, whatever dies in between.

use super::{Lab, branch, broken, put};
use std::time::Duration;
use syncline::target::Branch;
use syncline::target::postgres::{Settled, Step};

/// Asks until the connections that a crash cut are used up.
async fn known<T>(mut ask: impl AsyncFnMut() -> T, is_unknown: fn(&T) -> bool) -> T {
    let mut last = ask().await;
    for _ in 0..10 {
        if !is_unknown(&last) {
            break;
        }
        last = ask().await;
    }
    last
}

async fn known_step(ask: impl AsyncFnMut() -> Step) -> Step {
    known(ask, |step| matches!(step, Step::Silent(_))).await
}

async fn known_end(ask: impl AsyncFnMut() -> Settled) -> Settled {
    known(ask, |settled| matches!(settled, Settled::Unknown(_))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_prepared_is_unseen_outlives_the_server_and_is_committed_once() {
    let lab = Lab::start(4).await;
    let (database, branch) = (lab.database(), branch("e1.1"));
    let effects = [put("crm", "a", 1), put("ledger", "a", 1)];
    let work = lab.work(&effects);
    assert_eq!(database.prepare(&branch, &work).await, Step::Done);
    assert_eq!(lab.held().await, ["0", "0", "1"]);
    lab.crash().await;
    let again = known_step(async || database.prepare(&branch, &work).await).await;
    assert_eq!(again, Step::AlreadyDone);
    assert_eq!(database.settle(&branch).await, Settled::Prepared);
    assert_eq!(lab.held().await, ["0", "0", "1"]);
    assert_eq!(database.commit(&branch).await, Step::Done);
    lab.crash().await;
    let again = known_step(async || database.commit(&branch).await).await;
    assert_eq!(again, Step::AlreadyDone);
    assert_eq!(lab.held().await, ["1", "1", "0"]);
    // Nothing that comes late changes that.
    assert_eq!(database.settle(&branch).await, Settled::Committed);
    assert_eq!(database.abort(&branch).await, Settled::Committed);
    assert_eq!(database.prepare(&branch, &work).await, Step::AlreadyDone);
    assert_eq!(lab.held().await, ["1", "1", "0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_aborted_leaves_nothing_and_cannot_be_prepared_late() {
    let lab = Lab::start(4).await;
    let database = lab.database();
    let effects = [put("crm", "a", 1)];
    let work = lab.work(&effects);
    let prepared = branch("e1.1");
    assert_eq!(database.prepare(&prepared, &work).await, Step::Done);
    lab.crash().await;
    // One was prepared, of the other nobody has heard yet.
    for branch in [prepared, branch("e2.1")] {
        let aborted = known_end(async || database.abort(&branch).await).await;
        assert_eq!(aborted, Settled::Aborted, "{branch}");
        assert_eq!(database.abort(&branch).await, Settled::Aborted);
        assert_eq!(database.settle(&branch).await, Settled::Aborted);
        let late = database.prepare(&branch, &work).await;
        assert!(matches!(late, Step::Aborted(_)), "{late:?}");
        let late = database.commit(&branch).await;
        assert!(matches!(late, Step::Aborted(_)), "{late:?}");
    }
    assert_eq!(lab.held().await, ["0", "0", "0"]);
    // To settle one that is not prepared is to abort it.
    let third = branch("e3.1");
    assert_eq!(database.settle(&third).await, Settled::Aborted);
    let late = database.prepare(&third, &work).await;
    assert!(matches!(late, Step::Aborted(_)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_refused_or_finds_no_room_is_not_prepared() {
    let lab = Lab::start(1).await;
    let database = lab.database();
    let prepare = async |gid: &str, effects: &[_]| {
        let work = lab.work(effects);
        database.prepare(&branch(gid), &work).await
    };
    let (a, b) = (put("crm", "a", 1), put("crm", "b", 1));
    let refused = prepare("e1.1", &[a.clone(), broken("ledger")]).await;
    assert!(matches!(refused, Step::Refused(_)), "{refused:?}");
    assert_eq!(prepare("e2.1", std::slice::from_ref(&a)).await, Step::Done);
    let full = prepare("e3.1", std::slice::from_ref(&b)).await;
    assert!(
        matches!(&full, Step::Away(why) if why.contains("53200")),
        "{full:?}"
    );
    let held = prepare("e4.1", &[a]).await;
    assert!(
        matches!(&held, Step::Unknown(why) if why.contains("55P03")),
        "{held:?}"
    );
    assert_eq!(lab.held().await, ["0", "0", "1"]);
    assert_eq!(database.commit(&branch("e2.1")).await, Step::Done);
    assert_eq!(prepare("e3.1", &[b]).await, Step::Done);
    assert_eq!(database.commit(&branch("e3.1")).await, Step::Done);
    assert_eq!(lab.held().await, ["2", "0", "0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_prepares_nothing_says_so() {
    let lab = Lab::start(0).await;
    assert!(!lab.database().is_preparable());
    let effects = [put("crm", "a", 1)];
    let refused = lab
        .database()
        .prepare(&branch("e1.1"), &lab.work(&effects))
        .await;
    let expected = "max_prepared_transactions";
    assert!(
        matches!(&refused, Step::Refused(why) if why.contains(expected)),
        "{refused:?}"
    );
    let lab = Lab::start(1).await;
    assert!(lab.database().is_preparable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_left_prepared_is_found_by_its_name() {
    let lab = Lab::start(5).await;
    let database = lab.database();
    let others = [
        ("test", "p"),
        ("test", "p"),
        ("testing", "p"),
        ("test", "pp"),
    ];
    for (n, (cluster, pipeline)) in others.into_iter().enumerate() {
        let branch = Branch::new(cluster, pipeline, &format!("e{n}.1"), 2).unwrap();
        let effects = [put("crm", &n.to_string(), 1)];
        assert_eq!(
            database.prepare(&branch, &lab.work(&effects)).await,
            Step::Done
        );
    }
    let foreign = "BEGIN; INSERT INTO crm VALUES ('x', '1'); PREPARE TRANSACTION 'syncline-test:x'";
    lab.server.sql("postgres", foreign).await;
    let found = database.orphans("test", "p").await.unwrap();
    let names: Vec<_> = found.iter().map(|orphan| orphan.branch.gid()).collect();
    assert_eq!(names, [Some("e0.1"), Some("e1.1")]);
    assert!(
        found
            .iter()
            .all(|orphan| orphan.age < Duration::from_secs(60))
    );
    for orphan in found {
        assert_eq!(database.abort(&orphan.branch).await, Settled::Aborted);
    }
    assert_eq!(database.orphans("test", "p").await.unwrap(), []);
    assert_eq!(lab.held().await[2], "3");
}
