//! Which pipelines are to be paused: kept in a bucket, so that a pause outlives every process, and
//! followed by every runtime.

use super::{BUCKET, ControlError, failed};
use crate::provision::Provision;
use crate::shutdown::Shutdown;
use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{self, Entry, Operation, Store};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

/// Keys are `pipeline.NAME`.
const PREFIX: &str = "pipeline.";
/// The pause before the bucket is opened again.
const REOPEN: Duration = Duration::from_millis(500);
/// How often every wish is read anew: a watch that lost its way says nothing.
const READ_ANEW: Duration = Duration::from_secs(5);

/// A wish as it lies in the bucket.
#[derive(Debug, Serialize, Deserialize)]
struct Wish {
    paused: bool,
    /// When it was made.
    #[serde(default)]
    at: String,
}

/// The wishes of operators.
#[derive(Debug, Clone)]
pub struct Wishes {
    context: Context,
    provision: Provision,
    store: Store,
}

impl Wishes {
    /// Opens the bucket, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be reached or made.
    pub async fn open(context: &Context, provision: &Provision) -> Result<Self, ControlError> {
        let store = match context.get_key_value(BUCKET).await {
            Ok(store) => {
                let replicas = store.stream.cached_info().config.num_replicas;
                provision.compare(&store.stream_name, replicas);
                Ok(store)
            }
            Err(_) => context.create_key_value(settings(provision)).await,
        };
        let attempted = || format!("cannot open the bucket {BUCKET}");
        let store = store.map_err(|error| failed(attempted(), &error))?;
        Ok(Self {
            context: context.clone(),
            provision: provision.clone(),
            store,
        })
    }

    /// Opens the bucket if there is one. Makes nothing.
    pub async fn find(context: &Context) -> Option<Self> {
        let store = context.get_key_value(BUCKET).await.ok()?;
        Some(Self {
            context: context.clone(),
            provision: Provision::default(),
            store,
        })
    }

    /// Every pipeline that a wish was ever made for, and whether it is to be paused.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn all(&self) -> Result<BTreeMap<String, bool>, ControlError> {
        let attempted = || format!("cannot read the bucket {BUCKET}");
        let keys = self.store.keys().await;
        let mut keys = keys.map_err(|error| failed(attempted(), &error))?;
        let mut wishes = BTreeMap::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| failed(attempted(), &error))?;
            let Some(pipeline) = key.strip_prefix(PREFIX) else {
                continue;
            };
            let paused = self.is_paused(pipeline).await?.unwrap_or_default();
            wishes.insert(pipeline.to_owned(), paused);
        }
        Ok(wishes)
    }

    /// Whether a pipeline is to be paused; none: nobody ever said.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn is_paused(&self, pipeline: &str) -> Result<Option<bool>, ControlError> {
        Ok(self.read(pipeline).await?.map(|entry| wished(&entry)))
    }

    /// Wishes that a pipeline is paused, or goes on.
    ///
    /// # Errors
    /// When the wish is not known to be kept. Wishing again is safe.
    pub async fn set_paused(&self, pipeline: &str, paused: bool) -> Result<(), ControlError> {
        let verb = if paused { "pause" } else { "resume" };
        let attempted = || format!("cannot {verb} pipeline `{pipeline}`");
        let at = OffsetDateTime::now_utc().format(&Rfc3339);
        let wish = Wish {
            paused,
            at: at.unwrap_or_default(),
        };
        let wish = serde_json::to_vec(&wish).map_err(|error| failed(attempted(), &error))?;
        let put = self.store.put(format!("{PREFIX}{pipeline}"), wish.into());
        put.await
            .map(drop)
            .map_err(|error| failed(attempted(), &error))
    }

    async fn read(&self, pipeline: &str) -> Result<Option<Entry>, ControlError> {
        let entry = self.store.entry(format!("{PREFIX}{pipeline}")).await;
        let attempted = || format!("cannot read whether pipeline `{pipeline}` is paused");
        entry.map_err(|error| failed(attempted(), &error))
    }

    /// Hands every wish on to the pipeline that it is for, until the shutdown. While the bucket cannot
    /// be read, and where it is gone, each pipeline keeps to the last wish that was known.
    pub async fn follow(
        mut self,
        pipelines: BTreeMap<String, watch::Sender<bool>>,
        shutdown: Shutdown,
    ) {
        let mut followed = Followed {
            pipelines,
            newest: BTreeMap::new(),
        };
        let mut n_failed = 0_u32;
        loop {
            let watched = tokio::select! {
                () = shutdown.begun() => return,
                watched = self.watch(&mut followed, &mut n_failed) => watched,
            };
            match watched {
                Ok(()) => return,
                Err(error) if n_failed == 0 => {
                    warn!(%error, "wishes to pause or resume are not seen, trying again");
                }
                Err(error) => debug!(%error, n_failed, "wishes are not seen, trying again"),
            }
            n_failed += 1;
            if !shutdown.pause(REOPEN).await {
                return;
            }
            if let Ok(opened) = Self::open(&self.context, &self.provision).await {
                self = opened;
            }
        }
    }

    async fn watch(&self, followed: &mut Followed, n_failed: &mut u32) -> Result<(), ControlError> {
        let attempted = || format!("cannot watch the bucket {BUCKET}");
        let changes = self.store.watch_all().await;
        let mut changes = changes.map_err(|error| failed(attempted(), &error))?;
        let mut read_anew = tokio::time::interval(READ_ANEW);
        read_anew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(entry)) => followed.apply(&entry),
                    Some(Err(error)) => return Err(failed(attempted(), &error)),
                    None => return Err(failed(attempted(), &"the watch has ended")),
                },
                _ = read_anew.tick() => {
                    for pipeline in followed.names() {
                        if let Some(entry) = self.read(&pipeline).await? {
                            followed.apply(&entry);
                        }
                    }
                    if std::mem::take(n_failed) > 0 {
                        info!("wishes to pause or resume are seen again");
                    }
                }
            }
        }
    }
}

/// The pipelines of a runtime, and the newest wish that is known for each.
struct Followed {
    pipelines: BTreeMap<String, watch::Sender<bool>>,
    newest: BTreeMap<String, OffsetDateTime>,
}

impl Followed {
    fn names(&self) -> Vec<String> {
        self.pipelines.keys().cloned().collect()
    }

    /// An older wish than the one that is known changes nothing: a replica may be behind. By time,
    /// since revisions begin anew with the bucket.
    fn apply(&mut self, entry: &Entry) {
        let Some(pipeline) = entry.key.strip_prefix(PREFIX) else {
            return;
        };
        let Some(sender) = self.pipelines.get(pipeline) else {
            return;
        };
        let newest = self.newest.entry(pipeline.to_owned());
        let newest = newest.or_insert(OffsetDateTime::UNIX_EPOCH);
        if entry.created < *newest {
            return;
        }
        *newest = entry.created;
        let paused = wished(entry);
        sender.send_if_modified(|known| std::mem::replace(known, paused) != paused);
    }
}

/// Whether an entry says that its pipeline is to be paused. One that was deleted, or that nobody can
/// read, says no.
fn wished(entry: &Entry) -> bool {
    if entry.operation != Operation::Put {
        return false;
    }
    match serde_json::from_slice::<Wish>(&entry.value) {
        Ok(wish) => wish.paused,
        Err(error) => {
            warn!(key = %entry.key, bucket = BUCKET, %error, "an entry that is no wish is left out");
            false
        }
    }
}

fn settings(provision: &Provision) -> kv::Config {
    kv::Config {
        bucket: BUCKET.to_owned(),
        num_replicas: provision.replicas,
        description: "What operators wish of Syncline's pipelines".to_owned(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, value: &str, operation: Operation) -> Entry {
        Entry {
            bucket: BUCKET.to_owned(),
            key: "pipeline.p".to_owned(),
            value: value.to_owned().into(),
            revision: 1,
            delta: 0,
            created: OffsetDateTime::from_unix_timestamp(at).unwrap(),
            operation,
            seen_current: true,
        }
    }

    #[test]
    fn the_newest_wish_counts_and_a_deleted_one_says_go_on() {
        let (sender, paused) = watch::channel(false);
        let mut followed = Followed {
            pipelines: [("p".to_owned(), sender)].into(),
            newest: BTreeMap::new(),
        };
        let (yes, no) = (r#"{"paused":true}"#, r#"{"paused":false,"at":"x"}"#);
        for (at, value, operation, expected) in [
            (5, yes, Operation::Put, true),
            (4, no, Operation::Put, true),
            (6, no, Operation::Put, false),
            (7, yes, Operation::Put, true),
            (8, "", Operation::Delete, false),
            (9, yes, Operation::Put, true),
            (10, "nonsense", Operation::Put, false),
        ] {
            followed.apply(&entry(at, value, operation));
            assert_eq!(*paused.borrow(), expected, "at {at}");
        }
    }
}
