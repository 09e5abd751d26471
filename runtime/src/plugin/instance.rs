//! One instantiation: its store, its limits, and the calls into it.

use super::bindings;
use super::engine::{Engine, LARGEST_MEMORY, TICK};
use super::error::{CallError, PluginError, chain};
use super::host::{Capture, Overlay, Services};
use super::manifest::Manifest;
use crate::event::{Envelope, EventId, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Time for `describe` and `init`, which run once: interpreters start up in them.
const START_TIME: Duration = Duration::from_secs(5);

/// What a store holds: the host's side of one instance.
pub(crate) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: MemoryLimit,
    output: Capture,
    pub(super) services: Arc<Services>,
    pub(super) overlay: Overlay,
    call: Call,
}

/// What one call has used so far.
struct Call {
    event: Option<EventId>,
    started: Instant,
    waited: Duration,
    limit: Duration,
    n_host_calls: u32,
    n_logged: u64,
}

/// The guest broke a limit of the host: ends the guest.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("guest time is used up")]
    Time,
    #[error("more than {0} host calls, the limit `host_calls`")]
    HostCalls(u32),
}

impl HostState {
    fn new(services: Arc<Services>) -> Self {
        let log_limit = usize::try_from(services.limits.log.as_u64()).unwrap_or(usize::MAX);
        let output = Capture::new(log_limit);
        // Nothing of the machine: no environment, arguments, files or sockets.
        let wasi = WasiCtxBuilder::new()
            .stdout(output.clone())
            .stderr(output.clone())
            .build();
        let largest = services.limits.memory.as_u64();
        Self {
            wasi,
            table: ResourceTable::new(),
            memory: MemoryLimit {
                limit: usize::try_from(largest)
                    .unwrap_or(usize::MAX)
                    .min(LARGEST_MEMORY),
                refused: false,
            },
            output,
            services,
            overlay: Overlay::default(),
            call: Call::new(None, START_TIME),
        }
    }

    /// Refuses a guest that floods the host with calls.
    pub(super) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        self.call.n_host_calls = self.call.n_host_calls.saturating_add(1);
        let limit = self.services.limits.host_calls;
        if self.call.n_host_calls > limit {
            return Err(wasmtime::Error::new(Broken::HostCalls(limit)));
        }
        Ok(())
    }

    /// Whether a log line of `n_bytes` is still within the event's volume.
    pub(super) fn may_log(&mut self, n_bytes: usize) -> bool {
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        let before = self.call.n_logged;
        self.call.n_logged = before.saturating_add(n_bytes);
        let limit = self.services.limits.log.as_u64();
        if self.call.n_logged > limit && before <= limit {
            let (plugin, pipeline) = (&self.services.plugin, &self.services.pipeline);
            tracing::warn!(%plugin, %pipeline, event = %self.event_id(), limit,
                "the plugin logs more than its limit `log` for one event: the rest is dropped");
        }
        self.call.n_logged <= limit
    }

    /// The event at work, for log lines.
    pub(super) fn event_id(&self) -> &str {
        self.call.event.as_ref().map_or("-", EventId::as_str)
    }

    /// Waiting in a host call is not guest time.
    pub(super) fn start_waiting(&self) -> Instant {
        Instant::now()
    }

    pub(super) fn end_waiting(&mut self, started: Instant) {
        self.call.waited += started.elapsed();
    }
}

impl Call {
    fn new(event: Option<EventId>, limit: Duration) -> Self {
        Self {
            event,
            started: Instant::now(),
            waited: Duration::ZERO,
            limit,
            n_host_calls: 0,
            n_logged: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.started.elapsed().saturating_sub(self.waited) >= self.limit
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Memory up to the limit, and whether the guest was ever refused more: it explains a trap.
struct MemoryLimit {
    limit: usize,
    refused: bool,
}

impl wasmtime::ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.refused |= desired > self.limit;
        Ok(desired <= self.limit)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        const LARGEST_TABLE: usize = 100_000;
        Ok(desired <= LARGEST_TABLE)
    }
}

/// A live instance. Whoever holds it decides whether it is used again.
pub(super) struct Instance {
    store: Store<HostState>,
    plugin: bindings::Plugin,
}

impl Instance {
    /// A fresh instance; nothing of the guest but its start section has run.
    pub(super) async fn start(
        engine: &Engine,
        pre: &bindings::PluginPre<HostState>,
        services: Arc<Services>,
    ) -> Result<Self, PluginError> {
        let plugin_name = services.plugin.clone();
        let output_limit = services.limits.output.as_u64();
        let mut store = Store::new(engine.wasmtime(), HostState::new(services));
        store.limiter(|state| &mut state.memory);
        // What the guest may make the host allocate for one value, shared pointers counted each time.
        let fuel = usize::try_from(output_limit.saturating_mul(2)).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(fuel.max(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|state| {
            if state.data().call.is_over() {
                return Err(wasmtime::Error::new(Broken::Time));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let plugin = pre.instantiate_async(&mut store).await;
        let mut started = |error: wasmtime::Error| PluginError::Start {
            plugin: plugin_name.clone(),
            function: "start",
            cause: fault(&mut store, &error, START_TIME),
        };
        match plugin {
            Ok(plugin) => Ok(Self { store, plugin }),
            Err(error) => Err(started(error)),
        }
    }

    /// Asks the guest what it is.
    pub(super) async fn describe(&mut self) -> Result<Manifest, PluginError> {
        self.begin(None, START_TIME);
        let answer = self
            .plugin
            .syncline_plugin_handler()
            .call_describe(&mut self.store)
            .await;
        match answer {
            Ok(manifest) => Ok(bindings::manifest(manifest)),
            Err(error) => Err(self.start_fault("describe", &error)),
        }
    }

    /// Hands the guest its settings.
    pub(super) async fn init(&mut self, settings: &str) -> Result<(), PluginError> {
        self.begin(None, START_TIME);
        let services = self.store.data().services.clone();
        let context = bindings::types::Context {
            plugin: &services.plugin,
            pipeline: &services.pipeline,
            config: settings,
            attributes: &[],
        };
        let handler = self.plugin.syncline_plugin_handler();
        match handler.call_init(&mut self.store, context).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(PluginError::Settings {
                plugin: services.plugin.clone(),
                fault,
            }),
            Err(error) => Err(self.start_fault("init", &error)),
        }
    }

    /// Asks the guest about one event. After an error the instance must not be used again.
    pub(super) async fn process(
        &mut self,
        envelope: &Envelope,
        attempt: u32,
        overlay: Overlay,
    ) -> (Result<Verdict, CallError>, Overlay) {
        let limits = self.store.data().services.clone();
        let limits = &limits.limits;
        self.begin(Some(envelope.origin.id.clone()), limits.time);
        self.store.data_mut().overlay = overlay;
        let call = bindings::process(&self.plugin, &mut self.store, envelope, attempt);
        // The first poll runs the guest; the timer is only set when it waits.
        let answer = tokio::time::timeout(limits.time + limits.host_time, call).await;
        let result = match answer {
            Ok(Ok(answer)) => bindings::verdict(answer, limits),
            Ok(Err(error)) => Err(fault(&mut self.store, &error, limits.time)),
            Err(_) => Err(CallError::Timeout {
                what: "waiting in host calls",
                limit: limits.host_time,
                output: self.store.data().output.take(),
            }),
        };
        let overlay = std::mem::take(&mut self.store.data_mut().overlay);
        (result, overlay)
    }

    fn begin(&mut self, event: Option<EventId>, limit: Duration) {
        let state = self.store.data_mut();
        state.output.clear();
        state.call = Call::new(event, limit);
        self.store.set_epoch_deadline(ticks(limit));
    }

    fn start_fault(&mut self, function: &'static str, error: &wasmtime::Error) -> PluginError {
        let plugin = self.store.data().services.plugin.clone();
        PluginError::Start {
            plugin,
            function,
            cause: fault(&mut self.store, error, START_TIME),
        }
    }
}

/// The deadline callback looks again after a few ticks, so that a long call lets others run.
fn ticks(limit: Duration) -> u64 {
    const OFTEN_ENOUGH: u64 = 2;
    let ticks = limit.as_millis().div_ceil(TICK.as_millis().max(1));
    u64::try_from(ticks)
        .unwrap_or(u64::MAX)
        .clamp(1, OFTEN_ENOUGH)
}

/// Tells the guest's faults from the host's, and adds what the guest had written.
fn fault(store: &mut Store<HostState>, error: &wasmtime::Error, limit: Duration) -> CallError {
    let state = store.data();
    let output = state
        .services
        .secrets
        .redact(&state.output.take())
        .into_owned();
    if let Some(Broken::Time) = error.downcast_ref() {
        return CallError::Timeout {
            what: "guest time",
            limit,
            output,
        };
    }
    let mut message = chain(error);
    if state.memory.refused {
        let limit = state.services.limits.memory;
        message = format!("memory limit of {limit} reached: {message}");
    }
    let is_guests = error.is::<wasmtime::Trap>()
        || error.is::<Broken>()
        || error.is::<wasmtime_wasi::I32Exit>()
        || error.is::<wasmtime::WasmBacktrace>();
    if is_guests {
        return CallError::Trap { message, output };
    }
    CallError::Host(message)
}
