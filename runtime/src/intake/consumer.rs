//! The stream and the durable consumer behind an intake: found, checked, made.

use super::IntakeError;
use super::config::{Config, Source};
use crate::event::SubjectPattern;
use crate::fault::{self, Point};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, ConsumerErrorKind, Stream};
use tracing::{info, warn};

/// How the description of a consumer begins; the pipeline's name follows.
pub(super) const DESCRIPTION: &str = "Syncline pipeline ";

/// Up to where events may have been worked on before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    newest: u64,
}

impl Position {
    /// Passes `sequence`; true when it may have been worked on before: by an earlier run, whose
    /// answers the server may have forgotten, or by this one.
    pub(super) fn pass(&mut self, sequence: u64) -> bool {
        let maybe_seen = sequence <= self.newest;
        self.newest = self.newest.max(sequence);
        maybe_seen
    }
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
    if !create {
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
    if !create {
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

/// The consumer, made when it is missing, brought up to date, and set back to what was last
/// acknowledged without a gap: what lies above and was given away would otherwise come out of order.
pub(super) async fn open_consumer(
    stream: &Stream,
    config: &Config,
) -> Result<(Consumer<pull::Config>, Position), IntakeError> {
    let mut consumer = find_consumer(stream, config).await?;
    let durable = durable(config);
    let attempted = || format!("cannot open consumer `{durable}`");
    let consumer_info = consumer
        .info()
        .await
        .map_err(|error| unreachable(config, attempted(), &error))?;
    if consumer_info.num_ack_pending > 0 {
        let floor = consumer_info.ack_floor.stream_sequence;
        match stream.reset_consumer(durable, None).await {
            Ok(_) => {
                info!(pipeline = %config.pipeline, floor, "consumer set back to its ack floor");
                fault::reach(Point::SetBack).await;
            }
            Err(error) => warn!(pipeline = %config.pipeline, %error,
                "the server cannot set the consumer back (it needs 2.14): events that an earlier \
                 run left unfinished may come out of order"),
        }
    }
    let newest = stream
        .get_info()
        .await
        .map_err(|error| unreachable(config, attempted(), &error))?
        .state
        .last_sequence;
    Ok((consumer, Position { newest }))
}

/// The consumer, made or brought up to date, its position untouched.
pub(super) async fn find_consumer(
    stream: &Stream,
    config: &Config,
) -> Result<Consumer<pull::Config>, IntakeError> {
    let Source::JetStream { subjects, .. } = &config.source else {
        return Err(missing(config, "its source is no stream".to_owned()));
    };
    let durable = durable(config);
    let found = stream.get_consumer::<pull::Config>(durable).await;
    let deliver_policy = found.map(|found| found.cached_info().config.deliver_policy);
    let subjects = texts(subjects);
    let wanted = pull::Config {
        durable_name: Some(durable.to_owned()),
        description: Some(format!("{DESCRIPTION}{}", config.pipeline)),
        deliver_policy: deliver_policy.unwrap_or_default(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: config.ack_wait,
        // Attempts are counted here, not there.
        max_deliver: -1,
        max_ack_pending: i64::try_from(config.max_events).unwrap_or(i64::MAX),
        filter_subjects: subjects,
        ..Default::default()
    };
    stream
        .create_consumer(wanted)
        .await
        .map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) => missing(
                config,
                format!(
                    "the server refuses consumer `{durable}` on stream `{}`: {error}",
                    stream.cached_info().config.name
                ),
            ),
            _ => unreachable(config, format!("cannot open consumer `{durable}`"), &error),
        })
}

fn durable(config: &Config) -> &str {
    match &config.source {
        Source::JetStream { durable, .. } => durable,
        Source::Core { .. } => "",
    }
}

fn missing(config: &Config, fault: String) -> IntakeError {
    IntakeError::Source {
        pipeline: config.pipeline.clone(),
        fault,
    }
}

fn unreachable(config: &Config, attempted: String, error: &dyn std::fmt::Display) -> IntakeError {
    IntakeError::Unreachable {
        pipeline: config.pipeline.clone(),
        attempted,
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_run_or_this_one_has_met_may_have_been_seen() {
        let mut position = Position { newest: 5 };
        let seen: Vec<_> = [4, 5, 6, 7, 6, 8]
            .map(|sequence| position.pass(sequence))
            .into();
        assert_eq!(seen, [true, true, false, false, true, false]);
    }
}
