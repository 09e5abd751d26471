//! `lookup`: reads entities that target modules hold, by grant.

use crate::plugin::bindings::lookup::{Address, Entity as WitEntity, Host};
use crate::plugin::bindings::types::Error;
use crate::plugin::instance::HostState;
use bytes::Bytes;
use futures::future::BoxFuture;

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
    /// The call itself is wrong: no such target, or it cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// The target does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads entities of target modules. The host hands one in, so that plugins know no target.
pub trait Retrieve: Send + Sync {
    /// The entity at `key`, or `None` when there is none.
    fn retrieve<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entity>, LookupError>>;
}

impl Host for HostState {
    async fn get(
        &mut self,
        address: Address,
    ) -> wasmtime::Result<Result<Option<WitEntity>, Error>> {
        self.count_host_call()?;
        Ok(self.look_up(address).await)
    }

    async fn get_many(
        &mut self,
        addresses: Vec<Address>,
    ) -> wasmtime::Result<Result<Vec<Option<WitEntity>>, Error>> {
        let mut entities = Vec::with_capacity(addresses.len().min(1_024));
        for address in addresses {
            self.count_host_call()?;
            match self.look_up(address).await {
                Ok(entity) => entities.push(entity),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(entities))
    }
}

impl HostState {
    async fn look_up(&mut self, address: Address) -> Result<Option<WitEntity>, Error> {
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
        let Some(retrieve) = self.services.retrieve.clone() else {
            return Err(Error::Denied("lookup is not offered here".to_owned()));
        };
        if key.is_empty() {
            return Err(Error::Invalid("the key is empty".to_owned()));
        }
        let found = retrieve.retrieve(&target, entity.as_deref(), &key).await;
        match found {
            Ok(Some(entity)) if !self.may_read(entity.data.len()) => Err(self.read_too_much()),
            Ok(entity) => Ok(entity.map(|entity| WitEntity {
                content_type: entity.content_type,
                etag: entity.etag,
                data: entity.data.into(),
            })),
            Err(LookupError::Invalid(fault)) => Err(Error::Invalid(fault)),
            Err(LookupError::Unavailable(fault)) => Err(Error::Unavailable(fault)),
        }
    }
}
