//! The databases of a measurement, made for it and dropped afterwards, each with one table.

use super::super::super::failure::Failure;
use syncline::shutdown::Tasks;
use tokio_postgres::{Client, NoTls};

/// What their names begin with.
const PREFIX: &str = "syncline_bench_";
const TABLE: &str = "CREATE TABLE orders (id text PRIMARY KEY, data jsonb)";
/// Between two turns.
const CLEAR: &str = "TRUNCATE orders, syncline_meta.barrier";

/// So many databases of one server.
pub(super) struct Ground {
    server: Client,
    urls: Vec<String>,
}

impl Ground {
    /// Makes them on the server at `url`, empty even if an earlier run left some.
    ///
    /// # Errors
    /// When the server does not.
    pub(super) async fn make(url: &str, n_databases: usize) -> anyhow::Result<Self> {
        let server = connect(url).await?;
        let mut ground = Self {
            server,
            urls: Vec::new(),
        };
        for n in 0..n_databases {
            let name = format!("{PREFIX}{n}");
            ground.drop_database(&name).await?;
            let made = format!("CREATE DATABASE {name}");
            ground.server.batch_execute(&made).await?;
            let url = within(url, &name);
            connect(&url).await?.batch_execute(TABLE).await?;
            ground.urls.push(url);
        }
        Ok(ground)
    }

    /// Where they are.
    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Makes sure that each holds every order of so many customers, written by so many transactions; and
    /// empties it.
    ///
    /// # Errors
    /// What one holds in place of that.
    pub(super) async fn clear(&self, n_rows: i64, n_transactions: i64) -> anyhow::Result<()> {
        let count = "SELECT (SELECT count(*) FROM orders), \
                     (SELECT count(*) FROM syncline_meta.barrier WHERE state = 'c')";
        for url in &self.urls {
            let database = connect(url).await?;
            let row = database.query_one(count, &[]).await?;
            let held: (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            anyhow::ensure!(
                held == (n_rows, n_transactions),
                "a database holds {held:?} rows and transactions, not {:?}",
                (n_rows, n_transactions)
            );
            database.batch_execute(CLEAR).await?;
        }
        Ok(())
    }

    /// Drops them.
    ///
    /// # Errors
    /// When the server does not.
    pub(super) async fn drop_all(self) -> anyhow::Result<()> {
        for n in 0..self.urls.len() {
            self.drop_database(&format!("{PREFIX}{n}")).await?;
        }
        Ok(())
    }

    async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let dropped = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        Ok(self.server.batch_execute(&dropped).await?)
    }
}

/// A connection of its own.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| {
        let failure = Failure::new("cannot connect to PostgreSQL").because(error);
        failure
            .remedy("name a server with --postgres")
            .unreachable()
    })?;
    Tasks::new().spawn(async move {
        // Whoever uses it is told.
        drop(connection.await);
    });
    Ok(client)
}

/// The address of another database of the server at `url`.
fn within(url: &str, name: &str) -> String {
    let (address, settings) = match url.split_once('?') {
        Some((address, settings)) => (address, format!("?{settings}")),
        None => (url, String::new()),
    };
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address.get(host..).and_then(|rest| rest.find('/'));
    let server = address.get(..end.map_or(address.len(), |end| host + end));
    format!("{}/{name}{settings}", server.unwrap_or(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_in_the_address_of_its_server() {
        for (url, expected) in [
            ("postgres://u@h:5/postgres", "postgres://u@h:5/b"),
            ("postgres://h", "postgres://h/b"),
            (
                "postgresql://h/a?sslmode=disable",
                "postgresql://h/b?sslmode=disable",
            ),
        ] {
            assert_eq!(within(url, "b"), expected);
        }
    }
}
