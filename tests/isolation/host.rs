//! What the host itself keeps while guests misbehave: its log, its memory.

use crate::cli::command;
use crate::harness::guests;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::span;

/// Counts the log lines of plugins.
#[derive(Clone, Default)]
pub(super) struct PluginLines(Arc<AtomicU64>);

impl PluginLines {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl tracing::Subscriber for PluginLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "plugin"
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// In a process of its own, so that nobody else's memory is counted.
#[test]
fn two_hundred_hostile_events_leave_the_host_small() {
    const MISDEEDS: [&str; 10] = [
        "overlap-payload 500 8388608",
        "overlap-headers 500 4194304",
        "overlap-event-attributes 100 1048576",
        "overlap-drop 1 4194000",
        "state-puts 900 4000000",
        "state-reads 900 4000000",
        "leak-pollables 20000",
        "long-label 5 2000000",
        "wild-reason",
        "random 60000000",
    ];
    const ROUNDS: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let hostile = guests::file(super::HOSTILE);
    let mut command = command::command(dir.path(), ["call", hostile.to_str().unwrap()]);
    command.env("SYNCLINE_CACHE", dir.path().join("cache"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = command.spawn().unwrap();
    let mut events = host.stdin.take().unwrap();
    let mut answers = BufReader::new(host.stdout.take().unwrap()).lines();
    for round in 0..ROUNDS {
        for misdeed in MISDEEDS {
            let data = base64(misdeed);
            writeln!(
                events,
                r#"{{"specversion":"1.0","id":"{round}","source":"/t","type":"t","data_base64":"{data}"}}"#
            )
            .unwrap();
            let answer = answers.next().expect("every event has an answer").unwrap();
            assert!(answer.contains("verdict"), "{misdeed}: {answer}");
        }
    }
    // It still lives, so that this is the most it ever had.
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(events);
    assert!(host.wait().unwrap().success());
    assert!(peak < 1 << 20, "the host grew to {} MiB", peak >> 10);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
