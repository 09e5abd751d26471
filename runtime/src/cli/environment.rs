//! The environment variables that the program reads, each in one place.

use std::path::PathBuf;

/// A variable that is set and text: what the configuration may name.
pub(super) fn any(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// A variable that is set, text, and not empty: a setting of our own.
pub(super) fn variable(name: &str) -> Option<String> {
    any(name).filter(|value| !value.is_empty())
}

/// Whether colour is unwanted (<https://no-color.org>).
pub(super) fn no_color() -> bool {
    variable("NO_COLOR").is_some()
}

/// The NATS server that `NATS_URL` names.
pub(super) fn nats_url() -> Option<String> {
    variable("NATS_URL")
}

/// Where compiled plugins are kept: `SYNCLINE_CACHE`, else `XDG_CACHE_HOME/syncline`, else
/// `~/.cache/syncline`; none of them set: nowhere.
pub(super) fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = variable("SYNCLINE_CACHE") {
        return Some(dir.into());
    }
    if let Some(dir) = variable("XDG_CACHE_HOME") {
        return Some(PathBuf::from(dir).join("syncline"));
    }
    variable("HOME").map(|home| PathBuf::from(home).join(".cache").join("syncline"))
}

/// The nats-server program that `syncline dev` may start, when one is named.
pub(super) fn nats_server() -> Option<PathBuf> {
    variable("SYNCLINE_NATS_SERVER").map(PathBuf::from)
}

/// What is to go wrong on purpose, in a build for tests.
pub(super) fn faults() -> Option<String> {
    variable("SYNCLINE_FAULTS")
}

/// The first file called `program` on `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
