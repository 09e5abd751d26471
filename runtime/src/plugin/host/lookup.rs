//! `lookup`: reads entities that target modules hold, by grant.
//!
//! What one attempt at an event has read is read once: whoever of its plugins asks again gets the same
//! answer. The next attempt reads anew.

use crate::plugin::bindings::lookup::{Address, Entity as WitEntity, Host};
use crate::plugin::bindings::types::Error;
use crate::plugin::instance::HostState;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many entities of one `get-many` are read at once.
const AT_ONCE: usize = 16;

/// An entity as a target holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Media type of the data.
    pub content_type: String,
    /// Which version of it; good for a precondition.
    pub etag: String,
    /// The entity.
    pub data: Bytes,
}

/// Why an entity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such target.
    #[error("{0}")]
    Unknown(String),
    /// The call itself is wrong: it cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// The target does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads entities of target modules. The host hands one in, so that plugins know no target.
pub trait Retrieve: Send + Sync {
    /// The entity at `key`, or `None` when there is none. `target` may name the version of its contract in
    /// which it is meant, as in `crm@1`.
    fn retrieve<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entity>, LookupError>>;
}

/// Target, with the version that is read where the plugin names one, kind of entity, and key.
type Place = (String, Option<String>, String);

/// What the plugins have looked up in one attempt at an event.
#[derive(Default)]
pub(in crate::plugin) struct Reads {
    found: BTreeMap<Place, Option<Entity>>,
    n_bytes: u64,
}

impl Reads {
    /// Keeps what was found, of which there may be `limit` bytes; false when there are more.
    fn keep(&mut self, place: Place, entity: Option<Entity>, limit: u64) -> bool {
        // What an address costs even when nothing is there.
        const ADDRESS: usize = 128;
        let (target, kind, key) = &place;
        let texts = target.len() + key.len() + kind.as_ref().map_or(0, String::len);
        let data = entity.as_ref().map_or(0, |entity| {
            entity.data.len() + entity.etag.len() + entity.content_type.len()
        });
        let n_bytes = u64::try_from(ADDRESS + texts + data).unwrap_or(u64::MAX);
        self.n_bytes = self.n_bytes.saturating_add(n_bytes);
        if self.n_bytes > limit {
            return false;
        }
        self.found.insert(place, entity);
        true
    }
}

impl Host for HostState {
    async fn get(
        &mut self,
        address: Address,
    ) -> wasmtime::Result<Result<Option<WitEntity>, Error>> {
        self.count_host_call()?;
        let found = self.look_up(vec![address]).await;
        Ok(found.map(|mut entities| entities.pop().flatten()))
    }

    async fn get_many(
        &mut self,
        addresses: Vec<Address>,
    ) -> wasmtime::Result<Result<Vec<Option<WitEntity>>, Error>> {
        for _ in &addresses {
            self.count_host_call()?;
        }
        Ok(self.look_up(addresses).await)
    }
}

impl HostState {
    async fn look_up(&mut self, addresses: Vec<Address>) -> Result<Vec<Option<WitEntity>>, Error> {
        let places = addresses
            .into_iter()
            .map(|address| self.permitted(address))
            .collect::<Result<Vec<_>, _>>()?;
        self.read(&places).await?;
        let mut entities = Vec::with_capacity(places.len());
        for place in &places {
            let entity = self.reads.found.get(place).cloned().flatten();
            if entity
                .as_ref()
                .is_some_and(|entity| !self.may_read(entity.data.len()))
            {
                return Err(self.read_too_much());
            }
            entities.push(entity.map(|entity| WitEntity {
                content_type: entity.content_type,
                etag: entity.etag,
                data: entity.data.into(),
            }));
        }
        Ok(entities)
    }

    /// The place that a plugin may read.
    fn permitted(&self, address: Address) -> Result<Place, Error> {
        let Address {
            target,
            entity,
            key,
        } = address;
        if !self.services.grants.lookup_of(&target) {
            return Err(Error::Denied(format!(
                "reading target `{target}` is not granted"
            )));
        }
        if key.is_empty() {
            return Err(Error::Invalid("the key is empty".to_owned()));
        }
        let named = self.services.manifest.reads(&target).map(str::to_owned);
        Ok((named.unwrap_or(target), entity, key))
    }

    /// Reads what was not read before, several at once; the first fault ends it.
    async fn read(&mut self, places: &[Place]) -> Result<(), Error> {
        let services = self.services.clone();
        let Some(retrieve) = &services.retrieve else {
            return Err(Error::Denied("lookup is not offered here".to_owned()));
        };
        let (mut missing, mut seen) = (Vec::new(), BTreeSet::new());
        for place in places {
            if self.reads.found.contains_key(place) || !seen.insert(place) {
                services.lookup(place).repeated.increment();
            } else {
                missing.push(place.clone());
            }
        }
        let reading = missing.into_iter().map(|place: Place| async move {
            let (target, entity, key) = &place;
            let found = retrieve.retrieve(target, entity.as_deref(), key).await;
            (place, found)
        });
        let mut reading = futures::stream::iter(reading).buffered(AT_ONCE);
        while let Some((place, found)) = reading.next().await {
            if let Err(LookupError::Unknown(fault)) = found {
                return Err(Error::Invalid(fault));
            }
            let counts = services.lookup(&place);
            let entity = match found {
                Ok(entity) => entity,
                Err(error) => {
                    counts.failed.increment();
                    return Err(match error {
                        LookupError::Unavailable(fault) => Error::Unavailable(fault),
                        LookupError::Invalid(fault) | LookupError::Unknown(fault) => {
                            Error::Invalid(fault)
                        }
                    });
                }
            };
            match &entity {
                Some(_) => counts.found.increment(),
                None => counts.absent.increment(),
            }
            let limit = services.limits.memory.as_u64();
            if !self.reads.keep(place, entity, limit) {
                return Err(self.read_too_much());
            }
        }
        Ok(())
    }
}

impl super::Services {
    fn lookup(&self, (target, ..): &Place) -> Arc<crate::telemetry::LookupMetrics> {
        let target = target.split('@').next().unwrap_or(target);
        self.metrics.lookup(&self.pipeline, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(n_bytes: usize) -> Option<Entity> {
        Some(Entity {
            content_type: String::new(),
            etag: String::new(),
            data: vec![0; n_bytes].into(),
        })
    }

    #[test]
    fn all_that_an_attempt_has_read_is_bounded() {
        let place = |key: &str| ("crm".to_owned(), None, key.to_owned());
        let mut reads = Reads::default();
        assert!(reads.keep(place("a"), entity(500), 1_000));
        assert!(!reads.keep(place("b"), entity(500), 1_000));
        // Also of what is not there, which costs its address.
        let mut reads = Reads::default();
        let kept = (0..100).take_while(|n| reads.keep(place(&n.to_string()), None, 1_000));
        assert_eq!(kept.count(), 7);
    }
}
