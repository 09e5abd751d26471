//! The one wasmtime engine: how components are compiled, where instances live, what interrupts them.

use super::error::PluginError;
use super::instance::HostState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{Cache, CacheConfig, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// How often a running guest is looked at. Guest time is limited to this precision.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The most memory that any plugin's `memory` limit may ask for: the size of a pool slot.
pub(crate) const LARGEST_MEMORY: usize = 1 << 32;

/// Settings of the engine.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Where compiled code is kept between runs; none: nowhere. Made private to the user.
    pub cache_dir: Option<PathBuf>,
}

/// Compiles components and runs their instances. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    linker: Arc<Linker<HostState>>,
    // Its drop ends the thread that ticks.
    _ticker: Arc<Sender<()>>,
}

impl Engine {
    /// An engine with a warm pool, interruption, and the compiled-code cache.
    ///
    /// # Errors
    /// When the cache directory is not private, or the machine lacks the address space for the pool.
    pub fn new(config: &EngineConfig) -> Result<Self, PluginError> {
        let mut settings = wasmtime::Config::new();
        settings
            .epoch_interruption(true)
            .cranelift_opt_level(OptLevel::Speed)
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        if let Some(directory) = &config.cache_dir {
            settings.cache(Some(cache_in(directory)?));
        }
        let inner = wasmtime::Engine::new(&settings)
            .map_err(|error| PluginError::host("cannot start the WebAssembly engine", &error))?;
        let linker = super::host::linker(&inner)
            .map_err(|error| PluginError::host("cannot link the host functions", &error))?;
        let ticker = spawn_ticker(inner.clone())?;
        Ok(Self {
            inner,
            linker: Arc::new(linker),
            _ticker: Arc::new(ticker),
        })
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }

    pub(super) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Address space, not memory: a slot costs what its instance touches.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(2_000)
        .total_core_instances(8_000)
        .total_memories(2_000)
        .total_tables(8_000)
        .total_stacks(2_000)
        .max_core_instances_per_component(64)
        .max_memories_per_component(8)
        .max_tables_per_component(64)
        .max_tables_per_module(16)
        .table_elements(100_000)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memory_size(LARGEST_MEMORY)
        .max_unused_warm_slots(16);
    pool
}

fn cache_in(directory: &Path) -> Result<Cache, PluginError> {
    make_private(directory)?;
    let mut config = CacheConfig::new();
    config.with_directory(directory);
    Cache::new(config).map_err(|error| {
        PluginError::host(
            &format!("cannot use the cache {}", directory.display()),
            &error,
        )
    })
}

/// Compiled code is run as it is found, so nobody else may write where it lies.
fn make_private(directory: &Path) -> Result<(), PluginError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let fault = |what: String| PluginError::Host {
        attempted: format!("cannot use the cache {}", directory.display()),
        cause: what,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| fault(error.to_string()))?;
    let found = std::fs::metadata(directory).map_err(|error| fault(error.to_string()))?;
    if found.mode() & 0o022 != 0 {
        return Err(fault("others may write to it: `chmod go-w` it".to_owned()));
    }
    Ok(())
}

/// A thread of its own, since a guest may hold every worker of the async runtime.
fn spawn_ticker(engine: wasmtime::Engine) -> Result<Sender<()>, PluginError> {
    let (alive, ended) = channel::<()>();
    std::thread::Builder::new()
        .name("syncline-epoch".to_owned())
        .spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        })
        .map_err(|error| PluginError::Host {
            attempted: "cannot start the thread that limits guest time".to_owned(),
            cause: error.to_string(),
        })?;
    Ok(alive)
}
