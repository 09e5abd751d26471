//! The stream in which a pipeline's events lie partition by partition: the server feeds it from the
//! source, or one of the runtimes does.

use super::IntakeError;
use super::config::{Config, Source};
use super::consumer::{missing, open_stream, unreachable};
use super::partitions::{Partition, PartitionBy, Partitions, Transform};
use crate::provision::Create;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{self, RetentionPolicy, SubjectTransform};
use std::collections::HashMap;
use time::OffsetDateTime;
use tracing::info;

/// What is kept with the stream, so that a later start is held to it.
const SHARED_BY: &str = "syncline-shared-by";
const SOURCE_CREATED: &str = "syncline-source-created";
/// What the subjects of partitions begin with that the server does not fill.
const SUBJECTS: &str = "syncline.partitions.";

/// The stream of a pipeline's partitions.
pub(super) fn stream_of(pipeline: &str) -> String {
    format!("SYNCLINE_PARTITIONS_{pipeline}")
}

/// Where the events of a partition are written to, where the server does not put them there.
pub(super) fn subject_of(pipeline: &str, number: u32) -> String {
    format!("{SUBJECTS}{pipeline}.{number}")
}

/// Where it is kept up to where the events of the source were written to their partitions.
pub(super) fn progress_of(pipeline: &str) -> String {
    format!("{SUBJECTS}{pipeline}.progress")
}

/// The settings of one share's intake: a partition's, or those of whoever fills the partitions.
pub(super) fn of_share(config: &Config, number: u32) -> Config {
    let (
        Some(partitions),
        Source::JetStream {
            stream,
            subjects,
            durable,
            create,
        },
    ) = (&config.partitions, &config.source)
    else {
        return config.clone();
    };
    if number >= partitions.count {
        return config.clone();
    }
    let own = format!("{durable}@{number}");
    let has_own_stream = !matches!(partitions.by, PartitionBy::Token(_));
    let subjects: Vec<String> = match partitions.by {
        PartitionBy::Hash(_) => vec![format!("{number}.>")],
        PartitionBy::Key => vec![subject_of(&config.pipeline, number)],
        PartitionBy::Token(_) => subjects
            .iter()
            .flat_map(|pattern| partitions.subjects_of(pattern, number))
            .collect(),
    };
    let n_partitions = usize::try_from(partitions.count).unwrap_or(usize::MAX);
    Config {
        source: Source::JetStream {
            stream: match has_own_stream {
                true => stream_of(&config.pipeline),
                false => stream.clone(),
            },
            subjects: subjects
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            // What the whole pipeline needs was made before.
            create: match create {
                Create::Adopt if !has_own_stream => Create::Adopt,
                _ => Create::Check,
            },
            durable: own,
        },
        max_events: config.max_events.div_ceil(n_partitions),
        partition: Some(Partition {
            number,
            of: partitions.clone(),
            origin: has_own_stream.then(|| stream.clone()),
            whole: (!has_own_stream).then(|| durable.clone()),
        }),
        ..config.clone()
    }
}

/// Makes the stream of a pipeline's partitions, or finds that it is as the configuration says.
pub(super) async fn share_out(context: &Context, config: &Config) -> Result<(), IntakeError> {
    let Some(partitions) = &config.partitions else {
        return Ok(());
    };
    let source = open_stream(context, config).await?;
    if matches!(partitions.by, PartitionBy::Token(_)) {
        return Ok(());
    }
    let wanted = wanted(config, partitions, &source).await?;
    let name = wanted.name.clone();
    let is_new = context.get_stream(&name).await.is_err();
    if is_new {
        info!(pipeline = %config.pipeline, stream = %name, partitions = partitions.count,
            "making the stream of the partitions");
    }
    let shared_by = wanted.metadata.get(SHARED_BY).cloned();
    let found = context.get_or_create_stream(wanted).await;
    let found = found
        .map_err(|error| unreachable(config, format!("cannot make stream `{name}`"), &error))?;
    let by = found.cached_info().config.metadata.get(SHARED_BY).cloned();
    if by == shared_by {
        return Ok(());
    }
    Err(missing(
        config,
        format!(
            "stream `{name}` shares the events out by `{}`, and the configuration says `{}`: set it \
             back, or follow \"Another number of partitions\" in docs/guarantees.md",
            by.unwrap_or_default(),
            shared_by.unwrap_or_default()
        ),
    ))
}

async fn wanted(
    config: &Config,
    partitions: &Partitions,
    source: &stream::Stream,
) -> Result<stream::Config, IntakeError> {
    let held = source.cached_info();
    let common = stream::Config {
        name: stream_of(&config.pipeline),
        description: Some(format!(
            "Partitions of Syncline pipeline {}",
            config.pipeline
        )),
        // What is done is gone; no message id of the source makes it drop a message.
        retention: RetentionPolicy::WorkQueue,
        storage: held.config.storage,
        num_replicas: held.config.num_replicas,
        ..Default::default()
    };
    let (shared_by, filled) = match partitions.by {
        PartitionBy::Key => (
            format!("the key {} into {}", config.key, partitions.count),
            filled_by_us(config, common),
        ),
        _ => filled_by_server(config, partitions, source, common).await?,
    };
    let created = nanoseconds(held.created).to_string();
    let metadata = [(SHARED_BY, shared_by), (SOURCE_CREATED, created)];
    Ok(stream::Config {
        metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value))),
        ..filled
    })
}

/// With subjects of its own, which are written to together with how far that came.
fn filled_by_us(config: &Config, common: stream::Config) -> stream::Config {
    stream::Config {
        subjects: vec![format!("{SUBJECTS}{}.*", config.pipeline)],
        allow_atomic_publish: true,
        allow_rollup: true,
        ..common
    }
}

/// What the server puts there, and by what.
async fn filled_by_server(
    config: &Config,
    partitions: &Partitions,
    source: &stream::Stream,
    common: stream::Config,
) -> Result<(String, stream::Config), IntakeError> {
    let Source::JetStream {
        subjects, durable, ..
    } = &config.source
    else {
        return Err(missing(config, "its source is no stream".to_owned()));
    };
    let mut transforms: Vec<Transform> = Vec::new();
    for pattern in subjects {
        transforms.extend(partitions.transforms(pattern).ok_or_else(|| {
            let why = format!("every subject of `{}` has the same key", pattern.as_str());
            missing(config, why)
        })?);
    }
    // A pipeline that was not shared out before goes on where it was.
    let start = match source.consumer_info(durable).await {
        Ok(whole) => Some(whole.ack_floor.stream_sequence + 1),
        Err(_) => None,
    };
    let shared_by = transforms.iter().map(|t| format!("{} -> {}", t.from, t.to));
    let shared_by = shared_by.collect::<Vec<_>>().join(", ");
    let filled = stream::Config {
        sources: Some(vec![stream::Source {
            name: source.cached_info().config.name.clone(),
            start_sequence: start,
            subject_transforms: transforms
                .into_iter()
                .map(|transform| SubjectTransform {
                    source: transform.from,
                    destination: transform.to,
                })
                .collect(),
            ..Default::default()
        }]),
        ..common
    };
    Ok((shared_by, filled))
}

/// When something was made, in nanoseconds since 1970.
pub(super) fn nanoseconds(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos()).unwrap_or_default()
}

/// When the source was made that was there when the partitions' stream was.
pub(super) fn source_created(found: &stream::Config) -> Option<u64> {
    found.metadata.get(SOURCE_CREATED)?.parse().ok()
}
