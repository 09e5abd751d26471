//! The decisions of one pipeline on the stream `TX`: each is written once, on the condition that
//! nothing was decided about its event before.

use super::groups::{Groups, Stored};
use super::lease::Tenure;
use super::log::Fence;
use super::markers::MarkerError;
use super::progress::{Progress, Saved};
use super::record::{self, Ended, Record, State};
use super::stream::{STREAM, TxStream, Written, in_time};
use crate::atomic_batch::Message;
use crate::event::Origin;
use crate::fault::{self, Point, Promise};
use crate::provision::Provision;
use crate::target::{Branch, Targets};
use async_nats::jetstream;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The pauses between two tries of what has to succeed in the end.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long it may take to see why a write failed: most of them fail since nobody answers.
const LOOK: Duration = Duration::from_millis(500);
/// Room for what stands around a record in its message.
const MARGIN: usize = 1_024;

/// The decisions of one pipeline, on `tx.done.PIPELINE.K`.
pub struct Ledger {
    pub(super) stream: TxStream,
    pub(super) pipeline: Arc<str>,
    pub(super) horizon: Duration,
    /// What tells its transactions in a database from those of another stream.
    pub(super) cluster: String,
    targets: Arc<Targets>,
    /// Takes decisions that are written with something else.
    groups: Groups,
    /// How much less a message there may hold than the server would take, as it was seen last.
    narrowed: AtomicUsize,
    /// Numbers what this process decides.
    n_decisions: AtomicU64,
}

/// What came of a decision.
pub(super) enum Decision {
    /// It is made: it lies at this position, and nobody can make another.
    Made(u64),
    /// Another was made before; none: and replaced by an attempt at a later generation.
    Before(Option<Box<Found>>),
    /// What is to be written with it rests on what is not so any more: nothing is written.
    Overtaken,
    /// It is more than the server takes: it is not made, and never will be.
    Refused(String),
    /// It is not for us to make any more.
    Replaced,
}

/// A decision on the stream.
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) record: Record,
}

impl Found {
    /// Whether it says no more than that a transaction came to nothing.
    pub(super) fn is_aborted(&self) -> bool {
        self.record.head.state == State::Aborted
    }

    /// Whether it was decided in the partition of `record`, after another takeover.
    pub(super) fn is_of_later_tenure(&self, record: &Record) -> bool {
        let transaction = record.head.transaction.as_ref();
        let begun = transaction.map(|begun| (begun.partition, begun.epoch));
        self.decided_by()
            .zip(begun)
            .is_some_and(|(decided, begun)| decided.0 == begun.0 && decided.1 > begun.1)
    }

    /// Whether the same copy of the event was decided in the same tenure after `record` was begun: of a copy one
    /// attempt begins when the one before has come to nothing.
    pub(super) fn is_of_later_attempt(&self, record: &Record) -> bool {
        let decided = self.record.head.transaction.as_ref();
        let begun = record.head.transaction.as_ref();
        decided
            .zip(begun)
            .is_some_and(|(decided, begun)| decided.is_after(begun))
    }

    /// In which partition and under which ownership it was decided; none of a marker of `dedupe`.
    pub(super) fn decided_by(&self) -> Option<(u32, u64)> {
        let transaction = self.record.head.transaction.as_ref()?;
        Some((transaction.partition, transaction.epoch))
    }
}

/// Up to where the decisions of a partition were carried out, on `tx.relay.PIPELINE.P`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) through: u64,
    epoch: u64,
}

impl Ledger {
    /// Opens the stream, making it when it is missing. Decisions are kept for `horizon`.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
    pub async fn open(
        (context, provision): (&jetstream::Context, &Provision),
        pipeline: &str,
        horizon: Duration,
        targets: Arc<Targets>,
    ) -> Result<Self, MarkerError> {
        let opened = async {
            let stream = TxStream::open(context, provision).await?;
            stream.allow_rollups().await.map(|()| stream)
        };
        let stream = opened.await;
        let attempted = || {
            format!("cannot open the stream {STREAM} for `guarantee = \"atomic\"` of `{pipeline}`")
        };
        let stream = stream.map_err(|cause| MarkerError::new(attempted(), &cause))?;
        let created = stream.stream().cached_info().created;
        let server = stream.client().server_info().max_payload;
        Ok(Self {
            cluster: created.unix_timestamp_nanos().to_string(),
            targets,
            groups: Groups::open(stream.client()),
            pipeline: pipeline.into(),
            horizon,
            narrowed: AtomicUsize::new(server.saturating_sub(stream.known_largest())),
            n_decisions: AtomicU64::new(0),
            stream,
        })
    }

    /// How large the body of a record may be.
    pub(super) fn largest(&self) -> usize {
        self.stream.known_largest().saturating_sub(MARGIN)
    }

    /// A name that no other decision has: epochs only grow, and so does the number.
    pub(super) fn new_gid(&self, origin: &Origin, (partition, epoch): (u32, u64)) -> String {
        let n = self.n_decisions.fetch_add(1, Ordering::Relaxed);
        format!("{}.{partition}.{epoch}.{n}", origin.id)
    }

    /// Makes the decision that `body` holds, unless one was made, and writes with it what is `joined`. However
    /// long it takes: as long as it is not known to be there or not, nothing else may be done.
    pub(super) async fn decide(
        &self,
        (record, mut body): (&Record, Bytes),
        joined: &[Message],
        origin: &Origin,
        tenure: &Tenure,
    ) -> Decision {
        let subject = self.subject(origin.id.as_str());
        // A replay gets past the decision that the event had failed for good.
        let (mut expected, mut is_known) = (0, origin.generation == 0);
        // Whether a write of it may be there, now or later.
        let mut is_written = false;
        let mut waiting = Waiting::default();
        loop {
            if !tenure.held().await {
                return Decision::Replaced;
            }
            fault::reach(Point::Deciding).await;
            let written = if is_known {
                self.write((&subject, expected, body.clone()), joined).await
            } else {
                Ok(Stored::TooLate)
            };
            let mut refused = None;
            let looked = match written {
                Ok(Stored::At(sequence)) => return Decision::Made(sequence),
                Ok(Stored::TooLate) => self.look(record, origin).await,
                Ok(Stored::TooLarge(why)) => {
                    // Of an earlier limit, which took it, nobody told.
                    (refused, is_written) = (Some(why), true);
                    self.look(record, origin).await
                }
                Err(error) => {
                    is_written = true;
                    Err(error)
                }
            };
            let is_held_up = |last| is_known && last == expected && !joined.is_empty();
            match (looked, refused) {
                // It is not the marker that stands in the way. What is on its way all the same is made
                // impossible, or was made.
                (Ok(Ok((last, _))), refused) if refused.is_some() || is_held_up(last) => {
                    let fence = match is_written {
                        true => self.make_impossible(record, false, tenure).await,
                        false => Fence::Fenced,
                    };
                    match fence {
                        Fence::Decided(_) => {}
                        Fence::Fenced | Fence::Late => {
                            return refused.map_or(Decision::Overtaken, Decision::Refused);
                        }
                        Fence::Replaced => return Decision::Replaced,
                    }
                }
                (Ok(Ok((last, ended))), _) => {
                    (expected, is_known) = (last, true);
                    body = replacing(record, ended).unwrap_or(body);
                }
                (Ok(Err(decision)), _) => return decision,
                (Err(error), _) => {
                    let attempted = format!("cannot write the decision {subject}");
                    if !waiting.wait(&attempted, &error, tenure).await {
                        return Decision::Replaced;
                    }
                }
            }
        }
    }

    /// What stands in the way of a decision: the sequence that it has to replace, and the last generation that
    /// has ended; or a decision.
    async fn look(
        &self,
        record: &Record,
        origin: &Origin,
    ) -> Result<Result<(u64, Option<u32>), Decision>, String> {
        let Some(found) = self.find(origin.id.as_str()).await? else {
            return Ok(Ok((0, None)));
        };
        if found.record.gid() == record.gid() {
            // Whoever has the lease now may have made it impossible.
            return Ok(Err(match found.is_aborted() {
                true => Decision::Replaced,
                false => Decision::Made(found.sequence),
            }));
        }
        Ok(match self.ended(&found, origin.generation).await? {
            Ended::Here => Err(Decision::Before(Some(Box::new(found)))),
            Ended::Before => Err(Decision::Before(None)),
            Ended::No(last) => Ok((found.sequence, last)),
        })
    }

    async fn write(
        &self,
        (subject, expected, body): (&str, u64, Bytes),
        joined: &[Message],
    ) -> Result<Stored, String> {
        let n_bytes = body.len();
        match self.try_to_write((subject, expected, body), joined).await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                let sizes = joined.iter().map(Message::size).chain([n_bytes]);
                match self.too_large(sizes.max().unwrap_or_default()).await {
                    Some(why) => Ok(Stored::TooLarge(why)),
                    None => Err(error),
                }
            }
        }
    }

    async fn try_to_write(
        &self,
        (subject, expected, body): (&str, u64, Bytes),
        joined: &[Message],
    ) -> Result<Stored, String> {
        let is_unconditional = fault::breaks(Promise::MarkerCas);
        if !joined.is_empty() {
            let expected = (!is_unconditional).then_some(expected);
            let marker = TxStream::message(subject, expected, body, self.horizon);
            let messages = std::iter::once(marker).chain(joined.iter().cloned());
            return self.groups.write(messages.collect()).await;
        }
        if is_unconditional {
            let written = self.stream.write(subject.to_owned(), body, self.horizon);
            return written.await.map(Stored::At);
        }
        let written = self
            .stream
            .replace(subject, expected, body, Some(self.horizon));
        in_time(written).await.map(Stored::from)
    }

    /// Why a message of so many bytes, which could not be written, never will be, where it is more than the server takes
    /// by now.
    pub(super) async fn too_large(&self, n_bytes: usize) -> Option<String> {
        let largest = tokio::time::timeout(LOOK, self.stream.largest()).await;
        let largest = largest.ok()?.ok()?;
        let server = self.stream.client().server_info().max_payload;
        self.narrowed
            .store(server.saturating_sub(largest), Ordering::Relaxed);
        (n_bytes > largest.saturating_sub(MARGIN)).then(|| {
            format!(
                "what is to be written down for the event has {n_bytes} bytes, and a message on `{STREAM}` holds at \
                 most {largest}, headers included: raise `max_payload` of the server and `max_msg_size` of the stream \
                 again, or let the event write less"
            )
        })
    }

    /// How much less a message may hold than the server would take, as far as that is known.
    pub(super) fn narrowed_by(&self) -> usize {
        self.narrowed.load(Ordering::Relaxed)
    }

    /// What was decided about an event, if anything was.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn find(&self, event: &str) -> Result<Option<Found>, String> {
        let message = in_time(self.stream.last(&self.subject(event))).await?;
        let Some(message) = message else {
            return Ok(None);
        };
        let record = Record::decode(&message.payload);
        Ok(Some(Found {
            sequence: message.sequence,
            record: record.map_err(|error| error.to_string())?,
        }))
    }

    /// Whether the event has ended, in this generation or a later one, by what was found.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub(super) async fn ended(&self, found: &Found, generation: u32) -> Result<Ended, String> {
        let is_decided = self.is_decided(&found.record).await?;
        Ok(found.record.head.ended(is_decided, generation))
    }

    /// Whether what a record says counts. Where a database decides it is asked, and what it has not committed
    /// it never will.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub(super) async fn is_decided(&self, record: &Record) -> Result<bool, String> {
        match record.head.state {
            State::Aborted => Ok(false),
            State::Delegated if fault::breaks(Promise::Settle) => Ok(false),
            State::Delegated => self.is_committed(record).await,
            _ => Ok(true),
        }
    }

    /// Whether the database that decides about `record` has committed it. When it has not it never will.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub(super) async fn is_committed(&self, record: &Record) -> Result<bool, String> {
        let Some(branch) = record.branches().next() else {
            return Ok(false);
        };
        let Some(target) = self.targets.get(branch.target) else {
            return Err(format!(
                "target `{}`, whose database knows whether it was committed, is not configured any more: \
                 put it back",
                branch.target
            ));
        };
        target.is_committed(&self.branch(record, branch)?).await
    }

    /// What a branch of `record` is called by whoever has it.
    ///
    /// # Errors
    /// When that is no name.
    pub(super) fn branch(
        &self,
        record: &Record,
        branch: record::Branch<'_>,
    ) -> Result<Branch, String> {
        let gid = record.gid().unwrap_or_default();
        let name = Branch::new(&self.cluster, &self.pipeline, gid, branch.n);
        name.map_err(|error| error.to_string())
    }

    /// What was written down last of how far the decisions of `partition` were carried out, and where.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn checkpoint(
        &self,
        partition: u32,
    ) -> Result<Option<(u64, Checkpoint)>, String> {
        let last = in_time(self.stream.last(&self.checkpoints(partition))).await?;
        let Some(message) = last else {
            return Ok(None);
        };
        let checkpoint = serde_json::from_slice(&message.payload);
        let checkpoint = checkpoint.map_err(|error| error.to_string())?;
        Ok(Some((message.sequence, checkpoint)))
    }

    /// Writes down how far the decisions were carried out, where that is due or `now`. What is not
    /// written down is only looked at once more at the next takeover.
    pub(super) async fn save(&self, tenure: &Tenure, now: bool) {
        let (Some((partition, progress)), Some(epoch)) = (tenure.progress(), tenure.epoch()) else {
            return;
        };
        let Ok(mut saved) = progress.saved.try_lock() else {
            return;
        };
        let through = progress.floor.position();
        if saved.is_due(through) || (now && through > saved.position) {
            let checkpoint = Checkpoint { through, epoch };
            self.save_as(partition, checkpoint, &mut saved).await;
        }
    }

    async fn save_as(&self, partition: u32, checkpoint: Checkpoint, saved: &mut Saved) {
        saved.at = Some(Instant::now());
        let subject = self.checkpoints(partition);
        let Ok(body) = serde_json::to_vec(&checkpoint) else {
            return;
        };
        // It goes when what it covers has gone. To replace the earlier ones on a subject the server looks
        // through all blocks of the stream, which holds the decisions of days.
        let kept = Some(self.horizon);
        let written = self
            .stream
            .replace(&subject, saved.sequence, body.into(), kept);
        match in_time(written).await {
            Ok(Written::At(sequence)) => {
                (saved.sequence, saved.position) = (sequence, checkpoint.through);
            }
            // It may be there, or somebody has taken over.
            Ok(Written::TooLate) => match self.checkpoint(partition).await {
                Ok(Some((sequence, found))) if found.epoch == checkpoint.epoch => {
                    (saved.sequence, saved.position) = (sequence, found.through);
                }
                // One of an earlier tenure came late: it is replaced the next time.
                Ok(Some((sequence, found))) if found.epoch < checkpoint.epoch => {
                    saved.sequence = sequence;
                }
                // It has expired: there was nothing to do for so long.
                Ok(None) => saved.sequence = 0,
                Ok(Some(_)) | Err(_) => {}
            },
            Err(error) => tracing::debug!(pipeline = %self.pipeline, %error, "no checkpoint"),
        }
    }

    /// Takes over how far the tenure before had come.
    pub(super) async fn resume(&self, progress: &Progress, sequence: u64, position: u64) {
        progress.floor.begin_at(position);
        let mut saved = progress.saved.lock().await;
        *saved = Saved {
            sequence,
            ..Saved::default()
        };
    }

    pub(super) fn subject(&self, event: &str) -> String {
        format!("tx.done.{}.{event}", self.pipeline)
    }

    fn checkpoints(&self, partition: u32) -> String {
        format!("tx.relay.{}.{partition}", self.pipeline)
    }
}

/// How `record` is written in the place of one that says that the event had ended before; none: as it is.
fn replacing(record: &Record, ended: Option<u32>) -> Option<Bytes> {
    ended?;
    record.after_end(ended).encode().ok()
}

/// What has to succeed in the end is tried again after growing pauses, and said once.
#[derive(Default)]
pub(super) struct Waiting {
    pause: Option<Duration>,
}

impl Waiting {
    /// Waits; false when the tenure ends.
    pub(super) async fn wait(
        &mut self,
        attempted: &str,
        error: &(dyn Display + Sync),
        tenure: &Tenure,
    ) -> bool {
        let pause = match self.pause {
            None => {
                warn!(%error, "{attempted}: trying again until it succeeds");
                PAUSE
            }
            Some(pause) => (pause * 2).min(LONGEST_PAUSE),
        };
        self.pause = Some(pause);
        tenure.shutdown().pause(pause).await
    }
}
