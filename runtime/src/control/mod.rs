//! What operators wish of pipelines, and which runtimes are at work with which of them.

mod status;
mod wishes;

pub use status::{ContractUse, PipelineState, PipelineStatus, RuntimeStatus, ask, report};
pub use wishes::Wishes;

/// The bucket that wishes lie in.
pub const BUCKET: &str = "SYNCLINE_CONTROL";

/// Why a wish cannot be kept or known, or nobody be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{attempted}: {cause}")]
pub struct ControlError {
    /// What was attempted.
    pub attempted: String,
    /// Why it failed.
    pub cause: String,
}

fn failed(attempted: impl Into<String>, cause: &dyn std::fmt::Display) -> ControlError {
    ControlError {
        attempted: attempted.into(),
        cause: cause.to_string(),
    }
}
