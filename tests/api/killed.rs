//! kill -9 of the runtime while clients change several targets at once.

use super::changes::config;
use super::client::try_ask;
use crate::harness::{Postgres, Process, TestEnv, eventually, free_ports};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many transactions there are, by how many clients at a time, and how often the runtime dies.
const TRANSACTIONS: usize = 1_000;
const CLIENTS: usize = 16;
const KILLS: usize = 10;

/// Every seventh cannot be: its row breaks a constraint.
fn is_sound(n: usize) -> bool {
    !n.is_multiple_of(7)
}

/// Sends one until it is known what became of it; whether it holds.
async fn see_through(api: SocketAddr, n: usize) -> bool {
    let value = if is_sound(n) { 1 } else { 10 };
    let of = |target: &str, version: u32| {
        json!({ "target": target, "version": version, "operation": "upsert",
                "key": format!("k{n}"), "payload": { "n": value } })
    };
    let body = json!({ "effects": [of("crm", 2), of("billing", 1)] }).to_string();
    let key = format!("request-{n}");
    let mut ended = None;
    eventually("the transaction ends", async || {
        let headers = [("Idempotency-Key", key.as_str())];
        let answer = try_ask(api, "POST /v1/transactions", &headers, &body).await;
        ended = match answer.as_ref().map(|answer| answer.status) {
            Ok(200) => Some(true),
            Ok(422) => Some(false),
            Ok(503 | 504) | Err(_) => None,
            Ok(status) => panic!("{status}: {answer:?}"),
        };
        ended.is_some()
    })
    .await;
    ended.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transaction_is_made_wholly_or_not_at_all() {
    let (env, server) = (TestEnv::start().await, Postgres::start(64).await);
    let table = "CREATE TABLE account (id text PRIMARY KEY, data jsonb, \
                 CONSTRAINT small CHECK ((data->>'n')::int < 10))";
    server.sql("postgres", table).await;
    let [port] = free_ports();
    let api: SocketAddr = ([127, 0, 0, 1], port).into();
    let text = env.text(&config(&env, &server, &api.to_string()));
    let path = env.folder().join("api.toml");
    std::fs::write(&path, text).unwrap();

    let (next, n_done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = || async {
        let mut ended = BTreeMap::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= TRANSACTIONS {
                return ended;
            }
            ended.insert(n, see_through(api, n).await);
            n_done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let killer = async {
        let mut process = Process::run(&path).await;
        for kill in 1..=KILLS {
            let due = TRANSACTIONS * kill / (KILLS + 1);
            eventually("transactions go on", async || {
                n_done.load(Ordering::Relaxed) >= due
            })
            .await;
            process.kill();
            process = Process::run(&path).await;
        }
        process
    };
    let clients = futures::future::join_all((0..CLIENTS).map(|_| client()));
    let (process, ended) = futures::join!(killer, clients);
    let ended: BTreeMap<usize, bool> = ended.into_iter().flatten().collect();
    assert_eq!(ended.len(), TRANSACTIONS);
    for (n, holds) in &ended {
        assert_eq!(*holds, is_sound(*n), "transaction {n}");
    }
    process.drain().await;

    let rows = server.sql("postgres", "SELECT id FROM account").await;
    let mut rows: Vec<String> = rows.into_iter().flatten().flatten().collect();
    rows.sort();
    let bucket = env.bucket("crm").await;
    let mut torn = Vec::new();
    for n in 0..TRANSACTIONS {
        let key = format!("k{n}");
        let entry = bucket.get(key.as_str()).await.unwrap().is_some();
        let row = rows.binary_search(&key).is_ok();
        if (entry, row) != (is_sound(n), is_sound(n)) {
            torn.push((n, entry, row));
        }
    }
    assert!(torn.is_empty(), "{torn:?}");
    let prepared = "SELECT count(*)::text FROM pg_prepared_xacts";
    assert_eq!(
        server.value("postgres", prepared).await.as_deref(),
        Some("0")
    );
}
