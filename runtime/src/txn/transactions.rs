//! The log of transactions as an operator sees it: what is on its way, what nobody but a person can
//! end, and the way to end it.

use super::reading::{Entry, Reading};
use super::record::{Resolution, State, TakenBack};
use super::stream::{STREAM, TxStream, Written, in_time};
use crate::event::PlannedEffect;
use crate::target::Image;
use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use serde::Serialize;
use std::fmt::Display;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long it can be seen that somebody ended a transaction, and why.
const KEPT_RESOLVED: Duration = Duration::from_hours(7 * 24);

/// The transactions of a server: those that change something before they are decided.
#[derive(Clone)]
pub struct Transactions {
    stream: TxStream,
}

/// A line of `syncline tx list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionSummary {
    /// Its name, never used twice.
    pub gid: String,
    /// The pipeline whose event it is for.
    pub pipeline: String,
    /// The partition, and under which ownership of it the transaction was begun.
    pub partition: u32,
    /// See `partition`.
    pub epoch: u64,
    /// How far it is.
    pub state: State,
    /// Since when, RFC 3339.
    pub since: String,
    /// The event's identity.
    pub event: String,
    /// The ordering key.
    pub key: String,
    /// The source stream.
    pub stream: String,
    /// The event's position in it.
    pub sequence: u64,
    /// What it changes, by target, in order, of each participant one; empty once it has ended.
    pub targets: Vec<String>,
    /// How somebody ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// One transaction whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What the list says of it.
    pub summary: TransactionSummary,
    /// What it changes, in order; empty once it has ended.
    pub changes: Vec<Change>,
    /// What taking it back came to, where that was begun: the last part first.
    pub taken_back: Vec<TakenBack>,
}

/// One effect of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The effect, and the name of its target.
    pub planned: PlannedEffect,
    /// What was there before, of a change that is made before the decision; the others follow it.
    pub before: Option<Image>,
}

/// What came of ending a transaction by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// It has ended.
    Yes,
    /// It waits for nobody: this is how far it is.
    No(State),
    /// There is none of that name.
    Unknown,
}

/// What was attempted with the transactions, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct TransactionError {
    attempted: String,
    cause: String,
}

impl Transactions {
    /// Opens the stream when there is one, and makes nothing.
    ///
    /// # Errors
    /// When JetStream does not answer.
    pub async fn find(context: &jetstream::Context) -> Result<Option<Self>, TransactionError> {
        let found = TxStream::find(context).await;
        let found = found.map_err(|cause| failed("open the stream", &cause))?;
        Ok(found.map(|stream| Self { stream }))
    }

    /// All that the log holds, oldest first: what has not ended, and for a while what has.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub async fn list(&self) -> Result<Vec<TransactionSummary>, TransactionError> {
        let entries = self.entries().await?;
        Ok(entries.iter().filter_map(TransactionSummary::of).collect())
    }

    /// The transaction of that name.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn get(&self, gid: &str) -> Result<Option<Transaction>, TransactionError> {
        Ok(self.entry(gid).await?.as_ref().and_then(Transaction::of))
    }

    /// Ends a transaction that nobody but a person can end, as `state`: somebody has seen to its targets.
    ///
    /// # Errors
    /// When the log cannot be read, or it is not known whether the end was written down.
    pub async fn resolve(
        &self,
        gid: &str,
        state: State,
        note: Option<String>,
    ) -> Result<Resolved, TransactionError> {
        let attempted = format!("end the transaction {gid}");
        // Whoever is faster than we are is seen at the next look.
        loop {
            let Some(entry) = self.entry(gid).await? else {
                return Ok(Resolved::Unknown);
            };
            if entry.record.head.state != State::Heuristic {
                return Ok(Resolved::No(entry.record.head.state));
            }
            let at = OffsetDateTime::now_utc().format(&Rfc3339);
            let at = at.map_err(|error| failed(&attempted, &error))?;
            let resolution = Resolution {
                at,
                note: note.clone(),
            };
            let body = entry.record.resolved(state, resolution).encode();
            let body = body.map_err(|error| failed(&attempted, &error))?;
            let written =
                self.stream
                    .roll_up(&entry.subject, entry.sequence, body, Some(KEPT_RESOLVED));
            match in_time(written).await {
                Ok(Written::At(_)) => return Ok(Resolved::Yes),
                Ok(Written::TooLate) => {}
                Err(error) => return Err(failed(&attempted, &error)),
            }
        }
    }

    async fn entry(&self, gid: &str) -> Result<Option<Entry>, TransactionError> {
        let entries = self.entries().await?;
        Ok(entries
            .into_iter()
            .find(|entry| entry.record.gid() == Some(gid)))
    }

    async fn entries(&self) -> Result<Vec<Entry>, TransactionError> {
        let failed = |error: String| failed("read the log", &error);
        // One record of each: see `Ledger::unfinished`.
        let all = DeliverPolicy::All;
        let subjects = "tx.log.>".to_owned();
        let reading = Reading::begin(&self.stream, subjects, all).await;
        let (mut reading, mut entries) = (reading.map_err(failed)?, Vec::new());
        while let Some(entry) = reading.next().await.map_err(failed)? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl TransactionSummary {
    fn of(entry: &Entry) -> Option<Self> {
        let (head, effects) = (&entry.record.head, &entry.record.effects);
        let transaction = head.transaction.as_ref()?;
        let event = &transaction.event;
        let branches = entry.record.branches();
        let branches = branches.map(|branch| branch.target.to_string());
        let changed = effects.iter();
        let changed = changed.map(|decided| decided.planned.target.to_string());
        Some(Self {
            gid: transaction.gid.clone(),
            // From `tx.log.PIPELINE.P.GID`.
            pipeline: entry.subject.split('.').nth(2)?.to_owned(),
            partition: transaction.partition,
            epoch: transaction.epoch,
            state: head.state,
            since: entry.at.format(&Rfc3339).unwrap_or_default(),
            event: event.id.to_string(),
            key: event.key.clone(),
            stream: event.stream.to_string(),
            sequence: event.sequence,
            targets: branches.chain(changed).collect(),
            resolution: head.resolution.clone(),
        })
    }
}

impl Transaction {
    fn of(entry: &Entry) -> Option<Self> {
        let changes = entry.record.effects.iter().map(|decided| Change {
            planned: decided.planned.clone(),
            before: decided.image.clone(),
        });
        Some(Self {
            summary: TransactionSummary::of(entry)?,
            changes: changes.collect(),
            taken_back: entry.record.head.transaction.as_ref()?.taken_back.clone(),
        })
    }
}

fn failed(attempted: &str, cause: &dyn Display) -> TransactionError {
    TransactionError {
        attempted: format!("cannot {attempted} of transactions, {STREAM}"),
        cause: cause.to_string(),
    }
}
