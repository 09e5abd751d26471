//! The yardstick: a plain loop over tokio-postgres on each connection, which does what somebody must who is to
//! know afterwards what was committed. The orders of a customer go over one connection, in their order.

use super::super::Args;
use super::super::lap::{Clock, Lap};
use super::super::streams::order;
use super::ground::connect;
use futures::future::try_join_all;
use syncline::shutdown::Tasks;
use tokio::sync::oneshot;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// As many as a pipeline has unless it is told otherwise.
const CONNECTIONS: usize = 8;
const BARRIER: &str = "\
    INSERT INTO syncline_meta.barrier (name, state) VALUES ($1, 'c') ON CONFLICT DO NOTHING";
const UPSERT: &str = "\
    INSERT INTO orders (id, data) VALUES ($1, $2::text::jsonb) \
    ON CONFLICT (id) DO UPDATE SET data = EXCLUDED.data";

/// One connection, its statements prepared.
struct Session {
    /// The number of its database: the names of prepared transactions are known in the whole server.
    n: usize,
    client: Client,
    barrier: Statement,
    upsert: Statement,
}

/// Writes every order to the databases at `urls`: to one in a transaction, to several in one that is prepared
/// in each and then committed.
///
/// # Errors
/// When a server refuses anything.
pub(super) async fn write(args: &Args, urls: &[String]) -> anyhow::Result<Lap> {
    let mut shares: Vec<Vec<(u64, String, String)>> = vec![Vec::new(); CONNECTIONS];
    for number in 0..args.events {
        let (key, order) = order(number, args);
        let order = String::from_utf8(order.to_vec())?;
        let customer: usize = key.trim_start_matches("c-").parse()?;
        if let Some(share) = shares.get_mut(customer % CONNECTIONS) {
            share.push((number, key, order));
        }
    }
    let mut workers = Vec::new();
    for share in shares {
        let mut sessions = Vec::new();
        for (n, url) in urls.iter().enumerate() {
            sessions.push(Session::open(n, url).await?);
        }
        workers.push((sessions, share));
    }
    let clock = Clock::start();
    let mut ends = Vec::new();
    for (sessions, share) in workers {
        let (end, ended) = oneshot::channel();
        Tasks::new().spawn(async move {
            // Nobody waits any more when another one has failed.
            let _failed = end.send(work(&sessions, &share).await);
        });
        ends.push(ended);
    }
    for ended in ends {
        ended.await??;
    }
    Ok(clock.stop(args.events))
}

async fn work(sessions: &[Session], share: &[(u64, String, String)]) -> anyhow::Result<()> {
    for (number, key, order) in share {
        // As long as the names that a pipeline gives.
        let name = format!("syncline:bench:{number:043}.0.1.{number}");
        match sessions {
            [session] => session.commit(&name, (key, order)).await?,
            sessions => {
                let prepared = sessions.iter();
                let prepared = prepared.map(|session| session.prepare(&name, (key, order)));
                try_join_all(prepared).await?;
                let committed = sessions.iter();
                let committed = committed.map(|session| session.commit_prepared(&name));
                try_join_all(committed).await?;
            }
        }
    }
    Ok(())
}

impl Session {
    async fn open(n: usize, url: &str) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        Ok(Self {
            n,
            barrier: client.prepare(BARRIER).await?,
            upsert: client.prepare(UPSERT).await?,
            client,
        })
    }

    async fn commit(&self, name: &str, row: (&str, &str)) -> anyhow::Result<()> {
        self.begin(name, row).await?;
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    async fn prepare(&self, name: &str, row: (&str, &str)) -> anyhow::Result<()> {
        self.begin(name, row).await?;
        let text = format!("PREPARE TRANSACTION '{name}:{}'", self.n);
        Ok(self.client.batch_execute(&text).await?)
    }

    async fn commit_prepared(&self, name: &str) -> anyhow::Result<()> {
        let text = format!("COMMIT PREPARED '{name}:{}'", self.n);
        Ok(self.client.batch_execute(&text).await?)
    }

    /// Sent together.
    async fn begin(&self, name: &str, (key, order): (&str, &str)) -> anyhow::Result<()> {
        let (client, name) = (&self.client, format!("{name}:{}", self.n));
        let name: [&(dyn ToSql + Sync); 1] = [&name];
        let row: [&(dyn ToSql + Sync); 2] = [&key, &order];
        let (begun, barred, written) = futures::join!(
            client.batch_execute("BEGIN"),
            client.execute(&self.barrier, &name),
            client.execute(&self.upsert, &row),
        );
        begun?;
        written?;
        anyhow::ensure!(barred? == 1, "it was committed before");
        Ok(())
    }
}
