//! The steps of transactions in a real database, with the server killed between them.

mod alone;
mod bank;
mod prepared;

use super::target;
use crate::harness::{Postgres, TestEnv};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use syncline::event::{Effect, Headers, Operation, PlannedEffect, Precondition};
use syncline::target::postgres::Database;
use syncline::target::{Branch, Targets, Work};
use syncline::telemetry::Metrics;

/// A database with two tables, `crm` and `ledger`, and nobody but us.
struct Lab {
    server: Postgres,
    targets: Targets,
    _env: TestEnv,
}

impl Lab {
    async fn start(max_prepared: u32) -> Self {
        let (env, server) = (TestEnv::start().await, Postgres::start(max_prepared).await);
        let lines = |table: &str| {
            format!("table = \"{table}\"\nkey = \"id\"\ncreate = true\ntimeout = \"2s\"")
        };
        let config = [
            target("crm", &server, &lines("crm")),
            target("ledger", &server, &lines("ledger")),
        ];
        let config = env.parse(&config.concat());
        let opened = Targets::open(&env.js, &config.targets, &Metrics::new()).await;
        Self {
            server,
            targets: opened.unwrap(),
            _env: env,
        }
    }

    fn database(&self) -> &Arc<Database> {
        self.targets.get("crm").unwrap().database().unwrap()
    }

    fn work<'a>(&'a self, effects: &'a [PlannedEffect]) -> Vec<Work<'a>> {
        let one = |planned: &'a PlannedEffect| Work {
            target: self.targets.get(&planned.target).unwrap(),
            planned,
        };
        effects.iter().map(one).collect()
    }

    /// Kills the server and starts it again.
    async fn crash(&self) {
        self.server.kill();
        self.server.restart().await;
    }

    async fn value(&self, text: &str) -> Option<String> {
        self.server.value("postgres", text).await
    }

    /// How many rows `crm` and `ledger` hold, and how many transactions are prepared.
    async fn held(&self) -> [String; 3] {
        let text = "SELECT (SELECT count(*) FROM crm), (SELECT count(*) FROM ledger), \
                    (SELECT count(*) FROM pg_prepared_xacts)";
        let row = self.server.sql("postgres", text).await.remove(0);
        let row: Vec<_> = row.into_iter().map(Option::unwrap).collect();
        row.try_into().unwrap()
    }
}

/// An upsert.
fn put(target: &str, key: &str, payload: impl Into<Value>) -> PlannedEffect {
    PlannedEffect {
        target: target.into(),
        effect: Effect {
            target: Some(target.to_owned()),
            entity: None,
            operation: Operation::Upsert,
            key: key.to_owned(),
            precondition: None,
            content_type: None,
            headers: Headers::default(),
            payload: Bytes::from(payload.into().to_string()),
        },
        id: "0".to_owned(),
    }
}

/// The same where nothing may be yet.
fn put_new(target: &str, key: &str, payload: impl Into<Value>) -> PlannedEffect {
    let mut planned = put(target, key, payload);
    planned.effect.precondition = Some(Precondition::Absent);
    planned
}

/// One that no table takes.
fn broken(target: &str) -> PlannedEffect {
    let mut planned = put(target, "k", 1);
    planned.effect.payload = "{".into();
    planned
}

fn branch(gid: &str) -> Branch {
    Branch::new("test", "p", gid, 0).unwrap()
}
