//! The memory of a runtime at rest: the real binary, as a child, with the four plugins of
//! `plugins/`.

use super::super::failure::Failure;
use super::figures::rounded;
use super::place::Place;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What the runtime is configured with.
const CONFIG: &str = include_str!("idle.toml");
/// How long the runtime may take to start.
const START: Duration = Duration::from_secs(120);
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

/// The runtime, once it says that it is ready; killed when dropped.
async fn start(place: &Place, config: &Path, plugins: &Path) -> anyhow::Result<Child> {
    let failure = || Failure::new("cannot measure a runtime at rest");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("-c").arg(config);
    command.args(["--log", "info", "--log-format", "json"]);
    command
        .env("SYNCLINE_BENCH_NATS", &place.url)
        .env("SYNCLINE_BENCH_PLUGINS", std::path::absolute(plugins)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failure().because(error))?;
    let Some(log) = child.stderr.take() else {
        return Err(failure().why("it has no log").into());
    };
    let mut log = BufReader::new(log);
    let ready = tokio::time::timeout(START, until_ready(&mut log)).await;
    if let Err(said) = ready.unwrap_or_else(|_| Err(format!("it took more than {START:?}"))) {
        return Err(failure().why(said).into());
    }
    // Nothing reads the log from here on: there is no event, so little is written.
    child.stderr = Some(log.into_inner());
    Ok(child)
}

/// Reads the log up to the word; what was said in place of it otherwise.
async fn until_ready(log: &mut BufReader<tokio::process::ChildStderr>) -> Result<(), String> {
    let mut said = String::new();
    loop {
        let before = said.len();
        match log.read_line(&mut said).await {
            Ok(0) => return Err(said),
            Ok(_)
                if said
                    .get(before..)
                    .is_some_and(|line| line.contains("\"ready\"")) =>
            {
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
