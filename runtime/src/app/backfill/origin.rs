//! Where the events of a backfill come from, page by page.

use super::{BackfillError, Of};
use crate::app::AppError;
use crate::config::Config;
use crate::dead_letter::{Handed, Place};
use crate::drift::{DriftError, Telling};
use crate::event::Headers;
use crate::intake::Source;
use crate::next_messages::Messages;
use crate::pipeline;
use crate::provision::Create;
use crate::target::{Position, ReadError, Target, Targets, Wanted};
use crate::telemetry::Metrics;
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use time::OffsetDateTime;

/// Headers in which the server tells where a message lies: they are no part of it.
const TOLD: [&str; 6] = [
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Num-Pending",
    "Nats-Last-Sequence",
];

/// Where the events come from.
pub(super) enum Origin {
    Entities {
        telling: Telling,
        entity: Option<String>,
        targets: Targets,
    },
    Messages(Box<FromSource>),
}

/// A source, from a position to its present end.
pub(super) struct FromSource {
    pipeline: pipeline::Config,
    client: async_nats::Client,
    stream: stream::Stream,
    since: OffsetDateTime,
}

impl Origin {
    pub(super) async fn open(
        config: &Config,
        (pipeline, of): (&pipeline::Config, &Of),
        context: &jetstream::Context,
    ) -> Result<Self, BackfillError> {
        match of {
            Of::Entities(telling, entity) => {
                let mut targets = config.targets.iter();
                let target = targets.find(|target| target.name == telling.target);
                let mut target = target.cloned().ok_or_else(|| {
                    let name = &telling.target;
                    BackfillError::Invalid(format!("the configuration has no target `{name}`"))
                })?;
                if target.create == Create::Missing {
                    target.create = Create::Check;
                }
                let opened = Targets::open(context, &[target], &Metrics::new()).await;
                Ok(Self::Entities {
                    telling: telling.clone(),
                    entity: entity.clone(),
                    targets: opened.map_err(AppError::Targets)?,
                })
            }
            Of::Since(since) => {
                let Source::JetStream { stream, .. } = &pipeline.intake.source else {
                    let name = &pipeline.name;
                    let why = format!(
                        "the source of pipeline `{name}` is core NATS, which holds nothing"
                    );
                    return Err(BackfillError::Invalid(why));
                };
                let found = context.get_stream(stream).await.map_err(|error| {
                    BackfillError::Invalid(format!("cannot open the stream `{stream}`: {error}"))
                })?;
                Ok(Self::Messages(Box::new(FromSource {
                    pipeline: pipeline.clone(),
                    client: context.client(),
                    stream: found,
                    since: *since,
                })))
            }
        }
    }

    /// Some events from a position on, and where those behind them begin.
    pub(super) async fn page(
        &self,
        from: &str,
        limit: usize,
    ) -> Result<(Vec<Handed>, Option<String>), BackfillError> {
        match self {
            Self::Entities {
                telling,
                entity,
                targets,
            } => {
                let name = &telling.target;
                let gone = || BackfillError::Invalid(format!("there is no target `{name}`"));
                let target = targets.get(name).ok_or_else(gone)?;
                Ok(entities(target, (telling, entity.as_deref()), from, limit).await?)
            }
            Self::Messages(source) => source.page(from, limit).await,
        }
    }
}

async fn entities(
    target: &Target,
    (telling, entity): (&Telling, Option<&str>),
    from: &str,
    limit: usize,
) -> Result<(Vec<Handed>, Option<String>), DriftError> {
    let after = (!from.is_empty()).then(|| Position::new(from));
    let wanted = Wanted {
        entity,
        prefix: "",
        after: after.as_ref(),
        limit,
    };
    let page = target.list(&wanted).await.map_err(|error| {
        let name = &telling.target;
        match error {
            ReadError::Invalid(why) => DriftError::Invalid(format!("target `{name}`: {why}")),
            ReadError::Unavailable(why) => {
                DriftError::Unavailable(format!("target `{name}`: {why}"))
            }
        }
    })?;
    let events = page.entities.into_iter().map(|listed| Handed {
        subject: telling.address_of(listed.entity.as_deref(), &listed.key),
        headers: telling.event_of(&listed).to_headers(),
        payload: listed.found.data,
        place: None,
    });
    let next = page.next.map(|next| next.as_str().to_owned());
    Ok((events.collect(), next))
}

impl FromSource {
    async fn page(
        &self,
        from: &str,
        limit: usize,
    ) -> Result<(Vec<Handed>, Option<String>), BackfillError> {
        let (first, end) = match read_place(from) {
            Some(place) => place,
            None => (self.first().await?, self.end()),
        };
        let Source::JetStream {
            stream, subjects, ..
        } = &self.pipeline.intake.source
        else {
            return Ok((Vec::new(), None));
        };
        let is_direct = self.stream.cached_info().config.allow_direct;
        let filter = match subjects.as_slice() {
            // Where several come at once, others too many cost less than choosing.
            [one] if !is_direct => one.as_str(),
            _ => ">",
        };
        let messages = self.messages(stream).from(filter, first, limit).await;
        let messages = messages.map_err(|why| unread(stream, why))?;
        let reached = messages.last().map_or(end, |message| message.sequence);
        let is_meant = |subject: &str| {
            subjects.is_empty() || subjects.iter().any(|pattern| pattern.matches(subject))
        };
        let created = self.stream.cached_info().created.unix_timestamp_nanos();
        let events = messages
            .into_iter()
            .filter(|message| message.sequence <= end && is_meant(&message.subject));
        let events = events.map(|message| Handed {
            subject: message.subject.to_string(),
            headers: headers_of(&message.headers),
            payload: message.payload,
            place: Some(Place {
                stream: stream.clone(),
                created: u64::try_from(created).unwrap_or_default(),
                sequence: message.sequence,
            }),
        });
        let events = events.collect();
        let next = (reached < end).then(|| format!("{}-{end}", reached + 1));
        Ok((events, next))
    }

    fn messages<'a>(&'a self, name: &'a str) -> Messages<'a, stream::Info> {
        Messages {
            stream: &self.stream,
            name,
            client: self.client.clone(),
            api: self.pipeline.intake.provision.prefix.as_deref(),
            is_direct: self.stream.cached_info().config.allow_direct,
        }
    }

    fn end(&self) -> u64 {
        self.stream.cached_info().state.last_sequence
    }

    /// The position of the first message since the time: looked for by halves, as positions and times rise together.
    async fn first(&self) -> Result<u64, BackfillError> {
        let state = &self.stream.cached_info().state;
        let name = &self.stream.cached_info().config.name;
        let (mut low, mut high) = (state.first_sequence, state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.messages(name).from(">", middle, 1).await;
            let found = found.map_err(|why| unread(name, why))?;
            match found.first() {
                Some(message) if message.time < self.since => low = message.sequence + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

fn unread(stream: &str, why: String) -> BackfillError {
    DriftError::Unavailable(format!("stream `{stream}`: {why}")).into()
}

/// `FIRST-END`.
fn read_place(text: &str) -> Option<(u64, u64)> {
    let (first, end) = text.split_once('-')?;
    Some((first.parse().ok()?, end.parse().ok()?))
}

fn headers_of(headers: &HeaderMap) -> Headers {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, values) in headers.iter() {
        let name = name.to_string();
        if !TOLD.iter().any(|told| name.eq_ignore_ascii_case(told)) {
            all.extend(values.iter().map(|value| (name.clone(), value.to_string())));
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Headers(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        assert_eq!(read_place("7-12"), Some((7, 12)));
        for none in ["", "7", "7-", "x-12"] {
            assert_eq!(read_place(none), None, "{none}");
        }
    }
}
