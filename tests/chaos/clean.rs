//! What a run must not leave behind, wherever it ended: locks, work that waits, a lease; and how that came
//! about which was taken back.

use super::PATIENCE;
use super::ground::{Ground, SECOND};
use crate::harness::{Postgres, TestEnv, within};
use std::collections::BTreeMap;
use syncline::txn::holders;

/// Locks and open transactions of clients. Ours are gone by now; their server may not have noticed yet.
const LOCKS: &str = "\
    SELECT l.locktype || ' ' || l.mode || ': ' || a.state || ' ' || a.query FROM pg_locks l \
    JOIN pg_stat_activity a USING (pid) \
    WHERE a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'";
/// When it was settled that a transaction never will be.
const GIVEN_UP: &str = "\
    SELECT name, (extract(epoch FROM at) * 1000000)::int8::text FROM syncline_meta.barrier WHERE state = 'a'";

/// All that is left.
pub(super) async fn left(env: &TestEnv, server: Option<&Postgres>) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(server) = server {
        within(PATIENCE, async || {
            let locks = server.sql("postgres", LOCKS).await;
            left = locks.into_iter().flatten().flatten().collect();
            left.is_empty()
        })
        .await;
    }
    let source = env.js.get_stream("SRC").await.unwrap();
    let last = source.cached_info().state.last_sequence;
    let consumer = source.consumer_info("syncline-p").await.unwrap();
    let (floor, waiting) = (consumer.ack_floor.stream_sequence, consumer.num_ack_pending);
    if (floor, waiting) != (last, 0) {
        let what = format!("acked up to {floor} of {last}, {waiting} are not");
        left.push(what);
    }
    let holders = holders(&env.js, Some("p")).await.unwrap();
    for holder in holders.iter().filter(|holder| !holder.released) {
        left.push(format!("{} holds the lease", holder.owner));
    }
    left
}

/// Parts of transactions that were taken back before a later part of the same one was.
pub(super) async fn undone_late(ground: &Ground<'_>) -> Vec<String> {
    let Some(server) = ground.server() else {
        return Vec::new();
    };
    // By transaction and number of the part.
    let mut undone: BTreeMap<(String, u32), u64> = BTreeMap::new();
    for database in ["postgres", SECOND] {
        for row in server.try_sql(database, GIVEN_UP).await.unwrap_or_default() {
            let [name, at] = <[Option<String>; 2]>::try_from(row).unwrap();
            let (name, at) = (name.unwrap(), at.unwrap());
            let (transaction, n) = name.rsplit_once(':').unwrap();
            undone.insert(
                (transaction.to_owned(), n.parse().unwrap()),
                at.parse().unwrap(),
            );
        }
    }
    let is_late = |((transaction, n), at): &(&(String, u32), &u64)| {
        let next = undone.get(&(transaction.clone(), n + 1));
        next.is_some_and(|next| next > *at)
    };
    let late = undone.iter().filter(is_late);
    late.map(|((transaction, n), _)| format!("{transaction}: part {n} was not taken back last"))
        .collect()
}
