//! Where the capabilities come from: the host's imports in a component, a fake natively.
//!
//! Both sides have the same functions, so that the capability modules are written once.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::syncline::plugin::{log, lookup, metrics, secrets, state};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::capabilities::{log, lookup, metrics, secrets, state};

/// Label and field lists as the contract wants them.
pub(crate) fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
