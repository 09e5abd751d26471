//! The stream that a target's messages lie in.

use super::{Config, ReadError};
use crate::event::SubjectPattern;
use crate::last_message::{is_direct, last_message};
use crate::provision::Create;
use async_nats::jetstream::context::{Context, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{self, Stream};
use async_nats::jetstream::{ErrorCode, kv};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A stream, as far as it is known.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    stream: Stream<()>,
    /// Its settings; none: it is taken to be there and nobody asked.
    known: Option<Box<stream::Config>>,
    /// The highest position at which it is known to have taken something.
    reached: AtomicU64,
}

impl Holder {
    /// The stream that takes `pattern`, as the target's `create` says: made, checked, or not looked
    /// at.
    pub(super) async fn of_subject(
        context: &Context,
        config: &Config,
        name: &str,
        pattern: &str,
    ) -> Result<Self, String> {
        if config.create == Create::Adopt {
            return Self::adopted(context, name).await;
        }
        let mut reached = 0;
        let found = match context.get_stream(name).await {
            Ok(stream) => {
                reached = stream.cached_info().state.last_sequence;
                that_takes(context, config, stream.cached_info(), pattern).await?
            }
            Err(error) if !is_missing(&error) => {
                return Err(format!("asking for stream `{name}`: {error}"));
            }
            Err(_) if config.create == Create::Check => {
                return Err(format!(
                    "stream `{name}` does not exist: make it with subject `{pattern}`, or set \
                     `create = true`"
                ));
            }
            Err(_) => {
                let made = stream::Config {
                    name: name.to_owned(),
                    subjects: vec![pattern.to_owned()],
                    allow_direct: true,
                    allow_batch_publish: context.client().is_server_compatible(2, 14, 0),
                    num_replicas: config.provision.replicas,
                    ..Default::default()
                };
                let made = context.create_stream(made).await;
                let made = made.map_err(|error| format!("making stream `{name}`: {error}"))?;
                made.cached_info().config.clone()
            }
        };
        let holder = Self::known(context, found).await?;
        holder.note(reached);
        Ok(holder)
    }

    /// The stream of a bucket, in the same way.
    pub(super) async fn of_bucket(
        context: &Context,
        config: &Config,
        bucket: &str,
    ) -> Result<Self, String> {
        let name = format!("KV_{bucket}");
        if config.create == Create::Adopt {
            return Self::adopted(context, &name).await;
        }
        let found = match context.get_stream(&name).await {
            Ok(stream) => {
                let found = stream.cached_info().config.clone();
                if config.create == Create::Missing {
                    config.provision.compare(&name, found.num_replicas);
                }
                found
            }
            Err(error) if !is_missing(&error) => {
                return Err(format!("opening bucket `{bucket}`: {error}"));
            }
            Err(_) if config.create == Create::Check => {
                return Err(format!(
                    "bucket `{bucket}` does not exist: make it, or set `create = true`"
                ));
            }
            Err(_) => {
                let made = kv::Config {
                    bucket: bucket.to_owned(),
                    num_replicas: config.provision.replicas,
                    ..Default::default()
                };
                let made = context.create_key_value(made).await;
                let made = made.map_err(|error| format!("making bucket `{bucket}`: {error}"))?;
                made.stream.cached_info().config.clone()
            }
        };
        Self::known(context, found).await
    }

    async fn adopted(context: &Context, name: &str) -> Result<Self, String> {
        let stream = context.get_stream_no_info(name).await;
        Ok(Self {
            name: name.to_owned(),
            stream: stream.map_err(|error| error.to_string())?,
            known: None,
            reached: AtomicU64::new(0),
        })
    }

    async fn known(context: &Context, found: stream::Config) -> Result<Self, String> {
        let name = found.name.clone();
        Ok(Self {
            known: Some(Box::new(found)),
            ..Self::adopted(context, &name).await?
        })
    }

    /// The stream itself.
    pub(super) fn stream(&self) -> &Stream<()> {
        &self.stream
    }

    /// Notes that it has taken something at `position`.
    pub(super) fn note(&self, position: u64) {
        self.reached.fetch_max(position, Ordering::Relaxed);
    }

    /// The highest position at which it is known to have taken something.
    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// How long it remembers message ids; of one that is adopted nobody knows.
    pub(super) fn remembers(&self) -> Duration {
        let known = self.known.as_ref();
        known.map_or(Duration::ZERO, |known| known.duplicate_window)
    }

    /// The largest message that it takes; none: as large as the server's.
    pub(super) fn largest(&self) -> Option<usize> {
        let largest = self.known.as_ref()?.max_message_size;
        usize::try_from(largest).ok().filter(|largest| *largest > 0)
    }

    /// Whether it takes messages in batches that it acknowledges as a whole, and surely remembers
    /// what a batch brought when its messages are published by themselves after that: as long as
    /// both may take with this `timeout`.
    pub(super) fn takes_batches(&self, timeout: Duration) -> bool {
        let known = self.known.as_ref();
        let takes = known.is_some_and(|known| known.allow_batch_publish);
        takes && self.remembers() >= timeout.saturating_mul(4)
    }

    /// Whether any of its servers may be asked for its messages, as far as is known.
    pub(super) fn allows_direct(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.allow_direct)
    }

    /// Whether no subject has more than one message in it.
    pub(super) fn keeps_one(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.max_messages_per_subject == 1)
    }

    /// Whether it is only taken to be there.
    pub(super) fn is_adopted(&self) -> bool {
        self.known.is_none()
    }

    /// The last message of a subject as the stream's leader has it, or `None`.
    pub(super) async fn last_message(
        &self,
        subject: &str,
    ) -> Result<Option<StreamMessage>, ReadError> {
        let is_direct = self.known.as_deref().is_some_and(is_direct);
        let read = last_message(&self.stream, is_direct, subject).await;
        read.map_err(|error| ReadError::Unavailable(format!("reading: {error}")))
    }
}

/// The settings of a stream that is there, once it takes `pattern`.
async fn that_takes(
    context: &Context,
    config: &Config,
    found: &stream::Info,
    pattern: &str,
) -> Result<stream::Config, String> {
    let mut settings = found.config.clone();
    let name = settings.name.clone();
    if settings.mirror.is_some() {
        return Err(format!(
            "stream `{name}` is a mirror and takes no messages: name the stream that it mirrors"
        ));
    }
    let wanted: Option<SubjectPattern> = pattern.parse().ok();
    let held = settings
        .subjects
        .iter()
        .filter_map(|held| held.parse::<SubjectPattern>().ok());
    let takes = wanted.is_none_or(|wanted| held.into_iter().any(|held| held.overlaps(&wanted)));
    if config.create == Create::Missing {
        config.provision.compare(&name, settings.num_replicas);
    }
    if takes {
        return Ok(settings);
    }
    if config.create == Create::Check {
        return Err(format!(
            "stream `{name}` takes no subject of `{pattern}`, only `{}`: add it, or set \
             `create = true`",
            settings.subjects.join("`, `")
        ));
    }
    tracing::info!(target = %config.name, stream = %name, subject = pattern, "adding the subject to the stream");
    settings.subjects.push(pattern.to_owned());
    let updated = context.update_stream(&settings).await;
    updated.map_err(|error| format!("adding subject `{pattern}` to stream `{name}`: {error}"))?;
    Ok(settings)
}

/// Whether the server answered that there is no such stream.
pub(super) fn is_missing(error: &GetStreamError) -> bool {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}
