//! What a guest may call: Syncline's capabilities and an empty WASI 0.2. One capability, one file.

mod capture;
mod http;
mod log;
mod lookup;
mod metrics;
mod secrets;
mod state;

use super::bindings::{self, types::Error};
use super::capability::Grants;
use super::instance::HostState;
use super::limits::Limits;
use super::manifest::Manifest;
use crate::outbound::Client;
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker};

pub(super) use capture::Capture;
pub(super) use http::Outgoing;
pub(super) use lookup::Reads;
pub use lookup::{Entity, LookupError, Retrieve};
pub use secrets::Secrets;
pub(super) use state::Overlay;
pub use state::{Cabinet, State, StateError};

/// What the instances of one plugin in one pipeline share.
#[derive(Clone)]
pub(crate) struct Services {
    /// The plugin's name in the configuration.
    pub(crate) plugin: String,
    /// The pipeline it serves.
    pub(crate) pipeline: String,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) retrieve: Option<Arc<dyn Retrieve>>,
    pub(crate) http: Arc<Client>,
    pub(crate) state: Option<State>,
    pub(crate) metrics: Arc<Metrics>,
    /// What the component says of itself.
    pub(crate) manifest: Arc<Manifest>,
}

impl Services {
    /// Nothing at all: for asking a component what it is.
    pub(super) fn for_describe(name: &str) -> Self {
        let limits = Limits::default();
        Self {
            plugin: name.to_owned(),
            pipeline: String::new(),
            grants: Grants::default(),
            http: Arc::new(Client::granted_nothing(limits.outbound())),
            limits,
            secrets: Arc::new(Secrets::new(BTreeMap::new())),
            retrieve: None,
            state: None,
            metrics: Arc::new(Metrics::new()),
            manifest: Arc::default(),
        }
    }
}

impl HostState {
    /// The answer to a guest that reads more for one event than it could hold itself.
    fn read_too_much(&self) -> Error {
        let limit = self.services.limits.memory;
        Error::Invalid(format!(
            "more than {limit} read for one event, the limit `memory`"
        ))
    }
}

/// Everything a component may import. What is not granted answers `denied`.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    bindings::log::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    bindings::state::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    bindings::lookup::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    bindings::secrets::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    bindings::metrics::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    http::add_to_linker(&mut linker)?;
    Ok(linker)
}
