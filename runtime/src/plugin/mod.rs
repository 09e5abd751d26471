//! Foreign code: components are loaded, checked, limited, called, swapped. The only room that knows
//! wasmtime.

mod bindings;
mod capability;
mod component;
mod engine;
mod error;
mod host;
mod instance;
mod limits;
mod manifest;
mod registry;
mod session;
mod solo;
mod version;
mod watch;

use std::path::PathBuf;

pub use capability::{Grants, Ungranted};
pub use component::Component;
pub use engine::{Engine, EngineConfig};
pub use error::{CallError, PluginError};
pub use host::{Cabinet, Entity, LookupError, Retrieve, Secrets, State, StateError};
pub use limits::Limits;
pub use manifest::Manifest;
pub use registry::{Plugins, Slot, Surroundings, Trial, Use, Writable};
pub use session::{Held, Session};
pub use solo::{Solo, World};
pub use version::Version;
pub use watch::watch;

/// The settings of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Its name in the configuration.
    pub name: String,
    /// The component file.
    pub path: PathBuf,
    /// Its own configuration, given to `init`.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
}
