//! What can go wrong with foreign code. A guest's own error, a trap and a host error are three
//! different things: the first is a verdict, the second and third are here.

use super::capability::Ungranted;
use std::path::PathBuf;
use std::time::Duration;

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file cannot be read.
    #[error("cannot read the component {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// The bytes are no component that this version can run.
    #[error("cannot load {path}: {fault}")]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        fault: String,
    },
    /// It wants more than it is granted.
    #[error("cannot load plugin `{plugin}`: {}", join(.missing))]
    Ungranted {
        /// The plugin's name in the configuration.
        plugin: String,
        /// What is missing.
        missing: Vec<Ungranted>,
    },
    /// Its settings are not what its own schema or `init` asks for.
    #[error("plugin `{plugin}` refuses its config: {fault}")]
    Settings {
        /// The plugin's name in the configuration.
        plugin: String,
        /// What it said.
        fault: String,
    },
    /// It writes another version of a target's contract than the target serves.
    #[error("cannot load plugin `{plugin}`: {fault}")]
    Version {
        /// The plugin's name in the configuration.
        plugin: String,
        /// Which versions, and what to do.
        fault: String,
    },
    /// It trapped or ran out of time before it saw an event.
    #[error("plugin `{plugin}` failed in `{function}`: {cause}")]
    Start {
        /// The plugin's name.
        plugin: String,
        /// `describe` or `init`.
        function: &'static str,
        /// How.
        cause: CallError,
    },
    /// The host's own fault.
    #[error("{attempted}: {cause}")]
    Host {
        /// What was attempted.
        attempted: String,
        /// Why it failed.
        cause: String,
    },
}

impl PluginError {
    pub(super) fn host(attempted: &str, error: &wasmtime::Error) -> Self {
        Self::Host {
            attempted: attempted.to_owned(),
            cause: chain(error),
        }
    }
}

/// Why a call into a plugin gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guest trapped: a panic, an exception, memory out of bounds, too many host calls.
    #[error("trap: {message}{}", quoted(.output))]
    Trap {
        /// What the engine says, with the innermost frames.
        message: String,
        /// What the guest had written to its standard output and error.
        output: String,
    },
    /// The guest used up its time.
    #[error("time limit: {limit:?} of {what} used up{}", quoted(.output))]
    Timeout {
        /// `guest time` or `waiting in host calls`.
        what: &'static str,
        /// The limit.
        limit: Duration,
        /// What the guest had written.
        output: String,
    },
    /// The answer breaks a limit or cannot be carried out.
    #[error("bad answer: {0}")]
    Answer(String),
    /// The host could not run the guest.
    #[error("host error: {0}")]
    Host(String),
}

/// The innermost cause matters most; the outer ones say where.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for (index, cause) in error.chain().enumerate() {
        if index > 0 {
            text.push_str(": ");
        }
        text.push_str(cause.to_string().trim());
    }
    text
}

fn quoted(output: &str) -> String {
    if output.trim().is_empty() {
        return String::new();
    }
    format!("; it wrote: {}", output.trim())
}

fn join(missing: &[Ungranted]) -> String {
    missing
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
