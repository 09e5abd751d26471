//! Money moves between two servers, either of which is killed at any step: none is made or lost.

use super::super::target;
use super::{branch, put};
use crate::harness::{Postgres, TestEnv};
use fastrand::Rng;
use syncline::event::{Operation, PlannedEffect};
use syncline::target::Work;
use syncline::target::postgres::{Database, Settled, Step};
use syncline::target::{Target, Targets};
use syncline::telemetry::Metrics;

const N_TRANSFERS: u32 = 40;
const SEED: u64 = 20_261_123;

/// Starts it again when it was killed.
async fn revive(server: &Postgres) {
    if server.try_sql("postgres", "SELECT 1").await.is_err() {
        server.restart().await;
    }
}

/// What is known once the server is there again.
async fn known(server: &Postgres, mut ask: impl AsyncFnMut() -> Option<Settled>) -> Settled {
    for _ in 0..10 {
        if let Some(settled) = ask().await {
            return settled;
        }
        revive(server).await;
    }
    panic!("nothing is known of the branch");
}

/// Prepares a branch; what is not known is settled.
async fn prepare(database: &Database, server: &Postgres, gid: &str, work: Work<'_>) -> bool {
    let branch = branch(gid);
    if let Step::Done | Step::AlreadyDone = database.prepare(&branch, &[work]).await {
        return true;
    }
    let settled = known(server, async || match database.settle(&branch).await {
        Settled::Unknown(_) => None,
        known => Some(known),
    });
    settled.await == Settled::Prepared
}

/// Carries the decision out, however long that takes.
async fn finish(database: &Database, server: &Postgres, gid: &str, is_commit: bool) {
    let branch = branch(gid);
    let ended = known(server, async || match is_commit {
        true => match database.commit(&branch).await {
            Step::Done | Step::AlreadyDone => Some(Settled::Committed),
            Step::Aborted(_) => Some(Settled::Aborted),
            _ => None,
        },
        false => match database.abort(&branch).await {
            Settled::Unknown(_) => None,
            known => Some(known),
        },
    });
    let expected = match is_commit {
        true => Settled::Committed,
        false => Settled::Aborted,
    };
    assert_eq!(ended.await, expected, "{gid}");
}

/// A booking: its key is the transfer, so that one that is made twice is one that is seen.
fn booking(target: &str, n: u32, amount: i64) -> PlannedEffect {
    let mut planned = put(target, &format!("t{n}"), amount);
    planned.effect.operation = Operation::Append;
    planned
}

/// Kills one of the servers now and then: most steps meet one that is there.
fn strike(servers: &[Postgres; 2], rng: &mut Rng) {
    let victim = &servers[rng.usize(..2)];
    if rng.u8(..) < 40 {
        victim.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_made_or_lost_between_two_servers_that_are_killed_at_any_step() {
    let (env, mut rng) = (TestEnv::start().await, Rng::with_seed(SEED));
    let servers = [Postgres::start(8).await, Postgres::start(8).await];
    let lines = "table = \"booked\"\nkey = \"id\"\ncreate = true\ntimeout = \"2s\"";
    let config = [
        target("from", &servers[0], lines),
        target("to", &servers[1], lines),
    ];
    let config = env.parse(&config.concat());
    let targets = Targets::open(&env.js, &config.targets, &Metrics::new()).await;
    let targets = targets.unwrap();
    let sides: [(&Target, &Postgres, &str, i64); 2] = [
        (targets.get("from").unwrap(), &servers[0], "from", -1),
        (targets.get("to").unwrap(), &servers[1], "to", 1),
    ];
    let mut n_committed = 0;
    for n in 0..N_TRANSFERS {
        let gid = format!("t{n}.1");
        let mut all_prepared = true;
        for (target, server, name, sign) in sides {
            strike(&servers, &mut rng);
            let planned = &booking(name, n, sign * i64::from(n));
            let database = target.database().unwrap();
            all_prepared &= prepare(database, server, &gid, Work { target, planned }).await;
        }
        // The decision: some are given up although they could be committed.
        let is_commit = all_prepared && rng.u8(..) > 50;
        n_committed += u32::from(is_commit);
        for (target, server, ..) in sides {
            strike(&servers, &mut rng);
            finish(target.database().unwrap(), server, &gid, is_commit).await;
        }
    }
    let mut sum = 0;
    for server in &servers {
        revive(server).await;
        let text = "SELECT count(*), sum(data::text::int), \
                    (SELECT count(*) FROM pg_prepared_xacts) FROM booked";
        let row = server.sql("postgres", text).await.remove(0);
        let numbers = row
            .iter()
            .map(|value| value.as_ref().unwrap().parse::<i64>());
        let numbers: Vec<_> = numbers.map(Result::unwrap).collect();
        assert_eq!(
            [numbers[0], numbers[2]],
            [i64::from(n_committed), 0],
            "{row:?}"
        );
        sum += numbers[1];
    }
    assert_eq!(sum, 0, "money was made or lost");
    assert!(
        (5..N_TRANSFERS).contains(&n_committed),
        "{n_committed} says nothing"
    );
}
