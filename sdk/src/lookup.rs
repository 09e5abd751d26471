//! Reads entities that target modules hold. The manifest must name the targets in `lookups`.
//!
//! ```
//! use syncline_sdk::prelude::*;
//!
//! fn price_list(event: &Event) -> Result<Value> {
//!     let plan: String = event.get("/plan")?;
//!     let found = lookup::get("billing", &plan)?.or_retry(format!("plan {plan} not there yet"))?;
//!     found.json()
//! }
//! ```

use serde::de::DeserializeOwned;

use crate::bindings::syncline::plugin::{lookup, types};
use crate::{Error, Result, host};

pub use lookup::{Address, Entity};

/// The entity at `key` of a target that holds one kind.
pub fn get(target: &str, key: &str) -> Result<Option<Entity>> {
    get_at(&Address::new(target, key))
}

/// The entity at an address.
pub fn get_at(address: &Address) -> Result<Option<Entity>> {
    host::lookup::get(address).map_err(failed)
}

/// The entities at several addresses, in their order and in one crossing to the host.
pub fn get_many(addresses: &[Address]) -> Result<Vec<Option<Entity>>> {
    host::lookup::get_many(addresses).map_err(failed)
}

impl Address {
    /// The address of an entity in a target that holds one kind.
    pub fn new(target: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            entity: None,
            key: key.into(),
        }
    }

    /// The kind of entity, for targets that hold several.
    #[must_use]
    pub fn entity(mut self, entity: impl Into<String>) -> Self {
        self.entity = Some(entity.into());
        self
    }
}

impl Entity {
    /// Reads the entity as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.data).map_err(|error| Error::from(error).context("lookup"))
    }
}

fn failed(error: types::Error) -> Error {
    Error::capability("lookup", error)
}
