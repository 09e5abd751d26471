//! The stream in which a pipeline's events lie partition by partition, fed by the server from the
//! source, and where each of its messages came from.

use super::IntakeError;
use super::config::{Config, Source};
use super::consumer::{missing, open_stream, unreachable};
use super::decode::{self, Stream};
use super::partitions::{Partition, PartitionBy, Partitions, Transform};
use crate::event::Original;
use crate::provision::Create;
use async_nats::Message;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{self, RetentionPolicy, SubjectTransform};
use std::collections::HashMap;
use time::OffsetDateTime;
use tracing::info;

/// The header in which the server says where it has a message from.
const NATS_STREAM_SOURCE: &str = "Nats-Stream-Source";
/// What is kept with the stream, so that a later start is held to it.
const SHARED_BY: &str = "syncline-shared-by";
const SOURCE_CREATED: &str = "syncline-source-created";

/// The stream of a pipeline's partitions.
pub(super) fn stream_of(pipeline: &str) -> String {
    format!("SYNCLINE_PARTITIONS_{pipeline}")
}

/// The settings of one partition's intake.
pub(super) fn of_partition(config: &Config, number: u32) -> Config {
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
    let own = format!("{durable}@{number}");
    let is_hashed = matches!(partitions.by, PartitionBy::Hash(_));
    let subjects: Vec<String> = match is_hashed {
        true => vec![format!("{number}.>")],
        false => subjects
            .iter()
            .flat_map(|pattern| partitions.subjects_of(pattern, number))
            .collect(),
    };
    let n_partitions = usize::try_from(partitions.count).unwrap_or(usize::MAX);
    Config {
        source: Source::JetStream {
            stream: match is_hashed {
                true => stream_of(&config.pipeline),
                false => stream.clone(),
            },
            subjects: subjects
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            // What the whole pipeline needs was made before.
            create: match create {
                Create::Adopt if !is_hashed => Create::Adopt,
                _ => Create::Check,
            },
            durable: own,
        },
        max_events: config.max_events.div_ceil(n_partitions),
        partition: Some(Partition {
            number,
            of: partitions.clone(),
            origin: is_hashed.then(|| stream.clone()),
            whole: (!is_hashed).then(|| durable.clone()),
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
    let held = source.cached_info();
    let shared_by = transforms.iter().map(|t| format!("{} -> {}", t.from, t.to));
    let metadata = [
        (SHARED_BY, shared_by.collect::<Vec<_>>().join(", ")),
        (SOURCE_CREATED, nanoseconds(held.created).to_string()),
    ];
    Ok(stream::Config {
        name: stream_of(&config.pipeline),
        description: Some(format!(
            "Partitions of Syncline pipeline {}",
            config.pipeline
        )),
        // What is done is gone; no message id of the source makes it drop a message.
        retention: RetentionPolicy::WorkQueue,
        storage: held.config.storage,
        num_replicas: held.config.num_replicas,
        sources: Some(vec![stream::Source {
            name: held.config.name.clone(),
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
        metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value))),
        ..Default::default()
    })
}

/// Where messages of the partitions' stream came from first.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    source: Stream,
    /// When the source was made that there was first.
    older: u64,
    /// The highest position met.
    newest: u64,
}

impl Origin {
    /// The source called `name`, as it is now, behind `shared`.
    pub(super) async fn find(
        context: &Context,
        name: &str,
        config: &Config,
    ) -> Result<Self, IntakeError> {
        let source = context
            .get_stream(name)
            .await
            .map_err(|error| unreachable(config, format!("cannot find stream `{name}`"), &error))?;
        let created = nanoseconds(source.cached_info().created);
        let name_of_shared = stream_of(&config.pipeline);
        let shared = context.get_stream(&name_of_shared).await.map_err(|error| {
            let attempted = format!("cannot find stream `{name_of_shared}`");
            unreachable(config, attempted, &error)
        })?;
        let metadata = &shared.cached_info().config.metadata;
        let older = metadata
            .get(SOURCE_CREATED)
            .and_then(|text| text.parse().ok());
        Ok(Self {
            source: Stream {
                name: name.into(),
                created,
            },
            older: older.unwrap_or(created),
            newest: 0,
        })
    }

    /// Passes what was not met before.
    ///
    /// # Errors
    /// When it lies before what was met: the source is another one now.
    pub(super) fn pass(&mut self, sequence: u64) -> Result<(), String> {
        if sequence < self.newest {
            return Err(format!(
                "the source stream {} was made anew",
                self.source.name
            ));
        }
        self.newest = sequence;
        Ok(())
    }

    /// The message as it lay in the source; `none` when the server does not say where that was.
    pub(super) fn original(&self, message: Message, stored: OffsetDateTime) -> Option<Original> {
        let header = message.headers.as_ref()?.get(NATS_STREAM_SOURCE)?;
        let (sequence, subject) = place(header.as_str())?;
        let subject = subject.to_owned();
        // What lay here before the source was made came from another one of its name.
        let created = match nanoseconds(stored) < self.source.created {
            true => self.older,
            false => self.source.created,
        };
        let stream = Stream {
            created,
            ..self.source.clone()
        };
        let mut original = decode::original(message, &stream, sequence);
        original.subject = subject;
        let headers = &mut original.headers.0;
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(NATS_STREAM_SOURCE));
        Some(original)
    }
}

/// Sequence and subject in `STREAM SEQUENCE FILTERS TRANSFORMS SUBJECT ..`.
fn place(header: &str) -> Option<(u64, &str)> {
    let mut words = header.split(' ');
    let sequence = words.nth(1)?.parse().ok()?;
    let subject = words.nth(2)?;
    Some((sequence, subject))
}

fn nanoseconds(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_header_tells_the_place_in_the_source() {
        let header =
            "SRC 12 src.*src.*.> {{partition(16,1)}}.src.{{wildcard(1)}} src.k0.a dHhzLCac";
        assert_eq!(place(header), Some((12, "src.k0.a")));
        assert_eq!(place("SRC 12"), None);
        assert_eq!(place("SRC x a b c"), None);
    }
}
