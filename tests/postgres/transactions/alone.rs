//! Everything in one database: committed at once, and once.

use super::{Lab, broken, marker, put, put_new};
use bytes::Bytes;
use futures::future::join_all;
use syncline::event::Precondition;
use syncline::target::postgres::{Rows, Settled, StateRow, Step};

const NOTHING: [&str; 4] = ["0", "0", "0", "0"];

fn state(revision: u64, value: &'static [u8]) -> StateRow {
    StateRow {
        key: "counts/a".to_owned(),
        revision: Some(revision),
        value: Some(Bytes::from_static(value)),
        ttl: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tables_state_and_outbox_change_together_and_once() {
    let lab = Lab::start(0).await;
    let (database, marker) = (lab.database(), marker("1"));
    let effects = [put("crm", "a", 1), put_new("ledger", "a", 1)];
    let outbox = [Bytes::from_static(b"first"), Bytes::from_static(b"second")];
    let rows = Rows {
        reads: &[("counts/a".to_owned(), 0)],
        writes: &[state(0, b"1")],
        outbox: &outbox,
    };
    let work = lab.work(&effects);
    let step = database.commit_alone(&marker, &work, &rows).await;
    assert_eq!(step, Step::Done);
    lab.crash().await;
    // What comes again is another attempt at the same event, whatever it would change now.
    let other = [put("crm", "b", 2)];
    let mut again = database
        .commit_alone(&marker, &lab.work(&other), &rows)
        .await;
    if let Step::Unknown(_) = again {
        // The connection was cut by the crash: that is found out by using it.
        again = database
            .commit_alone(&marker, &lab.work(&other), &rows)
            .await;
    }
    assert_eq!(again, Step::AlreadyDone);
    assert_eq!(lab.held().await, ["1", "1", "2", "0"]);
    assert_eq!(database.settle_alone(&marker).await, Settled::Committed);
    let found = database.state("counts/a").await.unwrap();
    assert_eq!(found, Some((1, Some(Bytes::from_static(b"1")))));
    let waiting = database.outgoing(10).await.unwrap();
    let bodies: Vec<_> = waiting.iter().map(|one| one.body.clone()).collect();
    assert_eq!(bodies, outbox);
    database.sent(&waiting[0]).await.unwrap();
    assert_eq!(database.outgoing(10).await.unwrap(), waiting[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_at_its_end_has_changed_nothing_and_can_be_committed_later() {
    let lab = Lab::start(0).await;
    let (database, marker) = (lab.database(), marker("1"));
    let commit = async |effects: &[_], rows: Rows<'_>| {
        let work = lab.work(effects);
        database.commit_alone(&marker, &work, &rows).await
    };
    let good = || put("crm", "a", 1);
    let step = commit(&[good(), broken("ledger")], Rows::default()).await;
    assert!(
        matches!(&step, Step::Refused(why) if why.contains("not JSON")),
        "{step:?}"
    );
    let mut present = put_new("ledger", "a", 1);
    present.effect.precondition = Some(Precondition::Present);
    let step = commit(&[good(), present], Rows::default()).await;
    assert!(
        matches!(&step, Step::Conflict(why) if why.contains("does not exist")),
        "{step:?}"
    );
    for revision in [0, 3] {
        let fresh = Rows {
            writes: &[state(revision, b"2")],
            reads: &[("counts/a".to_owned(), revision)],
            ..Rows::default()
        };
        // Of 3 nothing is there, and 0 is written with the first.
        let step = commit(&[good(), broken("ledger")], fresh).await;
        let is_conflict = matches!(&step, Step::Conflict(why) if why.contains("`counts/a`"));
        assert!(is_conflict || matches!(step, Step::Refused(_)), "{step:?}");
        let stale = Rows {
            writes: &[state(3, b"2")],
            ..Rows::default()
        };
        let step = commit(&[good()], stale).await;
        assert!(
            matches!(&step, Step::Conflict(why) if why.contains("`counts/a`")),
            "{step:?}"
        );
    }
    assert_eq!(lab.held().await, NOTHING);
    assert_eq!(commit(&[good()], Rows::default()).await, Step::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constraint_that_is_checked_at_the_end_refuses_all_of_it() {
    let lab = Lab::start(0).await;
    let deferred = "ALTER TABLE crm ADD CONSTRAINT in_ledger FOREIGN KEY (id) \
                    REFERENCES ledger (id) DEFERRABLE INITIALLY DEFERRED";
    lab.server.sql("postgres", deferred).await;
    let (database, marker) = (lab.database(), marker("1"));
    let both = [put("crm", "a", 1), put("ledger", "a", 1)];
    let alone = lab.work(&both[..1]);
    let step = database
        .commit_alone(&marker, &alone, &Rows::default())
        .await;
    assert!(
        matches!(&step, Step::Refused(why) if why.contains("in_ledger")),
        "{step:?}"
    );
    assert_eq!(lab.held().await, NOTHING);
    let (both, none) = (lab.work(&both), Rows::default());
    let step = database.commit_alone(&marker, &both, &none).await;
    assert_eq!(step, Step::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_commits_and_what_was_given_up_stays_so() {
    let lab = Lab::start(0).await;
    let (database, rows) = (lab.database(), Rows::default());
    for n in 0..20 {
        let (marker, effects) = (marker(&n.to_string()), [put("crm", &n.to_string(), n)]);
        let work = lab.work(&effects);
        let commits = join_all((0..4).map(|_| database.commit_alone(&marker, &work, &rows)));
        let (steps, settled) = futures::join!(commits, database.settle_alone(&marker));
        let n_done = steps.iter().filter(|step| **step == Step::Done).count();
        let there = lab
            .value(&format!("SELECT count(*) FROM crm WHERE id = '{n}'"))
            .await;
        let found = (n_done, there.as_deref());
        match settled {
            Settled::Committed => assert_eq!(found, (1, Some("1")), "{steps:?}"),
            Settled::Aborted => {
                assert_eq!(found, (0, Some("0")), "{steps:?}");
                let late = database.commit_alone(&marker, &work, &rows).await;
                assert!(matches!(late, Step::Aborted(_)), "{late:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_gone_nothing_is_known_and_afterwards_everything() {
    let lab = Lab::start(0).await;
    let (database, effects) = (lab.database(), [put("crm", "a", 1)]);
    let work = lab.work(&effects);
    lab.server.kill();
    let gone = database
        .commit_alone(&marker("1"), &work, &Rows::default())
        .await;
    assert!(matches!(gone, Step::Unknown(_)), "{gone:?}");
    let gone = database.settle_alone(&marker("1")).await;
    assert!(matches!(gone, Settled::Unknown(_)), "{gone:?}");
    lab.server.restart().await;
    assert_eq!(database.settle_alone(&marker("1")).await, Settled::Aborted);
    let done = database
        .commit_alone(&marker("2"), &work, &Rows::default())
        .await;
    assert_eq!(done, Step::Done);
}
