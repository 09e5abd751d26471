//! A component file: read, identified, checked, compiled, described.

use super::engine::Engine;
use super::error::PluginError;
use super::host::Services;
use super::instance::Instance;
use super::manifest::Manifest;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The exported interface that makes a component a plugin; its version follows an `@`.
const HANDLER: &str = "syncline:plugin/handler";
/// The version of the contract that this host serves. Later 0.1 versions are served as well.
const VERSION: &str = "0.1";

/// A plugin's component, compiled and described. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    inner: Arc<Compiled>,
}

struct Compiled {
    path: PathBuf,
    digest: String,
    size: usize,
    imports: Vec<String>,
    world_version: String,
    manifest: Manifest,
    pre: super::bindings::PluginPre<super::instance::HostState>,
}

impl Component {
    /// Reads, checks and compiles the file, and asks it what it is.
    ///
    /// # Errors
    /// [`PluginError`] naming the file, what is wrong with it, and what to do.
    pub async fn load(engine: &Engine, path: &Path) -> Result<Self, PluginError> {
        let bytes = tokio::fs::read(path)
            .await
            .map_err(|error| PluginError::Unreadable {
                path: path.to_owned(),
                cause: error.to_string(),
            })?;
        Self::from_bytes(engine, path, bytes).await
    }

    /// Like [`Component::load`], of bytes that were read from `path`.
    ///
    /// # Errors
    /// As for [`Component::load`].
    pub async fn from_bytes(
        engine: &Engine,
        path: &Path,
        bytes: Vec<u8>,
    ) -> Result<Self, PluginError> {
        let unloadable = |fault: String| PluginError::Unloadable {
            path: path.to_owned(),
            fault,
        };
        check_magic(&bytes).map_err(unloadable)?;
        let (digest, size) = (digest_of(&bytes), bytes.len());
        let compiler = engine.clone();
        // Seconds of work for an interpreted language: not on a worker of the async runtime.
        let component = tokio::task::spawn_blocking(move || {
            wasmtime::component::Component::new(compiler.wasmtime(), &bytes)
        })
        .await
        .map_err(|error| unloadable(format!("compiling it failed: {error}")))?
        .map_err(|error| {
            unloadable(format!(
                "it is damaged or uses an unknown feature: {}",
                chain(&error)
            ))
        })?;
        let (imports, world_version) = check_world(engine, &component).map_err(unloadable)?;
        let pre = engine
            .linker()
            .instantiate_pre(&component)
            .and_then(super::bindings::PluginPre::new)
            .map_err(|error| {
                unloadable(format!("it does not fit the contract: {}", chain(&error)))
            })?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let services = Arc::new(Services::for_describe(&name));
        let mut instance = Instance::start(engine, &pre, services).await?;
        let manifest = instance.describe().await?;
        let compiled = Compiled {
            path: path.to_owned(),
            digest,
            size,
            imports,
            world_version,
            manifest,
            pre,
        };
        Ok(Self {
            inner: Arc::new(compiled),
        })
    }

    /// The file it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// SHA-256 of the file, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// Every interface it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// Whether it is of the world `plugin-http`: it can send HTTP requests.
    #[must_use]
    pub fn sends_requests(&self) -> bool {
        let imports = &mut self.inner.imports.iter();
        imports.any(|name| name.starts_with("wasi:http/outgoing-handler"))
    }

    /// The version of the contract it was built against.
    #[must_use]
    pub fn world_version(&self) -> &str {
        &self.inner.world_version
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    pub(super) fn pre(&self) -> &super::bindings::PluginPre<super::instance::HostState> {
        &self.inner.pre
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a component, hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The first eight bytes tell a component from a core module and from anything else.
fn check_magic(bytes: &[u8]) -> Result<(), String> {
    let advice = "build it for wasm32-wasip2, or run `syncline build`";
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(b"\0asm"), Some([1, 0, 0, 0])) => Err(format!(
            "it is a core WebAssembly module, not a component: {advice}"
        )),
        (Some(b"\0asm"), Some([_, 0, 1, 0])) => Ok(()),
        (Some(b"\0asm"), _) => Err("it is cut short: copy or build it again".to_owned()),
        _ if bytes.is_empty() => Err("it is empty: copy or build it again".to_owned()),
        _ => Err(format!("it is not WebAssembly: {advice}")),
    }
}

/// A foreign import or a missing export refuses the load by name.
fn check_world(
    engine: &Engine,
    component: &wasmtime::component::Component,
) -> Result<(Vec<String>, String), String> {
    let kind = component.component_type();
    let engine = engine.wasmtime();
    let imports: Vec<String> = kind
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    for import in &imports {
        check_import(import)?;
    }
    let exports: Vec<String> = kind
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let handler = exports.iter().find_map(|name| name.strip_prefix(HANDLER));
    match handler.map(|rest| rest.trim_start_matches('@')) {
        Some(version) if is_served(version) => Ok((imports, version.to_owned())),
        Some(version) => Err(format!(
            "it was built against version {version} of the contract and this host serves \
             {VERSION}.x: build it against `syncline:plugin@{VERSION}.0`"
        )),
        None => Err(format!(
            "it is a component of another world: it does not export `{HANDLER}` but {}",
            listed(&exports)
        )),
    }
}

fn check_import(import: &str) -> Result<(), String> {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(interface) = name.strip_prefix("syncline:plugin/") {
        let known = ["log", "state", "lookup", "secrets", "metrics", "types"];
        if known.contains(&interface) && is_served(version) {
            return Ok(());
        }
        return Err(format!(
            "it imports `{import}`, which this host does not serve: it knows {} of {VERSION}.x",
            known.join(", ")
        ));
    }
    let served = [
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:filesystem/",
        "wasi:http/outgoing-handler",
        "wasi:http/types",
        "wasi:io/",
        "wasi:random/",
        "wasi:sockets/",
    ];
    if served.iter().any(|prefix| name.starts_with(prefix)) && version.starts_with("0.2.") {
        return Ok(());
    }
    Err(format!(
        "it imports `{import}`, which is neither Syncline's nor WASI 0.2's: no grant gives that, \
         build it without"
    ))
}

fn is_served(version: &str) -> bool {
    version
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        _ => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

use super::error::chain;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_apart() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "empty"),
            (b"hello, world", "not WebAssembly"),
            (b"\0asm\x01\0\0\0", "core WebAssembly module"),
            (b"\0asm\x0d", "cut short"),
            (b"\0asm", "cut short"),
        ];
        for (bytes, expected) in cases {
            let fault = check_magic(bytes).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
        assert_eq!(check_magic(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn a_foreign_import_is_refused_by_name() {
        for good in [
            "syncline:plugin/log@0.1.0",
            "syncline:plugin/state@0.1.3",
            "wasi:io/poll@0.2.6",
            "wasi:http/types@0.2.0",
            "wasi:http/outgoing-handler@0.2.12",
        ] {
            assert_eq!(check_import(good), Ok(()), "{good}");
        }
        for bad in [
            "syncline:plugin/log@0.2.0",
            "syncline:plugin/teleport@0.1.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:http/types@0.3.0",
            "wasi:io/poll@0.3.0",
            "acme:database/query@1.0.0",
        ] {
            assert!(check_import(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
