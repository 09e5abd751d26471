//! The log of transactions that change something before the decision, on `tx.log.PIPELINE.P.GID`: what
//! is on its way, until it has ended.

use super::ledger::{Found, Ledger, Waiting};
use super::reading::{Entry, Reading};
use super::record::{Ended, Record, State};
use super::stream::{Written, in_time};
use super::{Setback, Tenure};
use crate::event::EventId;
use crate::fault::{self, Promise};
use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// How long it can be seen how a transaction ended. Of one that somebody has to look at, for ever.
const KEPT: Duration = Duration::from_secs(60);

/// What came of making a decision impossible.
pub(super) enum Fence {
    /// It had been made.
    Decided(Box<Record>),
    /// It cannot be made any more.
    Fenced,
    /// The record was written after a later tenure of its partition had begun, or that one decided about the event
    /// once it had taken back what it found; or the server has forgotten that the record was closed, and a later
    /// attempt decided. Either way there is nothing left to do for it.
    Late,
    /// That is not for us to do any more.
    Replaced,
}

/// Records of the log by subject, each with its position: of each transaction the last one counts.
#[derive(Default)]
struct Log {
    unfinished: BTreeMap<String, Found>,
    /// Closed, while the record before is there as well: a server that was killed may have forgotten that it
    /// was replaced.
    forgotten: BTreeMap<String, Found>,
}

impl Log {
    fn add(&mut self, entry: Entry) {
        let (subject, sequence, record) = (entry.subject, entry.sequence, entry.record);
        let found = Found { sequence, record };
        if found.record.head.state == State::Preparing {
            self.unfinished.insert(subject, found);
        } else if self.unfinished.remove(&subject).is_some() {
            self.forgotten.insert(subject, found);
        }
    }
}

impl Ledger {
    /// A record as it is written.
    ///
    /// # Errors
    /// When it is larger than the server takes.
    pub(super) fn encoded(&self, record: &Record) -> Result<Bytes, Setback> {
        let body = record.encode();
        let body = body.map_err(|error| Setback::at("TX", &error.to_string()))?;
        let largest = self.largest();
        if body.len() > largest {
            let why = format!(
                "the effects of the event are {} bytes together, with what they replace, and a record \
                 holds at most {largest} (`max_payload` of the server)",
                body.len()
            );
            return Err(Setback::at("TX", &why));
        }
        Ok(body)
    }

    /// Writes down what will be changed before the decision; false when the tenure ends before.
    ///
    /// # Errors
    /// When the record is too large.
    pub(super) async fn begin(&self, record: &Record, tenure: &Tenure) -> Result<bool, Setback> {
        let body = self.encoded(record)?;
        let Some(subject) = self.log_of(record) else {
            return Ok(true);
        };
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return Ok(false);
            }
            // Nobody else writes there: one that is there already is ours.
            match in_time(self.stream.replace(&subject, 0, body.clone(), None)).await {
                Ok(_) => return Ok(true),
                Err(error) => {
                    if let Some(why) = self.too_large(body.len()).await {
                        return Err(Setback::at("TX", &why));
                    }
                    let attempted = format!("cannot write the log record {subject}");
                    if !waiting.wait(&attempted, &error, tenure).await {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Writes down how a transaction ended; false when the tenure ends before.
    pub(super) async fn close(&self, record: &Record, state: State, tenure: &Tenure) -> bool {
        let ended = match state {
            // What is left of it is for somebody to read.
            State::Heuristic => record.in_state(state),
            _ => record.ended(state),
        };
        // What somebody is to read must not keep it from being written.
        let whole = ended.encode().ok();
        let body = whole.filter(|body| body.len() <= self.largest());
        let body = body.or_else(|| record.ended(state).without_reasons().encode().ok());
        let (Some(subject), Some(body)) = (self.log_of(record), body) else {
            return true;
        };
        let kept = (state != State::Heuristic).then_some(KEPT);
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return false;
            }
            let last = in_time(self.stream.last(&subject)).await;
            let written = match last {
                Ok(Some(last)) => {
                    let written = self
                        .stream
                        .roll_up(&subject, last.sequence, body.clone(), kept);
                    in_time(written).await
                }
                Ok(None) => return true,
                Err(error) => Err(error),
            };
            match written {
                Ok(Written::At(_)) => return true,
                Ok(Written::TooLate) => {}
                Err(error) => {
                    let attempted = format!("cannot close the log record {subject}");
                    if !waiting.wait(&attempted, &error, tenure).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Sees to it that no decision is made for what was `begun`, unless one was.
    pub(super) async fn fence(&self, begun: &Found, tenure: &Tenure) -> Fence {
        let record = &begun.record;
        let began_in = begun.decided_by();
        let is_late = began_in.is_some_and(|(_, epoch)| tenure.came_late(epoch, begun.sequence));
        self.make_impossible(record, is_late, tenure).await
    }

    /// The same for a decision, of which with `is_late` nothing is written any more.
    pub(super) async fn make_impossible(
        &self,
        record: &Record,
        is_late: bool,
        tenure: &Tenure,
    ) -> Fence {
        let Some(event) = record.event() else {
            return Fence::Fenced;
        };
        let subject = self.subject(event.as_str());
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return Fence::Replaced;
            }
            let written = match self.stands(record, event).await {
                Ok(Ok(_)) if fault::breaks(Promise::Fence) => return Fence::Fenced,
                Ok(Ok(_) | Err(Fence::Fenced)) if is_late => return Fence::Late,
                Ok(Ok((expected, ended))) => {
                    let aborted = record.ended(State::Aborted).after_end(ended);
                    let Ok(body) = aborted.encode() else {
                        return Fence::Fenced;
                    };
                    let kept = Some(self.horizon);
                    in_time(self.stream.replace(&subject, expected, body, kept)).await
                }
                Ok(Err(fence)) => return fence,
                Err(error) => Err(error),
            };
            match written {
                Ok(Written::At(_)) => return Fence::Fenced,
                Ok(Written::TooLate) => {}
                Err(error) => {
                    let attempted = format!("cannot write the decision {subject}");
                    if !waiting.wait(&attempted, &error, tenure).await {
                        return Fence::Replaced;
                    }
                }
            }
        }
    }

    /// How it stands with the decision for `record`: what has to be replaced so that none is made, and the last
    /// generation that has ended; or that nothing has to be.
    async fn stands(
        &self,
        record: &Record,
        event: &EventId,
    ) -> Result<Result<(u64, Option<u32>), Fence>, String> {
        let Some(found) = self.find(event.as_str()).await? else {
            return Ok(Ok((0, None)));
        };
        let is_same = found.record.gid() == record.gid();
        Ok(match self.ended(&found, record.head.generation).await? {
            Ended::Here if is_same => Err(Fence::Decided(Box::new(found.record))),
            Ended::Here | Ended::Before
                if found.is_of_later_tenure(record) || found.is_of_later_attempt(record) =>
            {
                Err(Fence::Late)
            }
            // Decided otherwise: what is on its way for this one comes too late.
            Ended::Here | Ended::Before => Err(Fence::Fenced),
            Ended::No(_) if found.is_aborted() && is_same => Err(Fence::Fenced),
            Ended::No(last) => Ok((found.sequence, last)),
        })
    }

    /// The log record of a transaction.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn logged(&self, partition: u32, gid: &str) -> Result<Option<Found>, String> {
        let subject = format!("tx.log.{}.{partition}.{gid}", self.pipeline);
        let Some(message) = in_time(self.stream.last(&subject)).await? else {
            return Ok(None);
        };
        let record = Record::decode(&message.payload);
        Ok(Some(Found {
            sequence: message.sequence,
            record: record.map_err(|error| format!("reading {subject}: {error}"))?,
        }))
    }

    /// The transactions of `partition` that have not ended.
    ///
    /// # Errors
    /// When the log cannot be read to its end.
    pub(super) async fn unfinished(&self, partition: u32) -> Result<Vec<Found>, String> {
        let subjects = format!("tx.log.{}.{partition}.>", self.pipeline);
        // A consumer of the last of each subject stops for ever at those that expire while it reads
        // (nats-server 2.15.1).
        let mut reading = Reading::begin(&self.stream, subjects, DeliverPolicy::All).await?;
        let mut log = Log::default();
        while let Some(entry) = reading.next().await? {
            log.add(entry);
        }
        self.open_of(log).await
    }

    /// Those that were begun in tenures of these epochs. Without a consumer: this is asked again and again,
    /// and one that has been left looks at each message that is written for half a minute more, on several
    /// subjects for milliseconds (nats-server 2.15.1).
    ///
    /// # Errors
    /// When the log cannot be read to its end.
    pub(super) async fn unfinished_of(
        &self,
        partition: u32,
        epochs: Range<u64>,
    ) -> Result<Vec<Found>, String> {
        let mut log = Log::default();
        for epoch in epochs {
            // As `Ledger::new_gid` makes them.
            let of_epoch = format!(
                "tx.log.{}.{partition}.*.{partition}.{epoch}.*",
                self.pipeline
            );
            let mut next = 1;
            while let Some(entry) = Entry::first_from(&self.stream, &of_epoch, next).await? {
                next = entry.sequence + 1;
                log.add(entry);
            }
        }
        self.open_of(log).await
    }

    /// What of it has not ended, in the order in which it began.
    async fn open_of(&self, log: Log) -> Result<Vec<Found>, String> {
        for (subject, Found { sequence, record }) in log.forgotten {
            self.close_again(&subject, sequence, &record).await?;
        }
        let mut in_order: Vec<_> = log.unfinished.into_values().collect();
        in_order.sort_by_key(|found| found.sequence);
        Ok(in_order)
    }

    /// Replaces what lies before the closing record at `sequence`, before that expires.
    async fn close_again(
        &self,
        subject: &str,
        sequence: u64,
        record: &Record,
    ) -> Result<(), String> {
        let body = record.encode().map_err(|error| error.to_string())?;
        let kept = (record.head.state != State::Heuristic).then_some(KEPT);
        let written = self.stream.roll_up(subject, sequence, body, kept);
        in_time(written).await.map(drop)
    }

    fn log_of(&self, record: &Record) -> Option<String> {
        let transaction = record.head.transaction.as_ref()?;
        let (partition, gid) = (transaction.partition, &transaction.gid);
        Some(format!("tx.log.{}.{partition}.{gid}", self.pipeline))
    }
}
