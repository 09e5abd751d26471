//! How the plans of a pipeline are applied.

use crate::pipeline::{Config, Guarantee};
use crate::txn::{Ledger, MarkerError, Markers, Way};
use async_nats::jetstream;
use std::time::Duration;

/// How long a decision is kept where `dedupe` does not say.
const HORIZON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The way that the pipeline's guarantee asks for.
///
/// # Errors
/// When the stream of decisions cannot be opened.
pub(super) async fn of(context: &jetstream::Context, config: &Config) -> Result<Way, MarkerError> {
    let (name, provision) = (&config.name, &config.intake.provision);
    match (config.guarantee, config.dedupe) {
        (Guarantee::Atomic, horizon) => {
            let horizon = horizon.unwrap_or(HORIZON);
            let ledger = Ledger::open(context, name, horizon, provision).await?;
            Ok(Way::Atomic(ledger))
        }
        (Guarantee::AtLeastOnce, Some(horizon)) => {
            let markers = Markers::open(context, name, horizon, provision).await?;
            Ok(Way::AtLeastOnce(Some(markers)))
        }
        (Guarantee::AtLeastOnce, None) => Ok(Way::AtLeastOnce(None)),
    }
}
