//! One plugin alone, with capabilities in memory: for `call`, `test` and tests.

use super::Config;
use super::capability::{AS_GRANTED, Grants};
use super::component::Component;
use super::engine::Engine;
use super::error::{CallError, PluginError};
use super::host::{Entity, LookupError, Retrieve, Secrets, State};
use super::limits::Limits;
use super::manifest::Manifest;
use super::registry::{Slot, Surroundings, Use, Writable};
use super::session::Session;
use super::version::Version;
use crate::event::{Envelope, KeyAlphabet, Verdict, escape_key};
use crate::outbound::{METHODS, Recorded, Transport};
use crate::telemetry::Metrics;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of a lone plugin, and of its pipeline.
const SOLO: &str = "solo";

/// What a lone plugin finds around it.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Its configuration.
    pub settings: serde_json::Map<String, Value>,
    /// What lookup finds: `target` or `target/entity`, then key.
    pub entities: BTreeMap<String, BTreeMap<String, Value>>,
    /// Its state.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Its secrets.
    pub secrets: BTreeMap<String, String>,
    /// Answers to its HTTP requests; nothing is sent.
    pub http: Vec<Recorded>,
    /// Its limits.
    pub limits: Limits,
}

/// A plugin that works alone. State that an accepted event wrote is there for the next.
pub struct Solo {
    version: Arc<Version>,
    state: State,
}

impl Solo {
    /// Readies the plugin. What its manifest asks for is granted.
    ///
    /// # Errors
    /// [`PluginError`] as when a pipeline loads it.
    pub async fn start(
        engine: &Engine,
        component: &Component,
        world: World,
    ) -> Result<Self, PluginError> {
        let manifest = component.manifest();
        let config = Config {
            name: SOLO.to_owned(),
            path: component.path().to_owned(),
            settings: world.settings,
            grants: granted(manifest),
            limits: world.limits,
        };
        let key = |key: &str| format!("{SOLO}.{SOLO}.{}", escape_key(key, KeyAlphabet::Token));
        let state = State::memory(
            world
                .state
                .iter()
                .map(|(k, v)| (key(k), Bytes::from(v.clone()))),
        );
        let surroundings = Surroundings {
            secrets: Arc::new(Secrets::new(world.secrets)),
            retrieve: Some(Arc::new(Entities(world.entities))),
            transport: Transport::Recorded(world.http.into()),
            metrics: Arc::new(Metrics::new()),
        };
        let writable = |target: &str| Writable {
            target: target.to_owned(),
            versions: Vec::new(),
        };
        let used = Use {
            plugin: SOLO.to_owned(),
            pipeline: SOLO.to_owned(),
            writable: manifest.target_names().map(writable).collect(),
            state: Some(state.clone()),
        };
        let mut missing = config.grants.missing_for(SOLO, manifest);
        // Any host may be recorded.
        missing.retain(|wish| *wish != Grants::no_host(SOLO));
        if !missing.is_empty() {
            return Err(PluginError::Ungranted {
                plugin: SOLO.to_owned(),
                missing,
            });
        }
        super::registry::check_settings(&config, component)?;
        let slot = Slot::open(engine, &config, component, &used, &surroundings).await?;
        Ok(Self {
            version: slot.active(),
            state,
        })
    }

    /// What the plugin says about one event.
    ///
    /// # Errors
    /// [`CallError`] when it gives no verdict.
    pub async fn call(&self, envelope: &Envelope, attempt: u32) -> Result<Verdict, CallError> {
        let mut session = Session::new();
        let verdict = self.version.call(envelope, attempt, &mut session).await?;
        let (_, writes, held) = session.into_plan();
        if matches!(verdict, Verdict::Accept(_) | Verdict::Drop(_)) {
            let committed = self.state.commit(&writes).await;
            committed.map_err(|error| CallError::Host(error.to_string()))?;
            held.release();
        }
        Ok(verdict)
    }
}

/// What the manifest asks for. Which methods are meant is said where it is configured.
fn granted(manifest: &Manifest) -> Grants {
    let mut grants = Grants::all_of(manifest);
    for host in &mut grants.http {
        host.settings.methods = METHODS.to_vec();
    }
    // With a host that is a setting, any may be meant.
    if manifest.hosts().any(|host| host == AS_GRANTED) {
        grants.http.clear();
    }
    grants
}

/// Entities in memory, all at their first version.
struct Entities(BTreeMap<String, BTreeMap<String, Value>>);

impl Retrieve for Entities {
    fn retrieve<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entity>, LookupError>> {
        let place = entity.map_or_else(|| target.to_owned(), |kind| format!("{target}/{kind}"));
        let found = self.0.get(&place).and_then(|entities| entities.get(key));
        let entity = found.map(|value| Entity {
            content_type: "application/json".to_owned(),
            etag: "1".to_owned(),
            data: Bytes::from(value.to_string()),
        });
        async move { Ok(entity) }.boxed()
    }
}
