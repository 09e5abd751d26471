//! One change that should happen to a target module.

use serde::Serialize;

use crate::Result;
use crate::bindings::syncline::plugin::types;

pub use types::{Effect, Operation, Precondition};

/// An effect starts with what to do to which key and is completed by what follows:
///
/// ```
/// use syncline_sdk::prelude::*;
///
/// # fn main() -> Result<()> {
/// let rename = Effect::merge("7").to("crm").entity("contact").json(&json!({ "name": "Ada" }))?;
/// let forget = Effect::delete("7").to("search").if_present();
/// # assert_eq!(rename.payload, br#"{"name":"Ada"}"#);
/// # assert_eq!(forget.precondition, Some(Precondition::Present));
/// # Ok(())
/// # }
/// ```
///
/// Without [`to`](Self::to) it goes to every target of the pipeline's `to`.
impl Effect {
    /// Creates or replaces the entity at `key`.
    pub fn upsert(key: impl Into<String>) -> Self {
        Self::new(Operation::Upsert, key)
    }

    /// Merges the payload into the entity at `key` (RFC 7396: `null` removes a field).
    pub fn merge(key: impl Into<String>) -> Self {
        Self::new(Operation::Merge, key)
    }

    /// Removes the entity at `key`.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::new(Operation::Delete, key)
    }

    /// Adds a record that has no identity of its own; `key` says what it belongs to.
    pub fn append(key: impl Into<String>) -> Self {
        Self::new(Operation::Append, key)
    }

    /// An effect whose operation is known only at run time.
    pub fn new(operation: Operation, key: impl Into<String>) -> Self {
        Self {
            target: None,
            entity: None,
            operation,
            key: key.into(),
            precondition: None,
            content_type: None,
            headers: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// The target it is for, which the manifest must name.
    #[must_use]
    pub fn to(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// The kind of entity, for targets that hold several.
    #[must_use]
    pub fn entity(mut self, entity: impl Into<String>) -> Self {
        self.entity = Some(entity.into());
        self
    }

    /// Sets the payload, as JSON.
    pub fn json<T: Serialize + ?Sized>(self, payload: &T) -> Result<Self> {
        Ok(self.data("application/json", serde_json::to_vec(payload)?))
    }

    /// Sets the payload.
    #[must_use]
    pub fn data(mut self, content_type: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self.payload = payload.into();
        self
    }

    /// Adds a header; names that begin with `Nats-` or `Syncline-` are refused by the host.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Holds only while there is nothing at the key; otherwise the event is thought again.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.precondition = Some(Precondition::Absent);
        self
    }

    /// Holds only while there is something at the key; otherwise the event is thought again.
    #[must_use]
    pub fn if_present(mut self) -> Self {
        self.precondition = Some(Precondition::Present);
        self
    }

    /// Holds only while the entity is as [`lookup`](crate::lookup) saw it; otherwise the event is
    /// thought again from fresh reads.
    #[must_use]
    pub fn if_etag(mut self, etag: impl Into<String>) -> Self {
        self.precondition = Some(Precondition::Etag(etag.into()));
        self
    }
}
