//! What this runtime says of itself when it is asked.

use super::adapters;
use crate::api::Uses;
use crate::control::{ContractUse, PipelineState, PipelineStatus, RuntimeStatus};
use crate::intake::{Gauge, Source};
use crate::pipeline;
use crate::plugin::Plugins;
use crate::shutdown::Shutdown;
use crate::telemetry::PipelineMetrics;
use std::sync::Arc;
use time::format_description::well_known::Rfc3339;

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
    pub(super) plugins: Arc<Plugins>,
    /// Who asks the API; none: it is not served.
    pub(super) uses: Option<Arc<Uses>>,
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
            contracts: self.contracts(),
        }
    }

    /// Who uses which version of which contract.
    fn contracts(&self) -> Vec<ContractUse> {
        let mut contracts = Vec::new();
        for ((target, version), users) in adapters::used_by_plugins(&self.plugins) {
            contracts.extend(users.into_iter().map(|by| ContractUse {
                target: target.clone(),
                version,
                by,
                n_requests: None,
                last: None,
            }));
        }
        let asked = self.uses.iter().flat_map(|uses| uses.all());
        contracts.extend(asked.map(|(target, version, bearer, used)| ContractUse {
            target,
            version,
            by: format!("token {bearer}"),
            n_requests: Some(used.n_requests),
            last: used.last.format(&Rfc3339).ok(),
        }));
        contracts
    }
}
