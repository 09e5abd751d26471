//! Secrets that the operator grants. The manifest must name them in `secrets`.
//!
//! The host hides their literal values in logs and dead letters; a secret that a plugin encodes or
//! cuts is beyond that.

use crate::{Classify, Error, Result, host};

/// The secret, which must exist.
pub fn get(name: &str) -> Result<String> {
    find(name)?.or_reject(format!("secrets: there is no {name}"))
}

/// The secret, if there is one.
pub fn find(name: &str) -> Result<Option<String>> {
    host::secrets::get(name).map_err(|error| Error::capability("secrets", error))
}
