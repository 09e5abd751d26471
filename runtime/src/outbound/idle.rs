//! Connections that nobody uses just now.

use super::connection::Connection;
use super::origin::Origin;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long one is kept: shorter than servers do, who would close it at the moment of its use.
const LONGEST: Duration = Duration::from_secs(20);

/// Open connections, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Idle {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

impl Idle {
    /// One to this place, still open.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        while let Some(mut connection) = self.last(origin) {
            if connection.is_open().await {
                return Some(connection);
            }
        }
        None
    }

    fn last(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.kept.lock();
        kept.retain(|one| one.since.elapsed() < LONGEST);
        let index = kept.iter().rposition(|one| one.origin == *origin)?;
        Some(kept.remove(index).connection)
    }

    /// Keeps one, of at most `most`.
    pub(super) async fn keep(&self, origin: Origin, mut connection: Connection, most: usize) {
        if !connection.is_open().await {
            return;
        }
        let mut kept = self.kept.lock();
        kept.push(Kept {
            origin,
            connection,
            since: Instant::now(),
        });
        let n_excess = kept.len().saturating_sub(most);
        kept.drain(..n_excess);
    }
}
