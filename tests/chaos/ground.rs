//! Where the effects of a run go: streams and a bucket, or tables instead of some of them, and a module
//! beside them.

use super::servers::Servers;
use super::settings::{Mode, Settings};
use crate::harness::{Message, OutsideModule, Postgres, TestEnv};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

/// The database of the second table, where there are two.
pub(super) const SECOND: &str = "second";
/// For the tables of `crm`, and of `audit`, which keeps them in order.
const CRM: &str = "CREATE TABLE crm (id text PRIMARY KEY, data jsonb)";
const AUDIT: &str = "CREATE TABLE audit (n bigserial PRIMARY KEY, data jsonb)";
/// How many transactions may be prepared at once.
const N_PREPARED: u32 = 64;

/// The ground of a run.
pub(super) struct Ground<'a> {
    env: &'a TestEnv,
    mode: Mode,
    joins: bool,
    server: Option<Postgres>,
    /// One that is changed before the decision, or that reserves.
    module: Option<OutsideModule>,
}

/// What lies there in the end.
pub(super) struct Held {
    /// What `search` has taken, in order.
    pub(super) search: Vec<Value>,
    /// What `audit` has taken, in order.
    pub(super) audit: Vec<Value>,
    /// What was written with decisions, in order, where anything is.
    pub(super) feed: Option<Vec<Value>>,
    /// How many events of each key the plugin has counted.
    pub(super) counts: BTreeMap<String, u64>,
    /// The dead letters.
    pub(super) letters: Vec<Value>,
    /// The entities of `crm`.
    pub(super) entries: BTreeMap<String, String>,
    /// What the module has taken, in order, where that is appended.
    pub(super) appended: Option<Vec<Value>>,
    /// The entities of the module, where they are replaced.
    pub(super) entities: Option<BTreeMap<String, String>>,
    /// Transactions that have not ended: prepared in a database, reserved in a module, or open on the log.
    pub(super) open: Vec<String>,
}

impl<'a> Ground<'a> {
    pub(super) async fn prepare(env: &'a TestEnv, servers: &Servers, settings: &Settings) -> Self {
        let mode = settings.mode;
        let server = match mode {
            Mode::Records | Mode::Changes => None,
            Mode::Database => Some(Postgres::start(0).await),
            Mode::Databases => Some(Postgres::start(N_PREPARED).await),
        };
        if let Some(server) = &server {
            server.sql("postgres", CRM).await;
            if mode == Mode::Databases {
                let database = format!("CREATE DATABASE {SECOND}");
                server.sql("postgres", &database).await;
            }
            server.sql(database_of_audit(mode), AUDIT).await;
        }
        if settings.guarantee == "atomic" {
            // Nothing but the decisions may hold a second effect back.
            servers.stream(env, "SEARCH", "search.>", true).await;
            if server.is_none() {
                servers.stream(env, "AUDIT", "audit.>", true).await;
            }
        }
        let module = match mode {
            Mode::Records | Mode::Database => None,
            Mode::Databases | Mode::Changes => Some(OutsideModule::start(env.folder()).await),
        };
        Self {
            env,
            mode,
            joins: settings.joins(),
            server,
            module,
        }
    }

    /// The targets `crm` and `audit`, and `api` where there is a module.
    pub(super) fn targets(&self) -> String {
        let module = self.module.as_ref();
        let module = module.map(|module| self.target_of(module));
        self.others() + &module.unwrap_or_default()
    }

    fn target_of(&self, module: &OutsideModule) -> String {
        let level = match self.mode {
            Mode::Databases => {
                let parts = module.url("/transactions/{transaction}");
                format!("level = \"M3\"\ntransactions = \"{parts}\"")
            }
            _ => "level = \"M2\"".to_owned(),
        };
        let url = module.url("/v2/{entity}/{key}");
        format!(
            "[targets.api]\nkind = \"http\"\nurl = \"{url}\"\n{level}\ntimeout = \"2s\"\n\
             breaker = {{ pause = \"50ms..500ms\" }}\n\n"
        )
    }

    fn others(&self) -> String {
        let Some(server) = &self.server else {
            return KV_AND_STREAM.to_owned();
        };
        let (crm, audit) = (
            server.url("postgres"),
            server.url(database_of_audit(self.mode)),
        );
        let table = |name: &str, url: &str, key: &str| {
            format!(
                "[targets.{name}]\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"{name}\"\n{key}\
                 create = true\ntimeout = \"2s\"\n\n"
            )
        };
        [
            table("crm", &crm, "key = \"id\"\n"),
            table("audit", &audit, ""),
        ]
        .concat()
    }

    /// The server of the databases, where there are any.
    pub(super) fn server(&self) -> Option<&Postgres> {
        self.server.as_ref()
    }

    /// Kills the server of the databases and starts it again.
    pub(super) async fn strike(&self) {
        if let Some(server) = &self.server {
            server.kill();
            server.restart().await;
        }
    }

    /// Kills the module and starts it again.
    pub(super) async fn strike_module(&self) {
        if let Some(module) = &self.module {
            module.kill();
            module.restart().await;
        }
    }

    pub(super) async fn held(&self) -> Held {
        let messages = async |stream| {
            let messages = self.env.messages(stream).await;
            messages.iter().map(Message::json).collect::<Vec<_>>()
        };
        let (audit, entries, mut open) = match &self.server {
            Some(server) => self.rows(server).await,
            None => (
                messages("AUDIT").await,
                self.env.kv("crm").await,
                Vec::new(),
            ),
        };
        open.extend(self.open_logs().await);
        let module = self.module.as_ref().map(OutsideModule::held);
        let (mut appended, mut entities) = (None, None);
        if let Some(held) = module {
            open.extend(held.reserved);
            let parse = |(_, content): (_, String)| serde_json::from_str(&content).unwrap();
            match self.mode {
                Mode::Databases => appended = Some(held.entities.into_iter().map(parse).collect()),
                _ => entities = Some(held.entities.into_iter().map(named_by_key).collect()),
            }
        }
        let (feed, counts) = match self.joins {
            true => (Some(self.feed().await), self.counts().await),
            false => (None, BTreeMap::new()),
        };
        Held {
            feed,
            counts,
            appended,
            entities,
            search: messages("SEARCH").await,
            audit,
            letters: messages("SYNCLINE_DLQ").await,
            entries,
            open,
        }
    }

    async fn feed(&self) -> Vec<Value> {
        let messages = self.env.messages("TX").await;
        let feed = messages.iter();
        let feed = feed.filter(|message| message.subject.starts_with("out.feed."));
        feed.map(Message::json).collect()
    }

    async fn counts(&self) -> BTreeMap<String, u64> {
        let prefix = "tx.state.p.probe.";
        let kept = self.env.last_on("TX", &format!("{prefix}>")).await;
        let count = |(subject, payload): (String, Bytes)| {
            let key = subject.strip_prefix(prefix).unwrap().to_owned();
            let count = std::str::from_utf8(&payload).unwrap().parse();
            (key, count.unwrap())
        };
        kept.into_iter().map(count).collect()
    }

    async fn rows(&self, server: &Postgres) -> (Vec<Value>, BTreeMap<String, String>, Vec<String>) {
        let text = "SELECT data FROM audit ORDER BY n";
        let audit = server.sql(database_of_audit(self.mode), text).await;
        let audit = audit.into_iter().flatten().flatten();
        let audit = audit.map(|data| serde_json::from_str(&data).unwrap());
        let entries = server.sql("postgres", "SELECT id, data FROM crm").await;
        let entries = entries.into_iter().map(|row| {
            let [id, data] = <[Option<String>; 2]>::try_from(row).unwrap();
            (id.unwrap(), data.unwrap())
        });
        let prepared = "SELECT gid FROM pg_prepared_xacts";
        let prepared = server.sql("postgres", prepared).await;
        let prepared = prepared.into_iter().flatten().flatten();
        (audit.collect(), entries.collect(), prepared.collect())
    }

    async fn open_logs(&self) -> Vec<String> {
        if self.env.js.get_stream("TX").await.is_err() {
            return Vec::new();
        }
        let last = self.env.last_on("TX", "tx.log.>").await;
        let open = last.into_iter().filter(|(_, payload)| {
            let line = payload.split(|byte| *byte == b'\n').next().unwrap();
            let head: Value = serde_json::from_slice(line).unwrap();
            !["DONE", "ABORTED"].contains(&head["state"].as_str().unwrap())
        });
        open.map(|(subject, _)| subject).collect()
    }
}

/// An entity of a module by its key instead of its path.
fn named_by_key((path, content): (String, String)) -> (String, String) {
    let key = path.rsplit('/').next().unwrap();
    (key.to_owned(), content)
}

fn database_of_audit(mode: Mode) -> &'static str {
    match mode {
        Mode::Databases => SECOND,
        _ => "postgres",
    }
}

const KV_AND_STREAM: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[targets.audit]
kind = "subject"
subject = "audit.{key}"
stream = "AUDIT"
create = true
"#;
