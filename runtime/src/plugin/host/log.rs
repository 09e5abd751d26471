//! `log`: structured lines, with plugin, pipeline and event added, secrets taken out.

use crate::plugin::bindings::log::{Host, Level};
use crate::plugin::instance::HostState;
use tracing::{Level as Tracing, debug, enabled, error, info, trace, warn};

impl Host for HostState {
    fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let size = fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        if !self.may_log(message.len() + size) {
            return Ok(());
        }
        let secrets = &self.services.secrets;
        let message = secrets.redact(&message);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", secrets.redact(value)))
            .collect();
        let (plugin, pipeline) = (&self.services.plugin, &self.services.pipeline);
        let (event, fields) = (self.event_id(), fields.join(" "));
        macro_rules! line {
            ($at:ident) => {
                $at!(target: "plugin", %plugin, %pipeline, %event, %fields, "{message}")
            };
        }
        match level {
            Level::Trace => line!(trace),
            Level::Debug => line!(debug),
            Level::Info => line!(info),
            Level::Warn => line!(warn),
            Level::Error => line!(error),
        }
        Ok(())
    }

    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(match level {
            Level::Trace => enabled!(target: "plugin", Tracing::TRACE),
            Level::Debug => enabled!(target: "plugin", Tracing::DEBUG),
            Level::Info => enabled!(target: "plugin", Tracing::INFO),
            Level::Warn => enabled!(target: "plugin", Tracing::WARN),
            Level::Error => enabled!(target: "plugin", Tracing::ERROR),
        })
    }
}
