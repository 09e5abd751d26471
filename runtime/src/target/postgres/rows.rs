//! What is committed together with an event's effects: the state of its plugins, and what is to be
//! sent elsewhere. Their values are nobody's business here.

use super::database::{Database, Session};
use super::fault::Fault;
use super::transaction::{Step, Stop};
use bytes::Bytes;
use std::time::Duration;

/// Rows beside those of targets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows<'a> {
    /// State that the event's plan rests on: a key, and the revision that was read; 0: nothing.
    pub reads: &'a [(String, u64)],
    /// State that is written.
    pub writes: &'a [StateRow],
    /// What is to be sent once this is committed, in order.
    pub outbox: &'a [Bytes],
}

/// A state key that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The key.
    pub key: String,
    /// The revision that must still hold, 0: nothing is there; none: whatever there is.
    pub revision: Option<u64>,
    /// The new value; none: deleted.
    pub value: Option<Bytes>,
    /// How long it is kept; none: until deleted.
    pub ttl: Option<Duration>,
}

/// Something that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The name of the marker that it was committed with.
    pub marker: String,
    /// Its place among the others.
    pub ordinal: u32,
    /// What it is.
    pub body: Bytes,
}

const HOLD: &str = "\
    SELECT revision FROM syncline_meta.state WHERE key = $1::text FOR SHARE";
const PUT: &str = "\
    INSERT INTO syncline_meta.state AS s (key, revision, value, expires) \
    SELECT $1::text, 1, $2::bytea, now() + make_interval(secs => $3::float8) \
    WHERE $4::int8 IS NULL OR $4::int8 = 0 \
      OR EXISTS (SELECT 1 FROM syncline_meta.state WHERE key = $1::text) \
    ON CONFLICT (key) DO UPDATE SET revision = s.revision + 1, value = EXCLUDED.value, \
      expires = EXCLUDED.expires WHERE $4::int8 IS NULL OR s.revision = $4::int8";
const GET: &str = "\
    SELECT revision, CASE WHEN expires IS NULL OR expires > now() THEN value END \
    FROM syncline_meta.state WHERE key = $1::text";
const SEND: &str = "\
    INSERT INTO syncline_meta.outbox (marker, ordinal, body) \
    VALUES ($1::text, $2::int4, $3::bytea)";
const WAITING: &str = "\
    SELECT marker, ordinal, body FROM syncline_meta.outbox ORDER BY at, marker, ordinal LIMIT $1::int8";
const SENT: &str = "\
    DELETE FROM syncline_meta.outbox WHERE marker = $1::text AND ordinal = $2::int4";

impl Rows<'_> {
    /// Puts them into the transaction that `session` is in.
    pub(super) async fn write(&self, session: &Session, marker: &str) -> Result<(), Stop> {
        for (key, seen) in self.reads {
            let row = session.one(HOLD, &[key]).await?;
            let found: i64 = row.and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            if found != as_number(*seen) {
                return Err(changed(key));
            }
        }
        for row in self.writes {
            let value = row.value.as_deref();
            let seconds = row.ttl.map(|ttl| ttl.as_secs_f64());
            let revision = row.revision.map(as_number);
            let n_rows = session
                .run(PUT, &[&row.key, &value, &seconds, &revision])
                .await?;
            if n_rows == 0 {
                return Err(changed(&row.key));
            }
        }
        for (ordinal, body) in (0_i32..).zip(self.outbox) {
            session.run(SEND, &[&marker, &ordinal, &&**body]).await?;
        }
        Ok(())
    }
}

fn changed(key: &str) -> Stop {
    Stop::Said(Step::Conflict(format!(
        "the state at `{}` was changed meanwhile",
        key.escape_debug()
    )))
}

fn as_number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

impl Database {
    /// The state at `key`: its revision, and its value where it has one.
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn state(&self, key: &str) -> Result<Option<(u64, Option<Bytes>)>, String> {
        let read = async {
            let session = self.session().await?;
            let row = session.one(GET, &[&key]).await?;
            session.give_back();
            Ok::<_, Fault>(row)
        };
        let row = read.await.map_err(|fault| fault.text)?;
        Ok(row.and_then(|row| {
            let revision: i64 = row.try_get(0).ok()?;
            let value: Option<Vec<u8>> = row.try_get(1).ok()?;
            Some((u64::try_from(revision).unwrap_or(0), value.map(Bytes::from)))
        }))
    }

    /// What waits to be sent, at most so many, the oldest first.
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn outgoing(&self, most: u32) -> Result<Vec<Outgoing>, String> {
        let read = async {
            let session = self.session().await?;
            let rows = session.all(WAITING, &[&i64::from(most)]).await?;
            session.give_back();
            Ok::<_, Fault>(rows)
        };
        let rows = read.await.map_err(|fault| fault.text)?;
        let outgoing = |row: &tokio_postgres::Row| {
            let ordinal: i32 = row.try_get(1).ok()?;
            let body: Vec<u8> = row.try_get(2).ok()?;
            Some(Outgoing {
                marker: row.try_get(0).ok()?,
                ordinal: u32::try_from(ordinal).unwrap_or(0),
                body: body.into(),
            })
        };
        Ok(rows.iter().filter_map(outgoing).collect())
    }

    /// Takes out of the outbox what was sent.
    ///
    /// # Errors
    /// When the database does not do it: it is sent again.
    pub async fn sent(&self, outgoing: &Outgoing) -> Result<(), String> {
        let ordinal = i32::try_from(outgoing.ordinal).unwrap_or(i32::MAX);
        let deleted = async {
            let session = self.session().await?;
            session.run(SENT, &[&outgoing.marker, &ordinal]).await?;
            session.give_back();
            Ok::<_, Fault>(())
        };
        deleted.await.map_err(|fault| fault.text)
    }
}
