//! The runtimes that share a pipeline out among them: each says that it is there, and hears the others.

use super::LeaseError;
use super::presence::Presence;
use super::quota::Quota;
use crate::shutdown::{Shutdown, Tasks};
use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// How often a runtime says that it is there, in the time after which it is not counted any more.
const CALLS: u32 = 4;

/// The runtimes of one pipeline, as this one knows them.
pub struct Members {
    quota: Mutex<Quota>,
}

/// What a runtime says of itself.
#[derive(Serialize, Deserialize)]
struct Call {
    id: String,
    leaving: bool,
}

/// Calls out, and listens, as long as somebody asks for it.
struct Caller {
    client: Client,
    presence: Arc<Presence>,
    subject: String,
    members: Weak<Members>,
    pause: Duration,
    shutdown: Shutdown,
}

impl Members {
    /// Joins those who share the partitions of `pipeline`, until `shutdown`. Who was not heard for
    /// `patience` is not counted.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn join(
        (pipeline, n_partitions): (&str, u32),
        patience: Duration,
        (presence, tasks): (Arc<Presence>, &Tasks),
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, LeaseError> {
        let members = Arc::new(Self {
            quota: Mutex::new(Quota::new(n_partitions, patience)),
        });
        if n_partitions == 1 {
            return Ok(members);
        }
        let subject = format!("syncline.members.{pipeline}");
        let client = presence.client();
        let calls = client.subscribe(subject.clone()).await;
        let calls = calls
            .map_err(|error| LeaseError::new(format!("cannot listen on {subject}"), &error))?;
        let caller = Caller {
            client,
            presence,
            subject,
            members: Arc::downgrade(&members),
            pause: patience / CALLS,
            shutdown,
        };
        tasks.spawn(caller.run(calls));
        Ok(members)
    }

    pub(super) fn has_room(&self) -> bool {
        self.quota.lock().has_room(Instant::now())
    }

    pub(super) fn reserve(&self, partition: u32) -> bool {
        self.quota.lock().reserve(partition, Instant::now())
    }

    pub(super) fn free(&self, partition: u32) {
        self.quota.lock().free(partition);
    }

    pub(super) fn forget(&self, id: &str) {
        self.quota.lock().forget(id);
    }

    pub(super) fn is_surplus(&self, partition: u32) -> bool {
        self.quota.lock().is_surplus(partition, Instant::now())
    }
}

impl Caller {
    async fn run(self, mut calls: Subscriber) {
        self.call(false).await;
        let mut next = Instant::now() + self.pause;
        loop {
            tokio::select! {
                () = self.shutdown.begun() => break,
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + self.pause;
                    if self.members.strong_count() == 0 {
                        break;
                    }
                    self.call(false).await;
                }
                call = calls.next() => {
                    let Some(call) = call else { break };
                    if self.hear(&call.payload) {
                        // So that a new one knows of this one at once.
                        self.call(false).await;
                    }
                }
            }
        }
        self.call(true).await;
    }

    /// Notes a call; true when it is somebody new.
    fn hear(&self, payload: &[u8]) -> bool {
        let (Ok(call), Some(members)) = (
            serde_json::from_slice::<Call>(payload),
            self.members.upgrade(),
        ) else {
            return false;
        };
        if call.id == self.presence.id() {
            return false;
        }
        if call.leaving {
            info!(runtime = %call.id, subject = %self.subject, "another runtime leaves");
            members.forget(&call.id);
            return false;
        }
        let is_new = members.quota.lock().hear(&call.id, Instant::now());
        if is_new {
            info!(runtime = %call.id, subject = %self.subject, "another runtime is here");
        }
        is_new
    }

    async fn call(&self, leaving: bool) {
        let call = Call {
            id: self.presence.id().to_owned(),
            leaving,
        };
        if let Ok(body) = serde_json::to_vec(&call) {
            // One that is lost is made good by the next.
            drop(self.client.publish(self.subject.clone(), body.into()).await);
        }
    }
}
