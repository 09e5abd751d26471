//! The heartbeats of an owner.

use super::record::{self, Heartbeat, LeaseRecord, Share};
use super::tenure::Right;
use super::term::Moment;
use super::{Lease, LeaseError};
use crate::shutdown::Shutdown;
use crate::txn::stream::Written;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// Heartbeats in a lease time.
const BEATS: u32 = 3;
/// Looks at the connection in a lease time, and the longest pause between two.
const LOOKS: u32 = 20;
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// Sends heartbeats as long as somebody may act under the lease.
pub(super) struct Keeper {
    lease: Lease,
    right: Weak<Right>,
    epoch: u64,
    leaving: Shutdown,
    left: Shutdown,
    /// Of the last heartbeat that is known to be there.
    sequence: u64,
    /// The connection over which the last heartbeat was confirmed, and when it was sent.
    confirmed: Option<(u64, Instant)>,
    is_failing: bool,
}

/// What a heartbeat came to.
enum Beat {
    Confirmed {
        sent: Moment,
        connection: u64,
    },
    /// It may or may not have arrived.
    Unknown,
    /// Another runtime has taken the lease over.
    Lost {
        owner: String,
        epoch: u64,
    },
}

impl Lease {
    pub(super) fn keeper(&self, right: &Arc<Right>, sequence: u64) -> Keeper {
        Keeper {
            lease: Self {
                stream: self.stream.clone(),
                presence: self.presence.clone(),
                members: self.members.clone(),
                tasks: self.tasks.clone(),
                share: Share {
                    pipeline: self.share.pipeline.clone(),
                    partition: self.share.partition,
                },
                length: self.length,
            },
            right: Arc::downgrade(right),
            epoch: right.epoch,
            leaving: right.leaving.clone(),
            left: right.left.clone(),
            sequence,
            confirmed: self
                .presence
                .connection()
                .map(|connection| (connection, Instant::now())),
            is_failing: false,
        }
    }
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let pause = (self.lease.length / LOOKS).min(LONGEST_LOOK);
        while self.leaving.pause(pause).await {
            if !self.is_due() {
                continue;
            }
            let beat = self.beat().await;
            let Some(right) = self.right.upgrade() else {
                break;
            };
            match beat {
                Ok(Beat::Confirmed { sent, connection }) => {
                    right.confirm(sent, connection);
                    self.confirmed = Some((connection, sent.steady));
                    self.is_failing = false;
                }
                Ok(Beat::Unknown) => self.confirmed = None,
                Ok(Beat::Lost { owner, epoch }) => {
                    warn!(pipeline = %self.lease.share.pipeline,
                        partition = self.lease.share.partition, epoch = self.epoch,
                        taken_by = %owner, taken_as = epoch,
                        "lease lost: what is at work is not applied any further");
                    right.lose();
                    return;
                }
                Err(error) => {
                    self.confirmed = None;
                    self.lease.say_failing(&mut self.is_failing, &error);
                    // Nothing comes of it while the server is away: then it is tried again.
                    drop(self.lease.stream.restore().await);
                }
            }
        }
        self.release().await;
        self.left.begin();
    }

    /// Whether it is time for the next heartbeat; at once where the connection is a new one.
    fn is_due(&self) -> bool {
        let Some(connection) = self.lease.presence.connection() else {
            return false;
        };
        match self.confirmed {
            Some((over, at)) => connection != over || at.elapsed() >= self.lease.length / BEATS,
            None => true,
        }
    }

    async fn beat(&mut self) -> Result<Beat, LeaseError> {
        let Some(connection) = self.lease.presence.connection() else {
            return Ok(Beat::Unknown);
        };
        let sent = Moment::now();
        let patience = self.lease.length / BEATS;
        let Ok(written) = tokio::time::timeout(patience, self.write(false)).await else {
            return Ok(Beat::Unknown);
        };
        match written? {
            Written::At(sequence) => {
                self.sequence = sequence;
                Ok(Beat::Confirmed { sent, connection })
            }
            Written::TooLate => self.find_out().await,
        }
    }

    /// Who has replaced our heartbeat: another one of ours whose answer was lost, or somebody else.
    async fn find_out(&mut self) -> Result<Beat, LeaseError> {
        let share = &self.lease.share;
        let last = self.lease.last::<Heartbeat>(share.heartbeats()).await?;
        let (sequence, owner, epoch) = match last {
            Some((sequence, last)) => (sequence, last.owner, last.epoch),
            None => match self.lease.last::<LeaseRecord>(share.lease()).await? {
                Some((_, last)) => (0, last.owner, last.epoch),
                None => (0, "nobody".to_owned(), 0),
            },
        };
        if owner == self.lease.presence.id() && epoch == self.epoch {
            self.sequence = sequence;
            return Ok(Beat::Unknown);
        }
        Ok(Beat::Lost { owner, epoch })
    }

    async fn write(&self, released: bool) -> Result<Written, LeaseError> {
        let heartbeat = self.lease.heartbeat(self.epoch, released);
        let subject = self.lease.share.heartbeats();
        let kept = Some(record::kept(self.lease.length));
        let written = self
            .lease
            .replace(&subject, self.sequence, &heartbeat, kept);
        written.await
    }

    async fn release(&mut self) {
        if self.left.has_begun() {
            return;
        }
        let share = &self.lease.share;
        match self.write(true).await {
            Ok(Written::At(_)) => {
                info!(pipeline = %share.pipeline, partition = share.partition, epoch = self.epoch,
                    "lease released");
                // Otherwise it is seen at the next look.
                let client = self.lease.stream.client();
                drop(client.publish(share.releases(), bytes::Bytes::new()).await);
            }
            Ok(Written::TooLate) => {}
            Err(error) => warn!(%error, "the lease is not released: others wait until it is over"),
        }
    }
}
