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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One version of a plugin, serving one pipeline. Dropped when the last event that met it is done.
pub struct Version {
    engine: Engine,
    component: Component,
    services: Arc<Services>,
    settings: String,
    idle: Mutex<Vec<Instance>>,
    permits: Arc<Semaphore>,
}

/// An instance in use, and its place among those that may work at once.
pub(super) struct Lease {
    instance: Instance,
    permit: OwnedSemaphorePermit,
}

impl Version {
    /// Instantiates and initialises one instance, so that a version that is visible can work.
    pub(super) async fn prepare(
        engine: &Engine,
        component: &Component,
        services: Arc<Services>,
        settings: String,
    ) -> Result<Self, PluginError> {
        // The slot outlives the component, and what that says of itself.
        let services = Arc::new(Services {
            manifest: Arc::new(component.manifest().clone()),
            ..services.as_ref().clone()
        });
        let n_instances = usize::try_from(services.limits.instances).unwrap_or(usize::MAX);
        let version = Self {
            engine: engine.clone(),
            component: component.clone(),
            settings,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(n_instances.clamp(1, Semaphore::MAX_PERMITS))),
            services,
        };
        let first = version.fresh().await?;
        version.idle.lock().push(first);
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
        let lease = match session.reuse(self) {
            Some(lease) => lease,
            None => self.lease().await?,
        };
        match self.call_on(lease, envelope, attempt, session).await {
            // Boxed as all that is rare: the future of every event would be as large.
            Err(CallError::Trap { message, .. }) => {
                Box::pin(self.once_more(&message, envelope, attempt, session)).await
            }
            result => result,
        }
    }

    async fn once_more(
        self: &Arc<Self>,
        message: &str,
        envelope: &Envelope,
        attempt: u32,
        session: &mut Session,
    ) -> Result<Verdict, CallError> {
        let (plugin, pipeline) = (&self.services.plugin, &self.services.pipeline);
        tracing::warn!(%plugin, %pipeline, event = %envelope.origin.id, %message,
            "plugin trapped, once more on a fresh instance");
        let fresh = Lease {
            permit: self.permit().await?,
            instance: self.start().await?,
        };
        self.call_on(fresh, envelope, attempt, session).await
    }

    async fn call_on(
        self: &Arc<Self>,
        mut lease: Lease,
        envelope: &Envelope,
        attempt: u32,
        session: &mut Session,
    ) -> Result<Verdict, CallError> {
        let before = session.take(&self.services.plugin);
        let backup = before.clone();
        let given = (before, session.take_reads());
        let (result, (overlay, reads)) = lease.instance.process(envelope, attempt, given).await;
        session.put_reads(reads);
        if result.is_err() {
            // The instance is dropped here: trapped, late or answering beyond its limits.
            session.put(&self.services.plugin, backup);
            return result;
        }
        if overlay.is_used() {
            session.put(&self.services.plugin, overlay);
            session.hold(self.clone(), lease);
        } else {
            self.give_back(lease);
        }
        result
    }

    /// An instance that no other event uses, warm where there is one.
    async fn lease(&self) -> Result<Lease, CallError> {
        let permit = self.permit().await?;
        let warm = self.idle.lock().pop();
        let instance = match warm {
            Some(instance) => instance,
            None => Box::pin(self.start()).await?,
        };
        Ok(Lease { instance, permit })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => Box::pin(self.wait_for_permit()).await,
        }
    }

    async fn wait_for_permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        // Events that hold instances of each other's plugins would wait for ever.
        let limit = self.services.limits.host_time;
        let permit = tokio::time::timeout(limit, self.permits.clone().acquire_owned()).await;
        match permit {
            Ok(permit) => permit.map_err(|error| CallError::Host(error.to_string())),
            Err(_) => Err(CallError::Timeout {
                what: "waiting for an instance",
                limit,
                output: String::new(),
            }),
        }
    }

    /// Makes an instance available again.
    pub(super) fn give_back(&self, lease: Lease) {
        if lease.instance.is_reusable() {
            self.idle.lock().push(lease.instance);
        }
        drop(lease.permit);
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
