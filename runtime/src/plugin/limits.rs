//! What one plugin may use: memory, time, output, host calls, log lines, metric series.

use serde::Deserialize;
use std::time::Duration;

/// The limits of one plugin. Every limit has a default; `docs/configuration.md` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of one instance; also of what one event reads through state and lookup.
    pub memory: bytesize::ByteSize,
    /// Guest time for one event, without waiting in host calls.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
    /// Waiting in host calls for one event.
    #[serde(with = "humantime_serde")]
    pub host_time: Duration,
    /// Host calls for one event.
    pub host_calls: u32,
    /// Effects and forwarded events in one answer.
    pub effects: u32,
    /// Bytes of one answer: payloads, headers, keys, reasons; also of the state that one event writes.
    pub output: bytesize::ByteSize,
    /// Bytes of log lines and of captured standard output and error, for one event.
    pub log: bytesize::ByteSize,
    /// Metric series that the plugin may make.
    pub metric_series: u32,
    /// Instances that may work at once, for each pipeline.
    pub instances: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: bytesize::ByteSize::mib(64),
            time: Duration::from_millis(250),
            host_time: Duration::from_secs(10),
            host_calls: 1_000,
            effects: 1_000,
            output: bytesize::ByteSize::mib(4),
            log: bytesize::ByteSize::kib(64),
            metric_series: 100,
            instances: 64,
        }
    }
}
