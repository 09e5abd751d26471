//! What this runtime says of itself when it is asked.

use crate::control::{PipelineState, PipelineStatus, RuntimeStatus};
use crate::intake::{Gauge, Source};
use crate::pipeline;
use crate::shutdown::Shutdown;
use crate::telemetry::PipelineMetrics;
use std::sync::Arc;

/// A pipeline, and where its state is read.
pub(super) struct Reported {
    name: String,
    stream: Option<String>,
    subject: Option<String>,
    gauge: Gauge,
    metrics: Arc<PipelineMetrics>,
    shutdown: Shutdown,
}

/// The pipelines of this runtime.
pub(super) struct Reporter {
    /// What no other runtime has.
    pub(super) runtime: String,
    /// The name of its connection.
    pub(super) name: String,
    pub(super) pipelines: Vec<Reported>,
}

impl Reported {
    pub(super) fn new(
        config: &pipeline::Config,
        gauge: Gauge,
        metrics: Arc<PipelineMetrics>,
        shutdown: Shutdown,
    ) -> Self {
        let (stream, subject) = match &config.intake.source {
            Source::JetStream { stream, .. } => (Some(stream.clone()), None),
            Source::Core { subject, .. } => (None, Some(subject.as_str().to_owned())),
        };
        Self {
            name: config.name.clone(),
            stream,
            subject,
            gauge,
            metrics,
            shutdown,
        }
    }

    fn state(&self) -> PipelineState {
        let pause = self.gauge.pause();
        if self.metrics.stopped.get() > 0 {
            PipelineState::Stopped
        } else if self.shutdown.has_begun() {
            PipelineState::Draining
        } else if !pause.is_wished() {
            PipelineState::Running
        } else if pause.holds() && self.gauge.in_flight() == 0 {
            PipelineState::Paused
        } else {
            PipelineState::Pausing
        }
    }

    fn status(&self) -> PipelineStatus {
        PipelineStatus {
            pipeline: self.name.clone(),
            state: self.state(),
            stream: self.stream.clone(),
            subject: self.subject.clone(),
            in_flight: self.gauge.in_flight(),
        }
    }
}

impl Reporter {
    pub(super) fn status(&self) -> RuntimeStatus {
        RuntimeStatus {
            runtime: self.runtime.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pipelines: self.pipelines.iter().map(Reported::status).collect(),
        }
    }
}
