//! What the stream of a target has taken: how a decided effect that may have been sent is looked for.

use super::holder::Holder;
use super::{Opened, Target};
use crate::event::PlannedEffect;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{HeaderMap, HeaderValue};
use std::time::Duration;

impl Opened {
    pub(super) fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Subject(target) => target.stream(),
            Self::Kv(target) => Some(target.stream()),
            Self::Postgres(_) | Self::Http(_) => None,
        }
    }
}

impl Target {
    /// The position in its stream that it is known to have reached. None where each entity tells what
    /// was taken.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        match &self.kind {
            Opened::Subject(target) => target.stream().map(Holder::reached),
            Opened::Kv(_) | Opened::Postgres(_) | Opened::Http(_) => None,
        }
    }

    /// How long its stream surely remembers the message ids of what it took.
    #[must_use]
    pub fn remembers(&self) -> Duration {
        let holder = self.kind.holder();
        holder.map_or(Duration::ZERO, Holder::remembers)
    }

    /// Whether its stream took the message of `id` that `planned` makes, somewhere after `position`.
    /// Never of a bucket, whose entries tell by themselves when they are written again.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn has_taken(
        &self,
        planned: &PlannedEffect,
        id: &str,
        position: u64,
    ) -> Result<bool, String> {
        let Opened::Subject(target) = &self.kind else {
            return Ok(false);
        };
        let Some(holder) = target.stream() else {
            return Ok(false);
        };
        let subject = target.subject(&planned.effect);
        let last = holder.last_message(&subject).await;
        match last.map_err(|error| error.to_string())? {
            None => Ok(false),
            Some(last) if last.sequence <= position => Ok(false),
            Some(last) if id_of(Some(&last.headers)) == Some(id) => Ok(true),
            Some(_) => holder.has_id_after(&subject, id, position).await,
        }
    }
}

fn id_of(headers: Option<&HeaderMap>) -> Option<&str> {
    headers?.get(NATS_MESSAGE_ID).map(HeaderValue::as_str)
}

impl Holder {
    /// One by one, without a consumer: a stream that is a work queue lets nobody read from a position.
    async fn has_id_after(&self, subject: &str, id: &str, position: u64) -> Result<bool, String> {
        let mut next = position + 1;
        loop {
            let found = self
                .stream()
                .get_first_raw_message_by_subject(subject, next);
            match found.await {
                Ok(message) if id_of(Some(&message.headers)) == Some(id) => return Ok(true),
                Ok(message) => next = message.sequence + 1,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    return Ok(false);
                }
                Err(error) => return Err(format!("reading stream `{}`: {error}", self.name)),
            }
        }
    }
}
