//! Who handles the events of a pipeline: one runtime at a time, the others stand by.
//!
//! The owner proves that it lives by heartbeats, each replacing the one before. Whoever replaces the
//! heartbeat of another owner has taken the lease over; it then writes the lease record, on which
//! later writes of the owner can be conditioned. When that may happen is in `term.rs`.

mod holders;
mod keeper;
mod members;
mod presence;
mod quota;
mod record;
mod takeovers;
mod tenure;
mod term;

use super::stream::{STREAM, TxStream, Written};
use crate::provision::Provision;
use crate::shutdown::{Shutdown, Tasks};
use async_nats::Subscriber;
use async_nats::jetstream;
use futures::StreamExt as _;
use presence::Heard;
use record::{Heartbeat, LeaseRecord, Share};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use takeovers::Takeovers;
use tenure::Right;
use term::{Moment, Owner, Watch};
use tokio::time::Instant;
use tracing::{info, warn};

pub use holders::{Holder, holders};
pub use members::Members;
pub use presence::Presence;
pub use tenure::Tenure;

/// How often a standby looks, in a lease time, and the longest pause between two looks.
const LOOKS: u32 = 10;
const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How long one write of a takeover may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a lease cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct LeaseError {
    attempted: String,
    cause: String,
}

impl LeaseError {
    fn new(attempted: String, error: &dyn fmt::Display) -> Self {
        Self {
            attempted,
            cause: error.to_string(),
        }
    }
}

/// The lease of one share of a pipeline's events.
pub struct Lease {
    stream: TxStream,
    presence: Arc<Presence>,
    members: Arc<Members>,
    tasks: Tasks,
    share: Share,
    length: Duration,
}

/// What a standby found.
enum Look {
    /// The heartbeat at this position may be replaced.
    Free { sequence: u64, epoch: u64 },
    /// Somebody is at work.
    Taken { owner: String, epoch: u64 },
}

impl Lease {
    /// The lease of a partition of a pipeline, which `members` share out. Its owner may be silent for
    /// `length`. Heartbeats are sent by `tasks`.
    ///
    /// # Errors
    /// When the stream of leases cannot be opened.
    pub async fn open(
        (context, provision): (&jetstream::Context, &Provision),
        (pipeline, partition): (&str, u32),
        length: Duration,
        members: Arc<Members>,
        (presence, tasks): (Arc<Presence>, Tasks),
    ) -> Result<Self, LeaseError> {
        let stream = TxStream::open(context, provision).await;
        let attempted =
            || format!("cannot open the stream {STREAM} for the lease of pipeline `{pipeline}`");
        Ok(Self {
            stream: stream.map_err(|cause| LeaseError::new(attempted(), &cause))?,
            presence,
            members,
            tasks,
            share: Share {
                pipeline: pipeline.to_owned(),
                partition,
            },
            length,
        })
    }

    /// Takes the lease when nobody is at work; work under it ends with `shutdown` at the latest.
    ///
    /// # Errors
    /// When that cannot be told, or done.
    pub async fn take_if_free(&self, shutdown: &Shutdown) -> Result<Option<Tenure>, LeaseError> {
        if !self.members.has_room() {
            return Ok(None);
        }
        match self.look(&mut Watch::new(self.length)).await? {
            Look::Free { sequence, epoch } => self.take(sequence, epoch, shutdown).await,
            Look::Taken { .. } => Ok(None),
        }
    }

    /// Waits until the lease is ours; none when the shutdown begins before.
    pub async fn acquire(&self, shutdown: &Shutdown) -> Option<Tenure> {
        let mut watch = Watch::new(self.length);
        let mut releases: Option<Subscriber> = None;
        let (mut known, mut is_failing) = (None, false);
        let pause = (self.length / LOOKS).min(LONGEST_LOOK);
        while !shutdown.has_begun() {
            if !self.members.has_room() {
                shutdown.pause(pause).await;
                continue;
            }
            match self.look(&mut watch).await {
                Ok(Look::Free { sequence, epoch }) => {
                    match self.take(sequence, epoch, shutdown).await {
                        Ok(Some(tenure)) => return Some(tenure),
                        // Somebody else was quicker: look who.
                        Ok(None) => continue,
                        Err(error) => self.say_failing(&mut is_failing, &error),
                    }
                }
                Ok(Look::Taken { owner, epoch }) => {
                    is_failing = false;
                    if releases.is_none() {
                        // Without it, a release is seen at the next look.
                        let client = self.stream.client();
                        releases = client.subscribe(self.share.releases()).await.ok();
                    }
                    if known.as_ref() != Some(&(owner.clone(), epoch)) {
                        info!(pipeline = %self.share.pipeline, partition = self.share.partition,
                            %owner, epoch, "standing by: another runtime holds the lease");
                        known = Some((owner, epoch));
                    }
                }
                Err(error) => self.say_failing(&mut is_failing, &error),
            }
            tokio::select! {
                goes_on = shutdown.pause(pause) => if !goes_on { return None },
                Some(_) = next_of(&mut releases) => {}
            }
        }
        None
    }

    fn say_failing(&self, is_failing: &mut bool, error: &LeaseError) {
        if !*is_failing {
            warn!(pipeline = %self.share.pipeline, partition = self.share.partition, %error,
                "trying again");
        }
        *is_failing = true;
    }

    async fn look(&self, watch: &mut Watch) -> Result<Look, LeaseError> {
        let heartbeat = self.last::<Heartbeat>(self.share.heartbeats()).await?;
        let (sequence, heartbeat) = match heartbeat {
            Some((sequence, heartbeat)) => (sequence, Some(heartbeat)),
            None => (0, None),
        };
        let known = match &heartbeat {
            Some(heartbeat) => Some((heartbeat.owner.clone(), heartbeat.epoch)),
            None => {
                let record = self.last::<LeaseRecord>(self.share.lease()).await?;
                record.map(|(_, record)| (record.owner, record.epoch))
            }
        };
        let Some((owner, epoch)) = known else {
            return Ok(Look::Free { sequence, epoch: 0 });
        };
        let state = self.state_of(&owner, heartbeat.as_ref()).await;
        if watch.may_take(sequence, state, Instant::now()) {
            return Ok(Look::Free { sequence, epoch });
        }
        Ok(Look::Taken { owner, epoch })
    }

    async fn state_of(&self, owner: &str, heartbeat: Option<&Heartbeat>) -> Owner {
        if heartbeat.is_some_and(|heartbeat| heartbeat.released) {
            return Owner::None;
        }
        if owner == self.presence.id() {
            // Of a takeover whose answer was lost, or of work that has ended.
            return Owner::Gone;
        }
        // Only the server that it was connected to knows for certain that it is gone: between two
        // servers the news may be late.
        let here = self.presence.server();
        let knows = heartbeat.is_none_or(|heartbeat| heartbeat.server == here);
        let patience = (self.length / LOOKS).min(LONGEST_LOOK);
        match self.presence.ask(owner, patience).await {
            Heard::Nobody if knows => {
                self.members.forget(owner);
                Owner::Gone
            }
            _ => Owner::Unknown,
        }
    }

    /// Waits until others need the partition, or `shutdown`.
    pub async fn needed_elsewhere(&self, shutdown: &Shutdown) {
        let pause = (self.length / LOOKS).min(LONGEST_LOOK);
        while !self.members.is_surplus(self.share.partition) {
            if !shutdown.pause(pause).await {
                return;
            }
        }
        info!(pipeline = %self.share.pipeline, partition = self.share.partition,
            "giving the partition up: another runtime has less than its share");
    }

    /// Lets go of the lease that `tenure` was taken by: see [`Tenure::end`].
    pub async fn end(&self, tenure: &Tenure, released: bool) {
        tenure.end(released).await;
        self.members.free(self.share.partition);
    }

    async fn take(
        &self,
        sequence: u64,
        epoch: u64,
        shutdown: &Shutdown,
    ) -> Result<Option<Tenure>, LeaseError> {
        if !self.members.reserve(self.share.partition) {
            return Ok(None);
        }
        let taken = self.replace_owner(sequence, epoch, shutdown).await;
        if !matches!(taken, Ok(Some(_))) {
            self.members.free(self.share.partition);
        }
        taken
    }

    /// Replaces the heartbeat at `sequence`; none when somebody else did.
    async fn replace_owner(
        &self,
        sequence: u64,
        epoch: u64,
        shutdown: &Shutdown,
    ) -> Result<Option<Tenure>, LeaseError> {
        let Some(connection) = self.presence.connection() else {
            return Err(self.failed("take", &"there is no connection to NATS"));
        };
        let record = self.last::<LeaseRecord>(self.share.lease()).await?;
        let (record_at, record_epoch, mut takeovers) = match record {
            Some((sequence, record)) => (sequence, record.epoch, record.takeovers_at(sequence)),
            None => (0, 0, Takeovers::default()),
        };
        let epoch = epoch.max(record_epoch) + 1;
        let sent = Moment::now();
        let heartbeat = self.heartbeat(epoch, false);
        let kept = Some(record::kept(self.length));
        let written = self
            .replace(&self.share.heartbeats(), sequence, &heartbeat, kept)
            .await?;
        let Written::At(sequence) = written else {
            return Ok(None);
        };
        let record = LeaseRecord {
            owner: self.presence.id().to_owned(),
            epoch,
            before: takeovers.clone(),
        };
        let subject = self.share.lease();
        let written = self.replace(&subject, record_at, &record, None).await?;
        let Written::At(_) = written else {
            return Ok(None);
        };
        info!(pipeline = %self.share.pipeline, partition = self.share.partition, epoch,
            "lease taken: this runtime is the active one");
        // Whoever had it before has seen its time run out by then.
        takeovers.add(epoch, sequence);
        let right = Arc::new(Right::new(
            (self.share.partition, epoch),
            (self.length, takeovers),
            self.presence.clone(),
            shutdown.child(),
        ));
        right.confirm(sent, connection);
        self.tasks.spawn(self.keeper(&right, sequence).run());
        Ok(Some(Tenure::new(right)))
    }

    fn heartbeat(&self, epoch: u64, released: bool) -> Heartbeat {
        Heartbeat {
            owner: self.presence.id().to_owned(),
            epoch,
            server: self.presence.server(),
            released,
        }
    }

    async fn last<T: DeserializeOwned>(
        &self,
        subject: String,
    ) -> Result<Option<(u64, T)>, LeaseError> {
        let last = tokio::time::timeout(PATIENCE, self.stream.last(&subject));
        let message = match last.await {
            Ok(message) => message.map_err(|cause| self.failed("read", &cause))?,
            Err(_) => return Err(self.failed("read", &"no answer in time")),
        };
        let Some(message) = message else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&message.payload);
        let value = value.map_err(|error| self.failed("read", &error))?;
        Ok(Some((message.sequence, value)))
    }

    async fn replace(
        &self,
        subject: &str,
        expected: u64,
        body: &(impl Serialize + Sync),
        kept: Option<Duration>,
    ) -> Result<Written, LeaseError> {
        let body = serde_json::to_vec(body).map_err(|error| self.failed("write", &error))?;
        let written = self.stream.replace(subject, expected, body.into(), kept);
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(written) => written.map_err(|cause| self.failed("write", &cause)),
            Err(_) => Err(self.failed("write", &"no answer in time")),
        }
    }

    fn failed(&self, verb: &str, cause: &dyn fmt::Display) -> LeaseError {
        let Share {
            pipeline,
            partition,
        } = &self.share;
        let attempted =
            format!("cannot {verb} the lease of pipeline `{pipeline}`, partition {partition}");
        LeaseError::new(attempted, cause)
    }
}

async fn next_of(releases: &mut Option<Subscriber>) -> Option<async_nats::Message> {
    match releases {
        Some(releases) => releases.next().await,
        None => std::future::pending().await,
    }
}
