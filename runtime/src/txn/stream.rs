//! The stream `TX`: made when it is missing, and read where its leader is.

use crate::atomic_batch::{Expected, Message};
use crate::last_message::{is_direct, last_message};
use crate::provision::Provision;
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL, NATS_ROLLUP};
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{self, DiscardPolicy, LastRawMessageErrorKind};
use bytes::Bytes;
use std::time::Duration;

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stream of transactions.
pub(super) const STREAM: &str = crate::target::JOINED;
/// What its subjects begin with.
const SUBJECTS: &str = "tx.>";

/// The stream, found to serve its purpose.
#[derive(Clone)]
pub(super) struct TxStream {
    context: jetstream::Context,
    stream: stream::Stream,
    /// With how many replicas it is made again.
    n_replicas: usize,
}

/// What became of a write on the condition that nobody else wrote first.
pub(super) enum Written {
    /// It is there, at this position.
    At(u64),
    /// Somebody else was first.
    TooLate,
}

impl TxStream {
    /// Opens the stream, making it when it is missing.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer, or a stream of that name serves another purpose.
    pub(super) async fn open(
        context: &jetstream::Context,
        provision: &Provision,
    ) -> Result<Self, String> {
        let stream = context
            .get_or_create_stream(settings(provision.replicas))
            .await
            .map_err(|error| error.to_string())?;
        let found = &stream.cached_info().config;
        provision.compare(STREAM, found.num_replicas);
        let is_held = found.subjects.iter().any(|subject| subject == SUBJECTS);
        if !found.allow_message_ttl || !is_held {
            return Err(format!(
                "it does not hold `{SUBJECTS}` with `allow_msg_ttl`"
            ));
        }
        Ok(Self {
            context: context.clone(),
            stream,
            n_replicas: provision.replicas,
        })
    }

    /// Sees to it that a message can replace the earlier ones of its subject, and that messages can be
    /// written together: a stream that an earlier version made does not let them.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub(super) async fn allow_rollups(&self) -> Result<(), String> {
        let found = &self.stream.cached_info().config;
        if found.allow_rollup && found.allow_atomic_publish {
            return Ok(());
        }
        let allowing = stream::Config {
            allow_rollup: true,
            allow_atomic_publish: true,
            ..found.clone()
        };
        let updated = self.context.update_stream(&allowing).await;
        let updated = updated
            .map_err(|error| format!("setting `allow_rollup_hdrs` and `allow_atomic`: {error}"));
        updated.map(drop)
    }

    /// Makes the stream again, where somebody has deleted it.
    ///
    /// # Errors
    /// When JetStream refuses or does not answer.
    pub(super) async fn restore(&self) -> Result<(), String> {
        let found = self
            .context
            .get_or_create_stream(settings(self.n_replicas))
            .await;
        found.map(drop).map_err(|error| error.to_string())
    }

    /// The stream, when somebody has made it.
    ///
    /// # Errors
    /// When JetStream does not answer.
    pub(super) async fn find(context: &jetstream::Context) -> Result<Option<Self>, String> {
        use jetstream::ErrorCode;
        use jetstream::context::GetStreamErrorKind;
        match context.get_stream(STREAM).await {
            Ok(stream) => Ok(Some(Self {
                context: context.clone(),
                n_replicas: stream.cached_info().config.num_replicas,
                stream,
            })),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(error.to_string()),
            },
        }
    }

    /// The largest message that it takes, as far as it says so.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn largest(&self) -> Result<usize, String> {
        let found = self.stream.get_info().await;
        let found = found.map_err(|error| error.to_string())?;
        Ok(self.largest_of(&found))
    }

    /// The same as it was when the stream was opened.
    pub(super) fn known_largest(&self) -> usize {
        self.largest_of(self.stream.cached_info())
    }

    fn largest_of(&self, info: &stream::Info) -> usize {
        let server = self.client().server_info().max_payload;
        let own = usize::try_from(info.config.max_message_size).ok();
        server.min(own.filter(|own| *own > 0).unwrap_or(server))
    }

    /// The client that the stream is reached with.
    pub(super) fn client(&self) -> async_nats::Client {
        self.context.client()
    }

    /// The stream itself.
    pub(super) fn stream(&self) -> &stream::Stream {
        &self.stream
    }

    /// The last message of a subject as the stream's leader has it.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<StreamMessage>, String> {
        let is_direct = is_direct(&self.stream.cached_info().config);
        last_message(&self.stream, is_direct, subject).await
    }

    /// The first message that `subjects` match at this position or after it, as the stream's leader has it.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn first_from(
        &self,
        subjects: &str,
        position: u64,
    ) -> Result<Option<StreamMessage>, String> {
        let found = self
            .stream
            .get_first_raw_message_by_subject(subjects, position);
        match found.await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes a message that expires after `ttl`.
    ///
    /// # Errors
    /// When it is not known to be there.
    pub(super) async fn write(
        &self,
        subject: String,
        body: Bytes,
        ttl: Duration,
    ) -> Result<u64, String> {
        let written = self.publish(subject, expiring(Some(ttl)), body).await;
        written.map_err(|error| error.to_string())
    }

    /// As [`Self::write`]; of earlier messages of the subject none is kept.
    ///
    /// # Errors
    /// When it is not known to be there.
    pub(super) async fn write_last(
        &self,
        subject: String,
        body: Bytes,
        ttl: Duration,
    ) -> Result<u64, String> {
        let headers = rolling_up(expiring(Some(ttl)));
        let written = self.publish(subject, headers, body).await;
        written.map_err(|error| error.to_string())
    }

    /// As [`Self::replace`]; of earlier messages of the subject none is kept.
    ///
    /// # Errors
    /// When it is not known whether it is there.
    pub(super) async fn roll_up(
        &self,
        subject: &str,
        expected: u64,
        body: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Written, String> {
        let headers = rolling_up(expiring(ttl));
        self.write_if(subject, expected, headers, body).await
    }

    /// Writes a message where the last one of its subject is still at `expected` (0: there is none).
    ///
    /// # Errors
    /// When it is not known whether it is there.
    pub(super) async fn replace(
        &self,
        subject: &str,
        expected: u64,
        body: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Written, String> {
        self.write_if(subject, expected, expiring(ttl), body).await
    }

    /// The same write as a message of an atomic batch; `expected` none: whatever there is.
    pub(super) fn message(
        subject: &str,
        expected: Option<u64>,
        body: Bytes,
        ttl: Duration,
    ) -> Message {
        Message {
            subject: subject.into(),
            headers: expiring(Some(ttl)),
            payload: body,
            expects: expected.map(|sequence| Expected {
                other: None,
                sequence,
            }),
        }
    }

    async fn write_if(
        &self,
        subject: &str,
        expected: u64,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Written, String> {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        match self.publish(subject.to_owned(), headers, body).await {
            Ok(sequence) => Ok(Written::At(sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Ok(Written::TooLate)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<u64, PublishError> {
        let sent = self.context.publish_with_headers(subject, headers, body);
        Ok(sent.await?.await?.sequence)
    }
}

fn expiring(ttl: Option<Duration>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(ttl) = ttl {
        headers.insert(NATS_MESSAGE_TTL, format!("{}s", ttl.as_secs()));
    }
    headers
}

fn rolling_up(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(NATS_ROLLUP, "sub");
    headers
}

/// What `work` comes to, within the time that the server may take for one answer.
///
/// # Errors
/// Those of `work`, or that there was no answer in time.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn settings(num_replicas: usize) -> stream::Config {
    stream::Config {
        name: STREAM.to_owned(),
        description: Some("Transactions of Syncline".to_owned()),
        subjects: vec![SUBJECTS.to_owned()],
        // A marker that does not fit must be refused, never push out another.
        discard: DiscardPolicy::New,
        allow_direct: true,
        allow_message_ttl: true,
        allow_rollup: true,
        allow_atomic_publish: true,
        deny_delete: true,
        num_replicas,
        ..Default::default()
    }
}
