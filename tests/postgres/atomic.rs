//! `guarantee = "atomic"` with tables: what an event changes in databases and elsewhere, all of it or
//! nothing, once, whatever is killed when.

mod alone;
mod late;
mod several;

use super::target;
use crate::atomic::{die_at, event, launch};
use crate::harness::{PARTS, Postgres, TestEnv, eventually};
use bytes::Bytes;
use serde_json::Value;

/// A server with a second database, and a stream that holds no second copy back.
struct World {
    env: TestEnv,
    server: Postgres,
}

/// Where what goes to is counted: the number in the row of `crm`, rows in `booked`, rows in the second
/// database, messages, and the number in the entry of `entries`.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    n: Option<i64>,
    booked: i64,
    second: i64,
    messages: u64,
    entry: Option<i64>,
}

const NOTHING: Held = Held {
    n: None,
    booked: 0,
    second: 0,
    messages: 0,
    entry: None,
};

impl World {
    async fn start(max_prepared: u32) -> Self {
        let (env, server) = (TestEnv::start().await, Postgres::start(max_prepared).await);
        server.sql("postgres", "CREATE DATABASE second").await;
        server
            .sql("second", "CREATE TABLE booked (data jsonb)")
            .await;
        let tables = "CREATE TABLE crm (id text PRIMARY KEY, data jsonb); \
                      CREATE TABLE booked (data jsonb)";
        server.sql("postgres", tables).await;
        env.forgetful("MESSAGES", &["messages.>"]).await;
        env.bucket("entries").await;
        Self { env, server }
    }

    /// A pipeline to these targets.
    fn config(&self, to: &str) -> String {
        let table = |name: &str, database: &str, lines: &str| {
            let lines = format!("{lines}\ncreate = true\ntimeout = \"2s\"");
            let config = target(name, &self.server, &lines);
            config.replace("/postgres\"", &format!("/{database}\""))
        };
        let pipeline = format!(
            r#"
[targets.messages]
kind = "subject"
subject = "messages.all"
stream = "MESSAGES"

[targets.entries]
kind = "kv"
bucket = "entries"

[pipelines.p]
source = {{ stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }}
key = "json:/key"
stages = ["probe"]
to = [{to}]
targets = []
guarantee = "atomic"
lease = "1s"
retry = {{ attempts = 20, backoff = "1ms..50ms" }}
"#
        );
        [
            &*PARTS.replace(", state = true", ""),
            &table("table", "postgres", "table = \"crm\"\nkey = \"id\""),
            &table("booked", "postgres", "table = \"booked\""),
            &table("second", "second", "table = \"booked\""),
            &pipeline,
        ]
        .concat()
    }

    async fn held(&self) -> Held {
        let number = async |database: &str, text: &str| {
            let found = self.server.value(database, text).await;
            found.map(|number| number.parse().unwrap())
        };
        let count = "SELECT count(*) FROM booked";
        let entry = self.env.entry("entries", "k").await;
        Held {
            n: number("postgres", "SELECT data->'n' FROM crm WHERE id = 'k'").await,
            booked: number("postgres", count).await.unwrap(),
            second: number("second", count).await.unwrap(),
            messages: self.env.n_messages("MESSAGES").await,
            entry: entry.and_then(|entry| entry["n"].as_i64()),
        }
    }

    async fn n_prepared(&self) -> i64 {
        let text = "SELECT count(*) FROM pg_prepared_xacts";
        let n_prepared = self.server.value("postgres", text).await.unwrap();
        n_prepared.parse().unwrap()
    }

    /// The states of the transactions on the log.
    async fn logged(&self) -> Vec<String> {
        let last = self.env.last_on("TX", "tx.log.>").await;
        let state = |(_, payload): &(String, Bytes)| {
            let line = payload.split(|byte| *byte == b'\n').next().unwrap();
            let head: Value = serde_json::from_slice(line).unwrap();
            head["state"].as_str().unwrap().to_owned()
        };
        last.iter().map(state).collect()
    }

    /// Runs the program until it dies at `point`, the source emptied then.
    async fn die_at(&self, config: &str, point: &str) {
        die_at(&self.env, config, point).await;
    }

    /// Makes the next run rest on nothing but what was written down.
    async fn forget_the_event(&self) {
        let source = self.env.js.get_stream("SRC").await.unwrap();
        source.purge().await.unwrap();
    }

    /// Waits until that is so.
    async fn until(&self, what: &str, expected: Held) {
        let mut held = NOTHING;
        eventually(what, async || {
            held = self.held().await;
            held == expected
        })
        .await;
    }
}
