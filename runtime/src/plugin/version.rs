//! One component at work for one plugin in one pipeline: a pool of warm instances.

use super::component::Component;
use super::engine::Engine;
use super::error::{CallError, PluginError};
use super::host::Services;
use super::instance::Instance;
use super::session::Session;
use crate::event::{Envelope, Verdict};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// One version of a plugin, serving one pipeline. Dropped when the last event that met it is done.
pub struct Version {
    engine: Engine,
    component: Component,
    services: Arc<Services>,
    settings: String,
    idle: Mutex<Vec<Instance>>,
    permits: Semaphore,
}

impl Version {
    /// Instantiates and initialises one instance, so that a version that is visible can work.
    pub(super) async fn prepare(
        engine: &Engine,
        component: &Component,
        services: Arc<Services>,
        settings: String,
    ) -> Result<Self, PluginError> {
        let n_instances = usize::try_from(services.limits.instances).unwrap_or(usize::MAX);
        let version = Self {
            engine: engine.clone(),
            component: component.clone(),
            settings,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(n_instances.clamp(1, Semaphore::MAX_PERMITS)),
            services,
        };
        let first = version.fresh().await?;
        version.give_back(first);
        Ok(version)
    }

    /// The component at work.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The plugin's name in the configuration.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.services.plugin
    }

    /// What the plugin says about one event. A trap is tried once more on a fresh instance.
    ///
    /// # Errors
    /// [`CallError`] when it gave no verdict.
    pub async fn call(
        self: &Arc<Self>,
        envelope: &Envelope,
        attempt: u32,
        session: &mut Session,
    ) -> Result<Verdict, CallError> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|e| CallError::Host(e.to_string()))?;
        let warm = self.idle.lock().pop();
        let instance = match warm {
            Some(instance) => instance,
            None => self.start().await?,
        };
        match self.call_on(instance, envelope, attempt, session).await {
            Err(CallError::Trap { message, .. }) => {
                let (plugin, pipeline) = (&self.services.plugin, &self.services.pipeline);
                tracing::warn!(%plugin, %pipeline, event = %envelope.origin.id, %message,
                    "plugin trapped, once more on a fresh instance");
                let fresh = self.start().await?;
                self.call_on(fresh, envelope, attempt, session).await
            }
            result => result,
        }
    }

    async fn call_on(
        self: &Arc<Self>,
        mut instance: Instance,
        envelope: &Envelope,
        attempt: u32,
        session: &mut Session,
    ) -> Result<Verdict, CallError> {
        let before = session.take(&self.services.plugin);
        let backup = before.clone();
        let (result, overlay) = instance.process(envelope, attempt, before).await;
        if result.is_err() {
            // The instance is dropped here: trapped, late or answering beyond its limits.
            session.put(&self.services.plugin, backup);
            return result;
        }
        if overlay.is_used() {
            session.put(&self.services.plugin, overlay);
            session.hold(self.clone(), instance);
        } else {
            self.give_back(instance);
        }
        result
    }

    /// Makes an instance available again.
    pub(super) fn give_back(&self, instance: Instance) {
        self.idle.lock().push(instance);
    }

    async fn start(&self) -> Result<Instance, CallError> {
        self.fresh().await.map_err(|error| match error {
            PluginError::Start { cause, .. } => cause,
            other => CallError::Host(other.to_string()),
        })
    }

    async fn fresh(&self) -> Result<Instance, PluginError> {
        let mut instance =
            Instance::start(&self.engine, self.component.pre(), self.services.clone()).await?;
        instance.init(&self.settings).await?;
        Ok(instance)
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("plugin", &self.services.plugin)
            .field("digest", &self.component.digest())
            .finish_non_exhaustive()
    }
}
