//! What one plugin may use: memory, time, output, host calls, log lines, metric series.

use crate::outbound;
use serde::Deserialize;
use std::time::Duration;

/// The limits of one plugin. Every limit has a default; `docs/configuration.md` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of one instance; also of what one event reads through state, lookup and HTTP.
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
    /// The time of one HTTP request, to the end of its answer.
    #[serde(with = "humantime_serde")]
    pub http_time: Duration,
    /// Bytes of the body of one HTTP request.
    pub http_request: bytesize::ByteSize,
    /// Bytes of the body of one HTTP answer.
    pub http_response: bytesize::ByteSize,
    /// HTTP requests on their way at once, for each pipeline.
    pub http_connections: u32,
}

impl Limits {
    /// Those of HTTP requests.
    pub(super) fn outbound(&self) -> outbound::Limits {
        outbound::Limits {
            time: self.http_time,
            request: self.http_request.as_u64(),
            response: self.http_response.as_u64(),
            connections: self.http_connections,
        }
    }
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
            http_time: Duration::from_secs(5),
            http_request: bytesize::ByteSize::mib(1),
            http_response: bytesize::ByteSize::mib(4),
            http_connections: 8,
        }
    }
}
