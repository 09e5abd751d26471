//! The real program, for what only a process can show: SIGKILL, SIGTERM, its log lines.

use super::nats::signal;
use super::{TestEnv, eventually, guests};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `syncline`, as it was built beside this test.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // target/PROFILE/deps/system-HASH
    let built = own
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("syncline");
    assert!(
        built.is_file(),
        "{} is missing: cargo build --workspace",
        built.display()
    );
    built
}

/// `syncline run` as a child. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts it and waits until it takes events.
    pub(crate) async fn run(config: &Path) -> Self {
        let mut process = Self::launch(config, "");
        let ready = process.is_ready().await;
        assert!(ready, "syncline ended\n{}", process.log());
        process
    }

    /// Waits until it takes events; false when it ended instead.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.says(" ready ").await
    }

    /// Waits until it holds a lease, and does not stand by; false when it ended instead.
    pub(crate) async fn is_active(&mut self) -> bool {
        self.says("this runtime is the active one").await
    }

    async fn says(&mut self, what: &str) -> bool {
        let mut ended = false;
        eventually(&format!("syncline says {what}"), async || {
            ended = self.has_ended();
            ended || self.log().lines().any(|line| line.contains(what))
        })
        .await;
        !ended
    }

    /// Starts it with these faults armed.
    pub(crate) fn launch(config: &Path, faults: &str) -> Self {
        let (log, out) = (config.with_extension("log"), config.with_extension("out"));
        let child = Command::new(binary())
            .args(["run", "--json", "--config"])
            .arg(config)
            .envs(guests::all())
            .env("SYNCLINE_CACHE", &*TestEnv::cache())
            .env("NO_COLOR", "1")
            .env("SYNCLINE_FAULTS", faults)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, out }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Whether it is gone by now.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Stops it from running, its connections open: SIGSTOP.
    pub(crate) fn pause(&self) {
        signal(self.child.id(), "STOP");
    }

    /// Lets it run again: SIGCONT.
    pub(crate) fn resume(&self) {
        signal(self.child.id(), "CONT");
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn resident_memory(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1_024
    }

    /// Ends it as a crash would: SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to drain: SIGTERM.
    pub(crate) fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for its end and gives the summary that it printed.
    pub(crate) async fn ended(self) -> Value {
        let (code, summary, log) = self.ended_somehow().await;
        assert_eq!(code, Some(0), "{summary:#}\n{log}");
        summary
    }

    /// Waits for its end, whatever it is, and gives its exit code, the summary, and what it logged.
    pub(crate) async fn ended_somehow(mut self) -> (Option<i32>, Value, String) {
        let mut status = None;
        eventually("syncline ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let (log, out) = (self.log(), std::fs::read_to_string(&self.out).unwrap());
        let summary = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{log}"));
        (status.unwrap().code(), summary, log)
    }

    /// SIGTERM, and the summary.
    pub(crate) async fn drain(self) -> Value {
        self.terminate();
        self.ended().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
