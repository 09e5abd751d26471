//! Counters and distributions of a plugin's own, shown among those of the host.
//!
//! Names and label keys are lower-case letters, digits and `_`; the host bounds how many series a
//! plugin may have, so labels take few values.

use crate::host;

/// Adds to a counter.
pub fn count(name: &str, delta: u32, labels: &[(&str, &str)]) {
    host::metrics::count(name, delta, &host::owned(labels));
}

/// Adds a value to a distribution.
pub fn observe(name: &str, value: f64, labels: &[(&str, &str)]) {
    host::metrics::observe(name, value, &host::owned(labels));
}
