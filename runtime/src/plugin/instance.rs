//! One instantiation: its store, its limits, and the calls into it.

use super::bindings;
use super::engine::{Engine, LARGEST_MEMORY, TICK};
use super::error::{CallError, PluginError, chain};
use super::host::{Capture, Outgoing, Overlay, Reads, Services};
use super::manifest::Manifest;
use crate::event::{Envelope, EventId, Verdict};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

/// Guest time for `describe` and `init`, which run once: interpreters start up in them. As much
/// again may pass in waiting.
const START_TIME: Duration = Duration::from_secs(5);
/// What the host may keep open for one instance: streams, timers, folders.
const HANDLES: usize = 1_000;

/// What a store holds: the host's side of one instance.
pub(crate) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: MemoryLimit,
    output: Capture,
    pub(super) services: Arc<Services>,
    pub(super) overlay: Overlay,
    /// What the attempt at the event has looked up, here and in other instances.
    pub(super) reads: Reads,
    pub(super) outgoing: Outgoing,
    call: Call,
}

/// What one call has used so far.
struct Call {
    event: Option<EventId>,
    n_host_calls: u32,
    n_logged: u64,
    n_read: u64,
}

/// The guest broke a limit of the host: ends the guest.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("guest time is used up")]
    Time,
    #[error("the time for waiting is used up")]
    Waiting,
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
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self {
            wasi,
            table,
            memory: MemoryLimit {
                limit: usize::try_from(largest)
                    .unwrap_or(usize::MAX)
                    .min(LARGEST_MEMORY),
                used: 0,
                refused: false,
            },
            output,
            outgoing: Outgoing::new(&services),
            services,
            overlay: Overlay::default(),
            reads: Reads::default(),
            call: Call::new(None),
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
        // What a line costs even when it is empty.
        const LINE: u64 = 64;
        let n_bytes = u64::try_from(n_bytes)
            .unwrap_or(u64::MAX)
            .saturating_add(LINE);
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

    /// The event at work, as the log names it; none in `describe` and `init`.
    pub(super) fn event_at_work(&self) -> Option<String> {
        self.call.event.as_ref().map(|id| id.as_str().to_owned())
    }

    /// Whether `n_bytes` more may be read for the event. What it read is held until it ends.
    pub(super) fn may_read(&mut self, n_bytes: usize) -> bool {
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        self.call.n_read = self.call.n_read.saturating_add(n_bytes);
        let n_read = self.call.n_read.saturating_add(self.outgoing.n_read());
        n_read <= self.services.limits.memory.as_u64()
    }
}

impl Call {
    fn new(event: Option<EventId>) -> Self {
        Self {
            event,
            n_host_calls: 0,
            n_logged: 0,
            n_read: 0,
        }
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

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.outgoing.view(&mut self.table)
    }
}

/// Memory up to the limit, over all memories of the instance, and whether the guest was ever refused more: it explains a trap.
struct MemoryLimit {
    limit: usize,
    used: usize,
    refused: bool,
}

impl wasmtime::ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
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
        // So that `bounded` can look at the time, and others get their turn.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let call = pre.instantiate_async(&mut store);
        let plugin = bounded(pin!(call), START_TIME, START_TIME).await;
        let started = |error: wasmtime::Error| PluginError::Start {
            plugin: plugin_name.clone(),
            function: "start",
            cause: fault(&store, &error, START_TIME, START_TIME),
        };
        match plugin {
            Ok(plugin) => Ok(Self { store, plugin }),
            Err(error) => Err(started(error)),
        }
    }

    /// Asks the guest what it is.
    pub(super) async fn describe(&mut self) -> Result<Manifest, PluginError> {
        self.begin(None, START_TIME);
        let handler = self.plugin.syncline_plugin_handler();
        let call = handler.call_describe(&mut self.store);
        let described = bounded(pin!(call), START_TIME, START_TIME).await;
        match described {
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
        let call = handler.call_init(&mut self.store, context);
        let begun = bounded(pin!(call), START_TIME, START_TIME).await;
        match begun {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(PluginError::Settings {
                plugin: services.plugin.clone(),
                fault: services.secrets.redact(&fault).into_owned(),
            }),
            Err(error) => Err(self.start_fault("init", &error)),
        }
    }

    /// Asks the guest about one event. After an error the instance must not be used again.
    pub(super) async fn process(
        &mut self,
        envelope: &Envelope,
        attempt: u32,
        (overlay, reads): (Overlay, Reads),
    ) -> (Result<Verdict, CallError>, (Overlay, Reads)) {
        let limits = self.store.data().services.clone();
        let limits = &limits.limits;
        self.begin(Some(envelope.origin.id.clone()), limits.time);
        let state = self.store.data_mut();
        (state.overlay, state.reads) = (overlay, reads);
        let answer = {
            let (plugin, store) = (&self.plugin, &mut self.store);
            let call = pin!(bindings::process(plugin, store, envelope, attempt));
            bounded(call, limits.time, limits.host_time).await
        };
        let result = match answer {
            Ok(answer) => bindings::verdict(answer, limits),
            Err(error) => Err(fault(&self.store, &error, limits.time, limits.host_time)),
        };
        let state = self.store.data_mut();
        state.outgoing.end();
        let kept = (
            std::mem::take(&mut state.overlay),
            std::mem::take(&mut state.reads),
        );
        (result, kept)
    }

    /// Whether it can be asked about another event.
    pub(super) fn is_reusable(&self) -> bool {
        let state = self.store.data();
        let limit = state.services.limits.memory.as_u64();
        !state.outgoing.is_full(limit)
    }

    fn begin(&mut self, event: Option<EventId>, limit: Duration) {
        let state = self.store.data_mut();
        state.output.clear();
        state.memory.refused = false;
        state.call = Call::new(event);
        self.store.set_epoch_deadline(ticks(limit));
    }

    fn start_fault(&self, function: &'static str, error: &wasmtime::Error) -> PluginError {
        PluginError::Start {
            plugin: self.store.data().services.plugin.clone(),
            function,
            cause: fault(&self.store, error, START_TIME, START_TIME),
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

/// Bounds a call: guest time is what its polls take, and a guest that only computes ends its poll
/// with every tick. Waiting in host calls, and for a turn, is everything else.
async fn bounded<T>(
    mut call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    guest_time: Duration,
    host_time: Duration,
) -> wasmtime::Result<T> {
    let mut spent = Duration::ZERO;
    let mut call = std::future::poll_fn(|context| {
        let started = Instant::now();
        let polled = call.as_mut().poll(context);
        if polled.is_pending() {
            spent += started.elapsed();
            if spent >= guest_time {
                return Poll::Ready(Err(wasmtime::Error::new(Broken::Time)));
            }
        }
        polled
    });
    // Most calls end in their first poll: they need no timer.
    if let Poll::Ready(result) = futures::poll!(&mut call) {
        return result;
    }
    match tokio::time::timeout(guest_time + host_time, call).await {
        Ok(result) => result,
        Err(_) => Err(wasmtime::Error::new(Broken::Waiting)),
    }
}

/// Tells the guest's faults from the host's, and adds what the guest had written.
fn fault(
    store: &Store<HostState>,
    error: &wasmtime::Error,
    guest_time: Duration,
    host_time: Duration,
) -> CallError {
    let state = store.data();
    let limits = &state.services.limits;
    let output = state
        .services
        .secrets
        .redact(&state.output.take())
        .into_owned();
    let timeout = |what, limit, output| CallError::Timeout {
        what,
        limit,
        output,
    };
    match error.downcast_ref() {
        Some(Broken::Time) => return timeout("guest time", guest_time, output),
        Some(Broken::Waiting) => return timeout("waiting in host calls", host_time, output),
        Some(Broken::HostCalls(_)) | None => {}
    }
    let mut message = chain(error);
    if state.memory.refused {
        message = format!("memory limit of {} reached: {message}", limits.memory);
    }
    let is_trap = error.is::<wasmtime::Trap>()
        || error.is::<Broken>()
        || error.is::<wasmtime_wasi::I32Exit>()
        || error.is::<wasmtime::WasmBacktrace>();
    if is_trap {
        return CallError::Trap { message, output };
    }
    let is_hosts =
        error.is::<wasmtime::PoolConcurrencyLimitError>() || error.is::<std::io::Error>();
    if is_hosts {
        return CallError::Host(message);
    }
    // The guest had returned: what it returned cannot be taken over.
    let limit = limits.output;
    CallError::Answer(format!(
        "not readable within the limit `output` of {limit}: {message}"
    ))
}
