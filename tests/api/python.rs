//! Clients in Python, in the environment that `make setup` makes.

use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

/// A program of that environment.
pub(super) fn program(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let target = target.unwrap_or_else(|| own.to_owned());
    let program = target.join("tools/venv/bin").join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `make setup`",
        program.display()
    );
    program
}

/// Runs it to its end, which has to be a good one.
pub(super) async fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.kill_on_drop(true).output().await.unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{text}\n{errors}");
    text
}
