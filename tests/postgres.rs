//! Targets that are tables of a real PostgreSQL.

mod atomic;
mod effects;
mod server;
mod starts;
mod transactions;

use crate::harness::{Ce, PARTS, Postgres, Running, TestEnv};
use serde_json::Value;

/// A pipeline whose probe writes what events ask for. `attempts` is short: a failure is a letter soon.
const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

/// A target `db` in the database `postgres` of a server, with further lines.
fn target(name: &str, server: &Postgres, lines: &str) -> String {
    let url = server.url("postgres");
    format!("[targets.{name}]\nkind = \"postgres\"\nurl = \"{url}\"\n{lines}\n")
}

async fn run(env: &TestEnv, targets: &str) -> Running {
    env.run(&[PARTS, targets, PIPELINE].concat()).await
}

/// An event that asks for these effects.
fn asks(id: impl ToString, effects: &Value) -> Ce {
    let data = serde_json::json!({"key": "k", "do": "accept", "effects": effects});
    Ce::new(id).data(data)
}
