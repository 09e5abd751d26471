//! Plugin state on the stream of decisions, where it is written together with them.

use super::markers::MarkerError;
use super::stream::{STREAM, TxStream};
use crate::plugin::{Cabinet, State};
use crate::provision::Provision;
use async_nats::jetstream;
use std::sync::Arc;

/// What stands before a key.
const PREFIX: &str = "tx.state.";

/// Sees to it that the stream of decisions is there.
///
/// # Errors
/// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
pub async fn provide(
    context: &jetstream::Context,
    provision: &Provision,
) -> Result<(), MarkerError> {
    let opened = TxStream::open(context, provision).await.map(drop);
    opened.map_err(|cause| MarkerError::new(format!("cannot open the stream {STREAM}"), &cause))
}

/// Opens it, making the stream when it is missing.
///
/// # Errors
/// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
pub async fn plugin_state(
    context: &jetstream::Context,
    provision: &Provision,
) -> Result<State, MarkerError> {
    let attempted = || format!("cannot open the stream {STREAM} for plugin state");
    let failed = |cause: String| MarkerError::new(attempted(), &cause);
    let stream = TxStream::open(context, provision).await.map_err(failed)?;
    stream.allow_rollups().await.map_err(failed)?;
    Ok(State::Stream(Arc::new(Cabinet {
        context: context.clone(),
        stream: stream.stream().clone(),
        prefix: PREFIX.to_owned(),
        written: PREFIX.to_owned(),
        rolls_up: true,
    })))
}
