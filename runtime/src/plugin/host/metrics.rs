//! `metrics`: a plugin's own counters and observations, with a limit on series.

use crate::plugin::bindings::metrics::Host;
use crate::plugin::instance::HostState;

impl Host for HostState {
    fn count(
        &mut self,
        name: String,
        delta: u32,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let services = &self.services;
        let series = services.series(&name, &labels);
        services
            .metrics
            .plugins
            .count(series, u64::from(delta), services.limits.metric_series);
        Ok(())
    }

    fn observe(
        &mut self,
        name: String,
        value: f64,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let services = &self.services;
        let series = services.series(&name, &labels);
        services
            .metrics
            .plugins
            .observe(series, value, services.limits.metric_series);
        Ok(())
    }
}

impl super::Services {
    fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(String, String)],
    ) -> crate::telemetry::Series<'a> {
        crate::telemetry::Series {
            plugin: &self.plugin,
            pipeline: &self.pipeline,
            name,
            labels,
        }
    }
}
