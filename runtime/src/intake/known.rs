//! The consumers that pipelines have left on the server, whether anybody runs them or not.

use super::IntakeError;
use super::fit::DESCRIPTION;
use async_nats::jetstream::Context;
use futures::TryStreamExt as _;

/// A pipeline's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The pipeline.
    pub pipeline: String,
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// Messages that were not sent yet.
    pub n_pending: u64,
    /// Messages that were sent and not acknowledged.
    pub n_ack_pending: usize,
}

/// Every pipeline's consumers, as they describe themselves.
///
/// # Errors
/// When the server does not say.
pub async fn known(context: &Context) -> Result<Vec<Known>, IntakeError> {
    let unreachable = |error: &dyn std::fmt::Display| IntakeError::Unreachable {
        pipeline: "every".to_owned(),
        attempted: "cannot list the consumers of all streams".to_owned(),
        cause: error.to_string(),
    };
    let mut found = Vec::new();
    let mut streams = context.streams();
    while let Some(stream) = streams
        .try_next()
        .await
        .map_err(|error| unreachable(&error))?
    {
        if stream.state.consumer_count == 0 {
            continue;
        }
        let name = stream.config.name;
        let stream = context.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| unreachable(&error))?;
        let mut consumers = stream.consumers();
        while let Some(consumer) = consumers
            .try_next()
            .await
            .map_err(|error| unreachable(&error))?
        {
            let description = consumer.config.description.unwrap_or_default();
            let Some(pipeline) = description.strip_prefix(DESCRIPTION) else {
                continue;
            };
            found.push(Known {
                pipeline: pipeline.to_owned(),
                stream: name.clone(),
                consumer: consumer.name,
                n_pending: consumer.num_pending,
                n_ack_pending: consumer.num_ack_pending,
            });
        }
    }
    found.sort_by(|a, b| (&a.pipeline, &a.stream).cmp(&(&b.pipeline, &b.stream)));
    Ok(found)
}
