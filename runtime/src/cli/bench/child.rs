//! A runtime as users run it: the real binary, as a child.

use super::super::failure::Failure;
use super::place::Place;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

/// How long the runtime may take to start.
const START: Duration = Duration::from_secs(120);

/// The runtime with this configuration, whose `${..}` are in `variables`, once it has logged a line with
/// `word`, and that line. It is killed when dropped.
///
/// # Errors
/// What it logged in place of that.
pub(super) async fn start(
    place: &Place,
    config: &Path,
    variables: &[(&str, &OsStr)],
    word: &str,
) -> anyhow::Result<(Child, String)> {
    let failure = || Failure::new(format!("cannot start a runtime with {}", config.display()));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("-c").arg(config);
    command.args(["--log", "info", "--log-format", "json"]);
    command
        .env("SYNCLINE_BENCH_NATS", &place.url)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failure().because(error))?;
    let Some(log) = child.stderr.take() else {
        return Err(failure().why("it has no log").into());
    };
    let mut log = BufReader::new(log);
    let line = tokio::time::timeout(START, until(&mut log, word)).await;
    let line = line.unwrap_or_else(|_| Err(format!("it took more than {START:?}")));
    let line = line.map_err(|said| failure().why(said))?;
    // Nothing reads the log from here on: little is written to it.
    child.stderr = Some(log.into_inner());
    Ok((child, line))
}

/// Reads the log up to the line with `word`; what was said in place of it otherwise.
async fn until(log: &mut BufReader<ChildStderr>, word: &str) -> Result<String, String> {
    let mut said = String::new();
    loop {
        let before = said.len();
        let read = log.read_line(&mut said).await;
        match read.map_err(|error| error.to_string())? {
            0 => return Err(said),
            _ => {
                let line = said.get(before..).unwrap_or_default();
                if line.contains(word) {
                    return Ok(line.to_owned());
                }
            }
        }
    }
}
