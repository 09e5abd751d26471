//! Durable key-value state, private to the plugin in its pipeline.
//!
//! Reads see the writes made for the same event. Writes take effect together with the event's
//! effects, or not at all: an event that is retried or rejected leaves nothing behind. The manifest
//! must ask for the capability `state`.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::verdict::saturated;
use crate::{Error, Result, host};

/// The value at `key`.
pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
    host::state::get(key).map_err(failed)
}

/// The value at `key`, read as JSON.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let Some(value) = get(key)? else {
        return Ok(None);
    };
    let unreadable = |error| Error::from(error).context(format!("state: {key}"));
    serde_json::from_slice(&value).map(Some).map_err(unreadable)
}

/// The values at several keys, in their order and in one crossing to the host.
pub fn get_many<K: AsRef<str>>(keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
    let keys: Vec<String> = keys.iter().map(|key| key.as_ref().to_owned()).collect();
    host::state::get_many(&keys).map_err(failed)
}

/// Sets the value at `key`: until it is deleted, or for a time (`None`, or a [`Duration`]).
pub fn put(key: &str, value: impl AsRef<[u8]>, ttl: impl Into<Option<Duration>>) -> Result<()> {
    host::state::put(key, value.as_ref(), seconds(ttl.into())).map_err(failed)
}

/// Sets the value at `key` as JSON; `ttl` as in [`put`].
pub fn put_json<T: Serialize + ?Sized>(
    key: &str,
    value: &T,
    ttl: impl Into<Option<Duration>>,
) -> Result<()> {
    put(key, serde_json::to_vec(value)?, ttl)
}

/// Sets the value only where there is none; true when it was set. `ttl` as in [`put`].
///
/// ```
/// use std::time::Duration;
/// use syncline_sdk::prelude::*;
///
/// fn first_of_the_hour(event: &Event) -> Result<bool> {
///     let key = format!("seen/{}", event.delivery.key);
///     state::put_new(&key, [], Duration::from_secs(3600))
/// }
/// ```
pub fn put_new(
    key: &str,
    value: impl AsRef<[u8]>,
    ttl: impl Into<Option<Duration>>,
) -> Result<bool> {
    host::state::put_new(key, value.as_ref(), seconds(ttl.into())).map_err(failed)
}

/// Adds to the counter at `key`, which is 0 where there is none, and gives its new value.
pub fn add(key: &str, delta: i32) -> Result<i64> {
    host::state::add(key, delta).map_err(failed)
}

/// Removes the value at `key`.
pub fn delete(key: &str) -> Result<()> {
    host::state::delete(key).map_err(failed)
}

/// Whole seconds, rounded up: a value never goes early.
fn seconds(ttl: Option<Duration>) -> Option<u32> {
    ttl.map(|ttl| saturated(ttl.as_nanos().div_ceil(1_000_000_000)))
}

fn failed(error: crate::bindings::syncline::plugin::types::Error) -> Error {
    Error::capability("state", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up() {
        assert_eq!(seconds(None), None);
        assert_eq!(seconds(Some(Duration::from_millis(1))), Some(1));
        assert_eq!(seconds(Some(Duration::from_secs(60))), Some(60));
        assert_eq!(seconds(Some(Duration::MAX)), Some(u32::MAX));
    }
}
