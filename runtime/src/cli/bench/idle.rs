//! The memory of a runtime at rest: the real binary, as a child, with the four plugins of
//! `plugins/`.

use super::super::failure::Failure;
use super::child;
use super::figures::rounded;
use super::place::Place;
use std::path::Path;
use std::time::Duration;
use tokio::process::Child;

/// What the runtime is configured with.
const CONFIG: &str = include_str!("idle.toml");
/// How long it is left alone before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// Mebibytes that are resident once the runtime has come to rest. The runtime is started twice:
/// the first may have to compile, which is no rest.
///
/// # Errors
/// When the runtime does not start.
pub(super) async fn resident_mb(place: &Place, plugins: &Path) -> anyhow::Result<f64> {
    let config = place.folder().join("idle.toml");
    std::fs::write(&config, CONFIG)?;
    drop(start(place, &config, plugins).await?);
    let child = start(place, &config, plugins).await?;
    tokio::time::sleep(REST).await;
    let id = child.id().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))
        .map_err(|error| Failure::new("cannot read the child's memory").because(error))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kibibytes| kibibytes.trim().parse::<f64>().ok())
        .ok_or_else(|| Failure::new("cannot read the child's memory"))?;
    Ok(rounded(resident / 1_024.0, 1))
}

/// The runtime, once it says that it is ready.
async fn start(place: &Place, config: &Path, plugins: &Path) -> anyhow::Result<Child> {
    let plugins = std::path::absolute(plugins)?;
    let variables = [("SYNCLINE_BENCH_PLUGINS", plugins.as_os_str())];
    let (child, _) = child::start(place, config, &variables, "\"ready\"").await?;
    Ok(child)
}
