//! Everything in one database: committed at once, and once.

use super::{Lab, branch, broken, put, put_new};
use futures::future::join_all;
use syncline::event::Precondition;
use syncline::target::postgres::{Settled, Step};

const NOTHING: [&str; 3] = ["0", "0", "0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tables_change_together_and_once() {
    let lab = Lab::start(0).await;
    let (database, branch) = (lab.database(), branch("1"));
    let effects = [put("crm", "a", 1), put_new("ledger", "a", 1)];
    let work = lab.work(&effects);
    let step = database.commit_alone(&branch, &work).await;
    assert_eq!(step, Step::Done);
    lab.crash().await;
    // What comes again is another attempt at the same event, whatever it would change now.
    let other = [put("crm", "b", 2)];
    let mut again = database.commit_alone(&branch, &lab.work(&other)).await;
    if let Step::Silent(_) = again {
        // The connection was cut by the crash: that is found out by using it.
        again = database.commit_alone(&branch, &lab.work(&other)).await;
    }
    assert_eq!(again, Step::AlreadyDone);
    assert_eq!(lab.held().await, ["1", "1", "0"]);
    assert_eq!(database.settle(&branch).await, Settled::Committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_at_its_end_has_changed_nothing_and_can_be_committed_later() {
    let lab = Lab::start(0).await;
    let (database, branch) = (lab.database(), branch("1"));
    let commit = async |effects: &[_]| {
        let work = lab.work(effects);
        database.commit_alone(&branch, &work).await
    };
    let good = || put("crm", "a", 1);
    let step = commit(&[good(), broken("ledger")]).await;
    assert!(
        matches!(&step, Step::Refused(why) if why.contains("not JSON")),
        "{step:?}"
    );
    let mut present = put_new("ledger", "a", 1);
    present.effect.precondition = Some(Precondition::Present);
    let step = commit(&[good(), present]).await;
    assert!(
        matches!(&step, Step::Conflict(why) if why.contains("does not exist")),
        "{step:?}"
    );
    assert_eq!(lab.held().await, NOTHING);
    assert_eq!(commit(&[good()]).await, Step::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constraint_that_is_checked_at_the_end_refuses_all_of_it() {
    let lab = Lab::start(0).await;
    let deferred = "ALTER TABLE crm ADD CONSTRAINT in_ledger FOREIGN KEY (id) \
                    REFERENCES ledger (id) DEFERRABLE INITIALLY DEFERRED";
    lab.server.sql("postgres", deferred).await;
    let (database, branch) = (lab.database(), branch("1"));
    let both = [put("crm", "a", 1), put("ledger", "a", 1)];
    let alone = lab.work(&both[..1]);
    let step = database.commit_alone(&branch, &alone).await;
    assert!(
        matches!(&step, Step::Refused(why) if why.contains("in_ledger")),
        "{step:?}"
    );
    assert_eq!(lab.held().await, NOTHING);
    let both = lab.work(&both);
    let step = database.commit_alone(&branch, &both).await;
    assert_eq!(step, Step::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_commits_and_what_was_given_up_stays_so() {
    let lab = Lab::start(0).await;
    let database = lab.database();
    for n in 0..20 {
        let (branch, effects) = (branch(&n.to_string()), [put("crm", &n.to_string(), n)]);
        let work = lab.work(&effects);
        let commits = join_all((0..4).map(|_| database.commit_alone(&branch, &work)));
        let (steps, settled) = futures::join!(commits, database.settle(&branch));
        let n_done = steps.iter().filter(|step| **step == Step::Done).count();
        let there = lab
            .value(&format!("SELECT count(*) FROM crm WHERE id = '{n}'"))
            .await;
        let found = (n_done, there.as_deref());
        match settled {
            Settled::Committed => assert_eq!(found, (1, Some("1")), "{steps:?}"),
            Settled::Aborted => {
                assert_eq!(found, (0, Some("0")), "{steps:?}");
                let late = database.commit_alone(&branch, &work).await;
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
    let gone = database.commit_alone(&branch("1"), &work).await;
    assert!(matches!(gone, Step::Silent(_)), "{gone:?}");
    let gone = database.settle(&branch("1")).await;
    assert!(matches!(gone, Settled::Unknown(_)), "{gone:?}");
    lab.server.restart().await;
    assert_eq!(database.settle(&branch("1")).await, Settled::Aborted);
    let done = database.commit_alone(&branch("2"), &work).await;
    assert_eq!(done, Step::Done);
}
