//! Where the messages of a partitions' stream came from first.

use super::IntakeError;
use super::config::Config;
use super::consumer::unreachable;
use super::copy;
use super::decode::{self, Stream};
use super::partitions::PartitionBy;
use super::sharing::{nanoseconds, source_created, stream_of};
use crate::event::Original;
use async_nats::Message;
use async_nats::jetstream::Context;
use time::OffsetDateTime;

/// The header in which the server says where it has a message from.
const NATS_STREAM_SOURCE: &str = "Nats-Stream-Source";

/// Where messages of the partitions' stream came from first.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The server put them there, and names the place.
    Sourced(Sourced),
    /// One of the runtimes wrote them there, with all that they were.
    Written,
}

/// The source that the server has them from.
#[derive(Debug, Clone)]
pub(super) struct Sourced {
    source: Stream,
    /// When the source was made that there was first.
    older: u64,
    /// The highest position met.
    newest: u64,
}

impl Origin {
    /// That of the messages that `config` is about; none: they lie in the source itself.
    ///
    /// # Errors
    /// When a stream is not there.
    pub(super) async fn of(
        context: &Context,
        config: &Config,
    ) -> Result<Option<Self>, IntakeError> {
        let Some(partition) = &config.partition else {
            return Ok(None);
        };
        match (&partition.origin, partition.of.by) {
            (None, _) => Ok(None),
            (Some(_), PartitionBy::Key) => Ok(Some(Self::Written)),
            (Some(name), _) => {
                let sourced = Sourced::find(context, name, config).await?;
                Ok(Some(Self::Sourced(sourced)))
            }
        }
    }

    /// The message as it lay in the source.
    ///
    /// # Errors
    /// When it is none of those, or the source is another one now.
    pub(super) fn original(
        &mut self,
        message: Message,
        stored: OffsetDateTime,
        maybe_seen: bool,
    ) -> Result<Original, String> {
        let stranger = "a message that is not from the source stream";
        match self {
            Self::Written => copy::original(message).ok_or_else(|| stranger.to_owned()),
            Self::Sourced(sourced) => {
                let original = sourced.original(message, stored).ok_or(stranger)?;
                if !maybe_seen {
                    sourced.pass(original.sequence)?;
                }
                Ok(original)
            }
        }
    }
}

impl Sourced {
    /// The source called `name`, as it is now, behind `shared`.
    async fn find(context: &Context, name: &str, config: &Config) -> Result<Self, IntakeError> {
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
        let older = source_created(&shared.cached_info().config);
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
    fn pass(&mut self, sequence: u64) -> Result<(), String> {
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
    fn original(&self, message: Message, stored: OffsetDateTime) -> Option<Original> {
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
