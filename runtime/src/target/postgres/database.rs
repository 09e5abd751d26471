//! The connections to one database. All targets in it share them, so that a transaction can write
//! all of their tables.

use super::config::{Settings, Url};
use super::fault::{Fault, Meaning};
use crate::tls::Tls;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A value for a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// A database.
pub struct Database {
    pool: Pool,
    /// Where it is, for people's eyes.
    place: String,
    /// How long a statement may take.
    timeout: Duration,
    /// For the transactions that its server can prepare at once, in all databases, as it said.
    slots: Arc<OnceCell<Slots>>,
}

/// A server refuses more prepared transactions than it was told to keep.
struct Slots {
    n_all: usize,
    free: Semaphore,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.place).finish()
    }
}

/// What makes two targets share a database's connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    url: Url,
    tls: Option<Tls>,
}

impl Identity {
    fn of(settings: &Settings) -> Self {
        Self {
            url: settings.url.clone(),
            tls: settings.tls.clone(),
        }
    }
}

/// The databases of some targets. Those in one database share it.
pub(in crate::target) struct Databases {
    by_identity: BTreeMap<Identity, Result<Arc<Database>, String>>,
}

impl Databases {
    /// No connection is made yet.
    pub(in crate::target) fn of<'a>(
        targets: impl Iterator<Item = (&'a Settings, Duration)>,
    ) -> Self {
        let mut wanted: BTreeMap<Identity, (u32, Duration)> = BTreeMap::new();
        for (settings, timeout) in targets {
            let (connections, longest) = wanted.entry(Identity::of(settings)).or_default();
            *connections = settings.connections.max(*connections);
            *longest = timeout.max(*longest);
        }
        let mut servers: BTreeMap<String, Arc<OnceCell<Slots>>> = BTreeMap::new();
        let mut open = |(identity, (connections, timeout))| {
            let database = Database::new(&identity, connections, timeout).map(|mut database| {
                let slots = servers.entry(database.server().to_owned());
                database.slots = slots.or_default().clone();
                Arc::new(database)
            });
            (identity, database)
        };
        Self {
            by_identity: wanted.into_iter().map(&mut open).collect(),
        }
    }

    pub(in crate::target) fn get(&self, settings: &Settings) -> Result<Arc<Database>, String> {
        let found = self.by_identity.get(&Identity::of(settings));
        let unknown = || Err("its database is not among the opened ones".to_owned());
        found.cloned().unwrap_or_else(unknown)
    }
}

impl Database {
    /// No connection is made yet. `timeout` is how long a statement may take.
    fn new(identity: &Identity, connections: u32, timeout: Duration) -> Result<Self, String> {
        let parsed: Result<Config, _> = identity.url.expose().parse();
        let mut config = parsed.map_err(|_| "its URL is none".to_owned())?;
        config.connect_timeout(timeout).application_name("syncline");
        config.keepalives_idle(Duration::from_secs(30));
        let place = place_of(&config);
        let recycling_method = RecyclingMethod::Fast;
        let manager_config = ManagerConfig { recycling_method };
        let wants_tls = identity.tls.is_some() || config.get_ssl_mode() == SslMode::Require;
        let manager = if wants_tls {
            let client = identity.tls.clone().unwrap_or_default().client()?;
            config.ssl_mode(SslMode::Require);
            Manager::from_config(config, MakeRustlsConnect::new(client), manager_config)
        } else {
            config.ssl_mode(SslMode::Disable);
            Manager::from_config(config, NoTls, manager_config)
        };
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(connections).unwrap_or(usize::MAX))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(timeout),
                create: Some(timeout),
                recycle: Some(timeout),
            })
            .post_create(settings_of_sessions(timeout))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pool,
            place,
            timeout,
            slots: Arc::default(),
        })
    }

    /// Where it is, without user and password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Host and port.
    fn server(&self) -> &str {
        self.place
            .split_once('/')
            .map_or(&*self.place, |(server, _)| server)
    }

    /// How long a statement may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether transactions can be prepared in it, as far as it has said.
    #[must_use]
    pub fn is_preparable(&self) -> bool {
        self.slots.get().is_some_and(|slots| slots.n_all > 0)
    }

    /// Whether one server keeps what both prepare.
    #[must_use]
    pub fn shares_server(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slots, &other.slots)
    }

    /// Waits until so many more of our transactions may be prepared in it and in others of its server. To be
    /// held until they have ended. Whoever needs several on one server asks for them together, and whoever
    /// needs some on several asks in one order.
    pub async fn slots(&self, n_wanted: usize) -> Option<SemaphorePermit<'_>> {
        let slots = self.slots.get().filter(|slots| slots.n_all > 0)?;
        let n_wanted = u32::try_from(n_wanted.min(slots.n_all)).ok()?;
        slots.free.acquire_many(n_wanted).await.ok()
    }

    /// Asks what it can do.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        let asked = self.slots.get_or_try_init(|| async {
            let session = self.session().await?;
            let text = "SELECT current_setting('max_prepared_transactions')::int4";
            let row = session.one(text, &[]).await?;
            session.give_back();
            let n_preparable: i32 = row.and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            let n_all = usize::try_from(n_preparable).unwrap_or(0);
            Ok::<_, Fault>(Slots {
                n_all,
                free: Semaphore::new(n_all),
            })
        });
        asked.await.map(|_| ())
    }

    /// A connection for one piece of work.
    pub(super) async fn session(&self) -> Result<Session, Fault> {
        let got = self.pool.get().await;
        let client =
            got.map_err(|error| Fault::from(error).at(&format!("database `{}`", self.place)))?;
        Ok(Session {
            client: Some(client),
        })
    }
}

/// What holds in every session: nothing waits for ever, each statement sees what is committed, and what is said to
/// be committed outlives the server.
fn settings_of_sessions(timeout: Duration) -> Hook {
    let whole = timeout.as_millis().max(1);
    let half = (whole / 2).max(1);
    let text = format!(
        "SET statement_timeout = {whole}; SET lock_timeout = {half}; \
         SET idle_in_transaction_session_timeout = {whole}; \
         SET default_transaction_isolation = 'read committed'; \
         SELECT set_config('synchronous_commit', 'on', false) \
           WHERE current_setting('synchronous_commit') = 'off'"
    );
    Hook::async_fn(move |client, _| {
        let text = text.clone();
        Box::pin(async move {
            let set = client.batch_execute(&text).await;
            set.map_err(HookError::Backend)
        })
    })
}

fn place_of(config: &Config) -> String {
    let host = config.get_hosts().first().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let name = config.get_dbname().unwrap_or_default();
    format!("{}:{port}/{name}", host.unwrap_or_default())
}

/// A connection, lent for one piece of work. Unless it is given back it is closed: somebody may have
/// stopped waiting in the middle of a transaction.
pub(super) struct Session {
    client: Option<Object>,
}

impl Session {
    /// The work is done and nothing of it is open.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }

    fn client(&self) -> Result<&Object, Fault> {
        let gone = || Fault::new(Meaning::NotNow, "the connection was given back");
        self.client.as_ref().ok_or_else(gone)
    }

    /// A statement that the session knows from then on.
    pub(super) async fn prepared(&self, text: &str) -> Result<Statement, Fault> {
        Ok(self.client()?.prepare_cached(text).await?)
    }

    /// Runs one of them. It is sent when this is polled first.
    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<(), Fault> {
        Ok(self.client()?.execute(statement, values).await.map(drop)?)
    }

    /// How many rows it changed.
    pub(super) async fn run(&self, text: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        let client = self.client()?;
        let statement = client.prepare_cached(text).await?;
        Ok(client.execute(&statement, values).await?)
    }

    /// The first row.
    pub(super) async fn one(&self, text: &str, values: &[Value<'_>]) -> Result<Option<Row>, Fault> {
        let client = self.client()?;
        let statement = client.prepare_cached(text).await?;
        Ok(client.query_opt(&statement, values).await?)
    }

    /// Every row.
    pub(super) async fn all(&self, text: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        let client = self.client()?;
        let statement = client.prepare_cached(text).await?;
        Ok(client.query(&statement, values).await?)
    }

    /// Statements without values, such as those around a transaction.
    pub(super) async fn plainly(&self, text: &str) -> Result<(), Fault> {
        Ok(self.client()?.batch_execute(text).await?)
    }

    /// Takes back what was done since `BEGIN`. What does not come through is taken back with the
    /// connection.
    pub(super) async fn roll_back(self) {
        if self.plainly("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
