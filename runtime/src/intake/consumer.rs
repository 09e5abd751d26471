//! The stream and the durable consumer behind an intake: found, checked, made.

use super::IntakeError;
use super::config::{Config, Source};
use super::fit::{Misfit, description, is_own, misfits};
use super::position::Position;
use crate::event::SubjectPattern;
use crate::fault::{self, Point};
use crate::provision::Create;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{ConsumerInfoErrorKind, Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, ConsumerErrorKind, Stream};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// The longest time that a request for messages is open.
const LONGEST_PULL: Duration = Duration::from_secs(30);
/// Between two looks whether the requests of others are over.
const LOOK: Duration = Duration::from_millis(50);

/// How long the server holds a request for messages when it has nothing to give. What a runtime that
/// hangs has asked for must be over by the time another one takes its place: its last sign of life is
/// up to a third of the lease time older than its last request.
pub(super) fn pull_expires(config: &Config) -> Duration {
    match config.lease {
        Some(lease) => (lease * 3 / 5).min(LONGEST_PULL),
        None => LONGEST_PULL,
    }
}

/// The stream of a source.
pub(super) struct Found {
    /// For its consumers.
    pub(super) stream: Stream<()>,
    /// When it was made, in nanoseconds since 1970; 0 where nobody looks.
    pub(super) created: u64,
}

/// The stream, as the source's `create` says: made, checked, or not looked at.
pub(super) async fn find_stream(context: &Context, config: &Config) -> Result<Found, IntakeError> {
    let Source::JetStream { stream, create, .. } = &config.source else {
        return Err(missing(config, "its source is no stream".to_owned()));
    };
    let created = match create {
        Create::Adopt if !config.shares_out() => 0,
        Create::Adopt | Create::Missing | Create::Check => {
            created(&open_stream(context, config).await?)
        }
    };
    let found = context.get_stream_no_info(stream).await;
    let stream = found.map_err(|error| {
        let attempted = format!("cannot find stream `{stream}`");
        unreachable(config, attempted, &error)
    })?;
    Ok(Found { stream, created })
}

/// When a stream was made, in nanoseconds since 1970.
fn created(stream: &Stream) -> u64 {
    u64::try_from(stream.cached_info().created.unix_timestamp_nanos()).unwrap_or_default()
}

/// The stream, made when it is missing, and extended by subjects it lacks, where the configuration
/// says so.
pub(super) async fn open_stream(context: &Context, config: &Config) -> Result<Stream, IntakeError> {
    let Source::JetStream {
        stream: name,
        subjects,
        create,
        ..
    } = &config.source
    else {
        return Err(missing(config, "its source is no stream".to_owned()));
    };
    let error = match context.get_stream(name).await {
        Ok(stream) if *create == Create::Missing => {
            let replicas = stream.cached_info().config.num_replicas;
            config.provision.compare(name, replicas);
            return with_subjects(context, stream, config).await;
        }
        Ok(stream) => return with_subjects(context, stream, config).await,
        Err(error) => error,
    };
    let is_missing = matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND);
    if !is_missing {
        return Err(unreachable(
            config,
            format!("cannot find stream `{name}`"),
            &error,
        ));
    }
    if *create != Create::Missing {
        return Err(missing(
            config,
            format!(
                "stream `{name}` does not exist: make it, or set `create = true` in its source"
            ),
        ));
    }
    let subjects = texts(subjects);
    if subjects.is_empty() {
        return Err(missing(
            config,
            format!(
                "stream `{name}` does not exist and its source names no `subjects` to make it with"
            ),
        ));
    }
    info!(pipeline = %config.pipeline, stream = %name, ?subjects, "making the source stream");
    let made = stream::Config {
        name: name.clone(),
        subjects,
        allow_direct: true,
        num_replicas: config.provision.replicas,
        ..Default::default()
    };
    context
        .create_stream(made)
        .await
        .map_err(|error| unreachable(config, format!("cannot make stream `{name}`"), &error))
}

/// A stream that holds every subject of the source. One that it lacks would never bring an event.
async fn with_subjects(
    context: &Context,
    stream: Stream,
    config: &Config,
) -> Result<Stream, IntakeError> {
    let Source::JetStream {
        subjects, create, ..
    } = &config.source
    else {
        return Ok(stream);
    };
    let mut settings = stream.cached_info().config.clone();
    // A stream that mirrors or sources others has subjects that its own settings do not show.
    if settings.mirror.is_some() || settings.sources.as_ref().is_some_and(|s| !s.is_empty()) {
        return Ok(stream);
    }
    let held: Vec<SubjectPattern> = settings
        .subjects
        .iter()
        .filter_map(|subject| subject.parse().ok())
        .collect();
    let lacking: Vec<_> = subjects
        .iter()
        .filter(|wanted| !held.iter().any(|held| held.covers(wanted)))
        .collect();
    let Some(first) = lacking.first() else {
        return Ok(stream);
    };
    let (name, pipeline) = (settings.name.clone(), &config.pipeline);
    if *create != Create::Missing {
        return Err(missing(
            config,
            format!(
                "stream `{name}` does not hold the subject `{}`: add it, or set `create = true` in the \
             pipeline's source",
                first.as_str()
            ),
        ));
    }
    info!(%pipeline, stream = %name, subjects = ?lacking, "adding subjects to the source stream");
    settings
        .subjects
        .extend(lacking.iter().map(|subject| subject.as_str().to_owned()));
    let attempted = || format!("cannot add subjects to stream `{name}`");
    context
        .update_stream(&settings)
        .await
        .map_err(|error| unreachable(config, attempted(), &error))?;
    context
        .get_stream(&name)
        .await
        .map_err(|error| unreachable(config, attempted(), &error))
}

fn texts(subjects: &[SubjectPattern]) -> Vec<String> {
    subjects
        .iter()
        .map(|subject| subject.as_str().to_owned())
        .collect()
}

/// The consumer, as [`find_consumer`] gives it, set back to what was last acknowledged without a
/// gap: what lies above and was given away would otherwise come out of order.
pub(super) async fn open_consumer(
    found: &Found,
    config: &Config,
) -> Result<(Consumer<pull::Config>, Position), IntakeError> {
    let stream = &found.stream;
    let mut consumer = find_consumer(stream, config).await?;
    let durable = durable(config);
    let attempted = || format!("cannot open consumer `{durable}`");
    let until = Instant::now() + pull_expires(config) + LOOK * 4;
    let consumer_info = loop {
        let found = consumer.info().await;
        let found = found.map_err(|error| unreachable(config, attempted(), &error))?;
        // Requests of a runtime that is not there any more would be answered with our events.
        if found.num_waiting == 0 || config.lease.is_none() || Instant::now() >= until {
            break found.clone();
        }
        tokio::time::sleep(LOOK).await;
    };
    if consumer_info.num_waiting > 0 && config.lease.is_some() {
        warn!(pipeline = %config.pipeline, consumer = durable,
            "somebody else takes messages from the consumer: the order of a key may not hold");
    }
    let met = consumer_info.delivered.stream_sequence;
    let delivered = match consumer_info.num_ack_pending {
        0 => consumer_info.delivered.consumer_sequence,
        _ => set_back(stream, &consumer_info, config).await?,
    };
    if matches!(
        config.source,
        Source::JetStream {
            create: Create::Adopt,
            ..
        }
    ) {
        let position = Position {
            newest: met,
            is_open: true,
            delivered,
        };
        return Ok((consumer, position));
    }
    let newest = stream
        .get_info()
        .await
        .map_err(|error| unreachable(config, attempted(), &error))?
        .state
        .last_sequence;
    let position = Position {
        newest,
        is_open: false,
        delivered,
    };
    Ok((consumer, position))
}

/// Sets the consumer back to its ack floor; gives the number of its last delivery.
async fn set_back(
    stream: &Stream<()>,
    found: &consumer::Info,
    config: &Config,
) -> Result<u64, IntakeError> {
    let (durable, floor) = (durable(config), found.ack_floor.stream_sequence);
    match stream.reset_consumer(durable, None).await {
        Ok(reset) => {
            info!(pipeline = %config.pipeline, floor, "consumer set back to its ack floor");
            fault::reach(Point::SetBack).await;
            Ok(reset.info.delivered.consumer_sequence)
        }
        // What was passed by on the way to a later place would never be written.
        Err(error) if config.shares_out() => {
            let attempted = format!(
                "cannot set consumer `{durable}` back to its ack floor, which `repartition` needs \
                 (nats-server 2.14, and the permission)"
            );
            Err(unreachable(config, attempted, &error))
        }
        Err(error) => {
            warn!(pipeline = %config.pipeline, %error,
                "the server does not set the consumer back (it needs 2.14, and the permission): \
                 events that an earlier run left unfinished may come out of order");
            Ok(found.delivered.consumer_sequence)
        }
    }
}

/// The consumer, its position untouched. One that is missing is made, unless it is to be adopted.
/// One whose settings do not do is brought up to date where it is our own, or where the source says
/// that what is missing is made; otherwise it is refused, setting by setting.
pub(super) async fn find_consumer(
    stream: &Stream<()>,
    config: &Config,
) -> Result<Consumer<pull::Config>, IntakeError> {
    let (durable, create) = (durable(config), create_of(config));
    let Some(found) = ask_for_consumer(stream, config).await? else {
        if create == Create::Adopt {
            let fault = format!(
                "{} does not exist, and `create = false` makes none: make it, with ack policy \
                 explicit, or write `create = \"check\"`",
                name_of(config)
            );
            return Err(missing(config, fault));
        }
        return make_consumer(stream, config, None).await;
    };
    let misfits = misfits(&found, config);
    let is_ours_to_change =
        create == Create::Missing || (create == Create::Check && is_own(&found));
    let is_changeable = misfits.iter().all(|misfit| misfit.is_changeable);
    if !(is_changeable && (is_ours_to_change || misfits.is_empty())) {
        return Err(refused(config, &misfits, is_ours_to_change));
    }
    if !misfits.is_empty() {
        for changed in &misfits {
            info!(pipeline = %config.pipeline, consumer = durable, %changed, "consumer brought up to date");
        }
        return make_consumer(stream, config, Some(found)).await;
    }
    stream.get_consumer(durable).await.map_err(|error| {
        let attempted = format!("cannot open {}", name_of(config));
        unreachable(config, attempted, &error)
    })
}

/// Whether the source and its consumer would do, changing nothing.
pub(super) async fn check(context: &Context, config: &Config) -> Result<(), IntakeError> {
    let stream = find_stream(context, config).await?.stream;
    let create = create_of(config);
    let Some(found) = ask_for_consumer(&stream, config).await? else {
        return match create {
            Create::Adopt => find_consumer(&stream, config).await.map(drop),
            Create::Missing | Create::Check => Ok(()),
        };
    };
    let misfits = misfits(&found, config);
    let is_ours_to_change = create == Create::Check && is_own(&found);
    let is_changeable = misfits.iter().all(|misfit| misfit.is_changeable);
    match misfits.is_empty() || (is_ours_to_change && is_changeable) {
        true => Ok(()),
        false => Err(refused(config, &misfits, is_ours_to_change)),
    }
}

/// The settings of the consumer; none: there is no such consumer.
async fn ask_for_consumer(
    stream: &Stream<()>,
    config: &Config,
) -> Result<Option<consumer::Config>, IntakeError> {
    match stream.consumer_info(durable(config)).await {
        Ok(found) => Ok(Some(found.config)),
        Err(error) => match error.kind() {
            ConsumerInfoErrorKind::NotFound => Ok(None),
            ConsumerInfoErrorKind::JetStream(fault)
                if fault.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Err(missing(
                    config,
                    format!("cannot find {}: {fault}", name_of(config)),
                ))
            }
            _ => Err(unreachable(
                config,
                format!("cannot find {}", name_of(config)),
                &error,
            )),
        },
    }
}

fn refused(config: &Config, misfits: &[Misfit], is_ours_to_change: bool) -> IntakeError {
    let misfits: Vec<_> = misfits.iter().map(ToString::to_string).collect();
    let remedy = match is_ours_to_change {
        true => {
            "the server cannot change that: delete the consumer, or name another with `consumer`"
        }
        false => {
            "change it, name another with `consumer`, or let Syncline change it with \
                  `create = true` in the source"
        }
    };
    let fault = format!(
        "{} does not do: {}: {remedy}",
        name_of(config),
        misfits.join("; ")
    );
    missing(config, fault)
}

/// Makes the consumer, or changes what one of its settings do not do; what it has besides stays.
async fn make_consumer(
    stream: &Stream<()>,
    config: &Config,
    found: Option<consumer::Config>,
) -> Result<Consumer<pull::Config>, IntakeError> {
    let Source::JetStream { subjects, .. } = &config.source else {
        return Err(missing(config, "its source is no stream".to_owned()));
    };
    let deliver_policy = match &found {
        Some(found) => found.deliver_policy,
        None => first_policy(stream, config).await?,
    };
    let found = found.unwrap_or_default();
    let wanted = pull::Config {
        durable_name: Some(durable(config).to_owned()),
        description: Some(description(&config.pipeline)),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: config.ack_wait,
        // Attempts are counted here, not there.
        max_deliver: -1,
        max_ack_pending: i64::try_from(config.max_events).unwrap_or(i64::MAX),
        filter_subjects: texts(subjects),
        num_replicas: found.num_replicas,
        memory_storage: found.memory_storage,
        inactive_threshold: found.inactive_threshold,
        metadata: found.metadata,
        ..Default::default()
    };
    stream
        .create_consumer(wanted)
        .await
        .map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) => missing(
                config,
                format!("the server refuses {}: {error}", name_of(config)),
            ),
            _ => unreachable(config, format!("cannot open {}", name_of(config)), &error),
        })
}

/// Where a consumer begins that is not there yet: that of a partition where the whole pipeline's was.
async fn first_policy(stream: &Stream<()>, config: &Config) -> Result<DeliverPolicy, IntakeError> {
    let whole = config.partition.as_ref().and_then(|p| p.whole.as_deref());
    let Some(whole) = whole else {
        return Ok(DeliverPolicy::All);
    };
    match stream.consumer_info(whole).await {
        Ok(whole) => Ok(DeliverPolicy::ByStartSequence {
            start_sequence: whole.ack_floor.stream_sequence + 1,
        }),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(DeliverPolicy::All),
        Err(error) => Err(unreachable(
            config,
            format!("cannot find consumer `{whole}`"),
            &error,
        )),
    }
}

/// The consumer and its stream, in words.
fn name_of(config: &Config) -> String {
    match &config.source {
        Source::JetStream {
            stream, durable, ..
        } => format!("consumer `{durable}` on stream `{stream}`"),
        Source::Core { .. } => "no consumer".to_owned(),
    }
}

fn create_of(config: &Config) -> Create {
    match &config.source {
        Source::JetStream { create, .. } => *create,
        Source::Core { .. } => Create::Check,
    }
}

fn durable(config: &Config) -> &str {
    match &config.source {
        Source::JetStream { durable, .. } => durable,
        Source::Core { .. } => "",
    }
}

pub(super) fn missing(config: &Config, fault: String) -> IntakeError {
    IntakeError::Source {
        pipeline: config.pipeline.clone(),
        fault,
    }
}

pub(super) fn unreachable(
    config: &Config,
    attempted: String,
    error: &dyn std::fmt::Display,
) -> IntakeError {
    IntakeError::Unreachable {
        pipeline: config.pipeline.clone(),
        attempted,
        cause: error.to_string(),
    }
}
