//! Who holds which lease, for those who only look.

use super::LeaseError;
use super::record::{Heartbeat, LEASES, LeaseRecord, Share};
use crate::txn::stream::{STREAM, TxStream};
use async_nats::jetstream;
use futures::TryStreamExt as _;
use std::time::Duration;
use time::OffsetDateTime;

/// The holder of a partition of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The pipeline.
    pub pipeline: String,
    /// Its partition, from 0.
    pub partition: u32,
    /// The runtime that took it last.
    pub owner: String,
    /// How often it was taken.
    pub epoch: u64,
    /// How old the last heartbeat is; none when it is so old that it is not kept any more.
    pub heartbeat: Option<Duration>,
    /// Whether the owner has given it up since.
    pub released: bool,
}

/// The holders of a pipeline's partitions, or of every pipeline's, by name and partition. Empty where
/// no runtime has ever taken a lease.
///
/// # Errors
/// When JetStream does not answer.
pub async fn holders(
    context: &jetstream::Context,
    pipeline: Option<&str>,
) -> Result<Vec<Holder>, LeaseError> {
    let failed = |cause: String| {
        let attempted = format!("cannot read the leases on the stream {STREAM}");
        LeaseError::new(attempted, &cause)
    };
    let Some(stream) = TxStream::find(context).await.map_err(failed)? else {
        return Ok(Vec::new());
    };
    let filter = format!("{LEASES}{}.*", pipeline.unwrap_or("*"));
    let subjects = stream.stream().info_with_subjects(filter).await;
    let subjects = subjects.map_err(|error| failed(error.to_string()))?;
    let subjects: Vec<_> = subjects
        .map_ok(|(subject, _)| subject)
        .try_collect()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut holders = Vec::new();
    for share in subjects
        .iter()
        .filter_map(|subject| Share::of_lease(subject))
    {
        holders.extend(holder(&stream, share).await.map_err(failed)?);
    }
    holders.sort_by(|a, b| (&a.pipeline, a.partition).cmp(&(&b.pipeline, b.partition)));
    Ok(holders)
}

async fn holder(stream: &TxStream, share: Share) -> Result<Option<Holder>, String> {
    let Some(record) = stream.last(&share.lease()).await? else {
        return Ok(None);
    };
    let record: LeaseRecord =
        serde_json::from_slice(&record.payload).map_err(|error| error.to_string())?;
    let mut holder = Holder {
        pipeline: share.pipeline.clone(),
        partition: share.partition,
        owner: record.owner,
        epoch: record.epoch,
        heartbeat: None,
        released: false,
    };
    if let Some(message) = stream.last(&share.heartbeats()).await? {
        let heartbeat: Heartbeat =
            serde_json::from_slice(&message.payload).map_err(|error| error.to_string())?;
        let age = OffsetDateTime::now_utc() - message.time;
        holder.heartbeat = Some(age.try_into().unwrap_or_default());
        holder.owner = heartbeat.owner;
        holder.epoch = heartbeat.epoch;
        holder.released = heartbeat.released;
    }
    Ok(Some(holder))
}
