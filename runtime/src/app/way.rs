//! How the plans of a pipeline are applied, and where attempts are kept.

use crate::pipeline::{Config, Guarantee};
use crate::target::Targets;
use crate::txn::{Attempts, Ledger, MarkerError, Markers, Way};
use async_nats::jetstream;
use std::sync::Arc;
use std::time::Duration;

/// How long a decision is kept where `dedupe` does not say.
pub(super) const HORIZON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The way that the pipeline's guarantee asks for.
///
/// # Errors
/// When the stream of decisions cannot be opened.
pub(super) async fn of(
    context: &jetstream::Context,
    targets: &Arc<Targets>,
    config: &Config,
) -> Result<Way, MarkerError> {
    let (name, provision) = (&config.name, &config.intake.provision);
    match (config.guarantee, config.dedupe) {
        (Guarantee::Atomic, horizon) => {
            let horizon = horizon.unwrap_or(HORIZON);
            let place = (context, provision);
            let ledger = Ledger::open(place, name, horizon, targets.clone()).await?;
            Ok(Way::Atomic(ledger))
        }
        (Guarantee::AtLeastOnce, Some(horizon)) => {
            let markers = Markers::open(context, name, horizon, provision).await?;
            Ok(Way::AtLeastOnce(Some(markers)))
        }
        (Guarantee::AtLeastOnce, None) => Ok(Way::AtLeastOnce(None)),
    }
}

/// Where what was tried at an event is kept for whoever takes over; none: nobody does.
///
/// # Errors
/// When the stream cannot be opened.
pub(super) async fn attempts(
    context: &jetstream::Context,
    config: &Config,
) -> Result<Option<Attempts>, MarkerError> {
    // What core NATS has sent nobody else will meet.
    if !config.intake.source.is_stream() {
        return Ok(None);
    }
    let attempts = Attempts::open(context, &config.name, &config.intake.provision).await?;
    Ok(Some(attempts))
}
