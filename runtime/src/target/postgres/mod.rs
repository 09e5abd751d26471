//! A target that is a table of a PostgreSQL database: each entity is a row.
//!
//! Every write takes note, in the same transaction, of the source and sequence that caused it, so that
//! a redelivery never takes a row back to an earlier state and appends no record twice.

mod at_once;
mod barrier;
mod catalog;
mod config;
mod database;
mod document;
mod fault;
mod list;
mod preview;
mod statements;
mod table;
mod transaction;

use super::{Answer, Cause, Config, Found, ReadError};
use crate::event::{Effect, Operation, encode_hash};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::Row;

pub use config::{Content, Settings, TableName, Url};
pub use database::Database;
pub(super) use database::Databases;
pub(super) use preview::merged;
pub use transaction::{Orphan, Settled, Step};

use database::Session;
use fault::{Fault, Meaning};
use table::{Table, Written};

/// After so many appended records those that were noted long ago are forgotten.
const FORGET_EVERY: u32 = 10_000;
/// How long an appended record is known. No stream delivers anything again after that.
const FORGET: &str = "\
    DELETE FROM syncline_meta.appended WHERE effect IN (SELECT effect FROM syncline_meta.appended \
    WHERE at < now() - interval '7 days' LIMIT 20000)";

/// Whether the database of `settings` can prepare transactions.
///
/// # Errors
/// When it does not say.
pub async fn prepares(settings: &Settings, timeout: Duration) -> Result<bool, String> {
    let database = Databases::of(std::iter::once((settings, timeout))).get(settings)?;
    database.probe().await.map_err(|fault| fault.text)?;
    Ok(database.is_preparable())
}

/// A table, and the database that it is in.
#[derive(Debug)]
pub(super) struct Postgres {
    database: Arc<Database>,
    table: Table,
    n_appended: AtomicU32,
}

impl Postgres {
    pub(super) async fn open(
        database: Arc<Database>,
        settings: &Settings,
        config: &Config,
    ) -> Result<Self, String> {
        catalog::prepare(&database, settings, config.create)
            .await
            .map_err(|fault| format!("{fault} (database `{}`)", database.place()))?;
        Ok(Self {
            table: Table::new(settings),
            database,
            n_appended: AtomicU32::new(0),
        })
    }

    /// The answer, and whether nothing was heard from the database.
    pub(super) async fn apply(&self, effect: &Effect, cause: &Cause) -> (Answer, bool) {
        let applied = match self.table.is_for(effect) {
            Ok(()) => self.try_apply(effect, cause).await,
            Err(why) => Ok(Answer::Refused(why)),
        };
        match applied {
            Ok(answer) => (answer, false),
            Err(fault) => {
                let is_silence = fault.meaning == Meaning::Silence;
                let fault = self.explained(fault, effect).await;
                (fault.into_answer(), is_silence)
            }
        }
    }

    async fn try_apply(&self, effect: &Effect, cause: &Cause) -> Result<Answer, Fault> {
        let row = match self.table.row(effect) {
            Ok(row) => row,
            Err(why) => return Ok(Answer::Refused(why)),
        };
        let session = self.database.session().await?;
        let statements = self.table.statements();
        match (effect.operation, &effect.precondition) {
            (Operation::Upsert, None) => {
                let seen = Seen::new(&self.table, effect, cause);
                seen.run(&session, &statements.seen_upsert, &row).await?;
            }
            (Operation::Append, None) => {
                self.forget(&session).await?;
                let values: [database::Value<'_>; 2] = [&row, &&*cause.message_id];
                session.run(&statements.seen_append, &values).await?;
            }
            _ => return self.apply_on_row(session, effect, cause, &row).await,
        }
        session.give_back();
        Ok(Answer::Applied)
    }

    /// An effect that rests on what the row holds, or takes it away.
    async fn apply_on_row(
        &self,
        session: Session,
        effect: &Effect,
        cause: &Cause,
        row: &str,
    ) -> Result<Answer, Fault> {
        let seen = Seen::new(&self.table, effect, cause);
        let text = &self.table.statements().seen;
        // Without it the note would be committed by itself.
        session.plainly("BEGIN").await?;
        if seen.run(&session, text, row).await? == 0 {
            session.roll_back().await;
            return Ok(Answer::Applied);
        }
        match self.table.write(&session, effect).await? {
            Written::Done => {
                session.plainly("COMMIT").await?;
                session.give_back();
                Ok(Answer::Applied)
            }
            Written::Not(answer) => {
                session.roll_back().await;
                Ok(answer)
            }
        }
    }

    /// Now and then, deletes what was noted of records long ago.
    async fn forget(&self, session: &Session) -> Result<(), Fault> {
        let n_appended = self.n_appended.fetch_add(1, Ordering::Relaxed);
        if n_appended.is_multiple_of(FORGET_EVERY) {
            session.run(FORGET, &[]).await?;
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        entity: Option<&str>,
        key: &str,
    ) -> Result<Option<Found>, ReadError> {
        let row = self
            .table
            .key_row(entity, key)
            .map_err(ReadError::Invalid)?;
        let read = async {
            let session = self.database.session().await?;
            let row = session.one(&self.table.statements().read, &[&row]).await?;
            session.give_back();
            Ok::<_, Fault>(row)
        };
        let row = read.await.map_err(unread)?;
        let found = row.map(|row| Found {
            content_type: "application/json".to_owned(),
            etag: row.try_get(0).unwrap_or_default(),
            data: shown(&row),
        });
        Ok(found)
    }

    /// The database, whose transactions can write all of its targets' tables.
    pub(super) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    fn table(&self) -> &Table {
        &self.table
    }

    /// Why an effect can never be one on this table, if it cannot.
    pub(super) fn misfit(&self, effect: &Effect) -> Option<String> {
        self.table.is_for(effect).err()
    }

    /// The fault with the column in it, where a value does not fit its column: the database does not
    /// say which.
    async fn explained(&self, fault: Fault, effect: &Effect) -> Fault {
        let is_of_value = fault
            .code
            .as_deref()
            .is_some_and(|code| code.starts_with("22"));
        let column = match is_of_value {
            true => self.unfit_column(effect).await,
            false => None,
        };
        let table = self.table.name();
        match column {
            Some(column) => fault.at(&format!("table `{table}`, column `{column}`")),
            None => fault.at(&format!("table `{table}`")),
        }
    }

    async fn unfit_column(&self, effect: &Effect) -> Option<String> {
        let session = self.database.session().await.ok()?;
        let mut unfit = None;
        for (column, row) in self.table.cells(effect) {
            let probed = session.one(self.table.probe(), &[&row]).await;
            if probed.is_err_and(|fault| fault.meaning == Meaning::Refused) {
                unfit = Some(column);
                break;
            }
        }
        session.give_back();
        unfit
    }
}

/// The entity in the second column of a row. A document that is SQL's NULL is JSON's.
fn shown(row: &Row) -> Bytes {
    let shown: Option<String> = row.try_get(1).ok().flatten();
    shown.unwrap_or_else(|| "null".to_owned()).into()
}

fn unread(fault: Fault) -> ReadError {
    match fault.meaning {
        Meaning::Refused => ReadError::Invalid(fault.text),
        _ => ReadError::Unavailable(fault.text),
    }
}

/// What is noted of an effect that is applied to an entity.
struct Seen<'a> {
    relation: &'a str,
    entity: &'a str,
    key: &'a str,
    cause: &'a Cause,
    created: i64,
    sequence: i64,
    ordering: Arc<str>,
    /// Whether it may have been overtaken, and then by events of other keys as well.
    maybe_overtaken: bool,
    by_any_key: bool,
}

impl<'a> Seen<'a> {
    fn new(table: &'a Table, effect: &'a Effect, cause: &'a Cause) -> Self {
        let is_blind = effect.precondition.is_none() && effect.operation != Operation::Merge;
        Self {
            relation: table.name(),
            entity: effect.entity.as_deref().unwrap_or_default(),
            key: &effect.key,
            cause,
            created: i64::try_from(cause.stream_created).unwrap_or(i64::MAX),
            sequence: i64::try_from(cause.sequence).unwrap_or(i64::MAX),
            ordering: encode_hash(&Sha256::digest(cause.key.as_str())),
            // What other keys wrote later tells nothing of an effect that rests on the row. Nor does
            // what its own key wrote while the event was a dead letter.
            maybe_overtaken: cause.maybe_seen && (is_blind || cause.generation == 0),
            by_any_key: is_blind,
        }
    }

    /// Runs a statement that takes note. 0: there was nothing to do.
    async fn run(&self, session: &Session, text: &str, row: &str) -> Result<u64, Fault> {
        let values: [database::Value<'_>; 11] = [
            &row,
            &self.relation,
            &self.entity,
            &self.key,
            &&*self.cause.message_id,
            &&*self.cause.stream,
            &self.created,
            &self.sequence,
            &&*self.ordering,
            &self.maybe_overtaken,
            &self.by_any_key,
        ];
        session.run(text, &values).await
    }
}
