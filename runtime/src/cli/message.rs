//! What `send` makes of a line of input: a message with its subject, headers and body.

use super::event_line::{self, Completion, EventLine};
use super::failure::Failure;
use super::lines::Line;
use super::subject::Subject;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use syncline::event::{EventId, reserved};
use time::OffsetDateTime;

/// A message to publish.
#[derive(Debug)]
pub(super) struct Message {
    /// The line of input that it was made from.
    pub(super) line: u64,
    /// Where it goes.
    pub(super) subject: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) payload: Bytes,
}

/// How messages are made.
#[derive(Debug, clap::Args)]
pub(super) struct Form {
    /// Where the events go, for example `events.{type}`
    pub(super) subject: Subject,

    /// The `type` of events that have none
    #[arg(long = "type", value_name = "TYPE", default_value = "event")]
    kind: String,

    /// The `source` of events that have none
    #[arg(long, value_name = "URI", default_value = "syncline-send")]
    source: String,

    /// Publish events in structured mode, as application/cloudevents+json
    #[arg(long, conflicts_with = "raw")]
    structured: bool,

    /// Publish each line as it is, without looking into it
    #[arg(long)]
    raw: bool,

    /// Send no message ids: the stream stores events again that it holds already
    #[arg(long)]
    no_dedupe: bool,
}

impl Form {
    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// Naming them.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.raw && !self.subject.is_fixed() {
            let failure = Failure::new(format!("cannot send `--raw` to `{}`", self.subject));
            let failure = failure.why("lines that are not looked into fill no placeholder");
            return Err(failure
                .remedy("name a subject without `{..}`")
                .usage()
                .into());
        }
        Ok(())
    }

    /// The message that a line asks for.
    ///
    /// # Errors
    /// When the line is no event, or cannot be sent as one.
    pub(super) fn message(&self, line: Line) -> anyhow::Result<Message> {
        let number = line.number;
        let failure = || Failure::new(format!("line {number} of stdin cannot be sent"));
        let content = line
            .content
            .ok_or_else(|| failure().why("it is longer than 64 MiB"))?;
        if self.raw {
            let subject = self.subject.to_string();
            let (headers, payload) = (HeaderMap::new(), content.into());
            return Ok(Message {
                line: number,
                subject,
                headers,
                payload,
            });
        }
        let time = Some(OffsetDateTime::now_utc());
        let with = Completion {
            source: &self.source,
            kind: &self.kind,
            id: None,
            time,
        };
        let event = event_line::complete(&content, &with).map_err(|error| {
            failure()
                .because(error)
                .remedy("write one JSON value per line, or send with `--raw`")
        })?;
        let subject = self
            .subject
            .of(&event.event)
            .map_err(|error| failure().because(error))?;
        let (headers, payload) = self
            .encode(&event)
            .map_err(|error| failure().because(error))?;
        Ok(Message {
            line: number,
            subject,
            headers,
            payload,
        })
    }

    /// Binary mode: attributes in `ce-` headers, data in the body. Structured mode: all in it.
    fn encode(&self, line: &EventLine) -> anyhow::Result<(HeaderMap, Bytes)> {
        let EventLine { event, data } = line;
        let mut headers = HeaderMap::new();
        if !self.no_dedupe {
            let id = EventId::of(&event.source, &event.id);
            headers.insert(reserved::MESSAGE_ID, id.as_str());
        }
        if self.structured {
            headers.insert(reserved::CONTENT_TYPE, "application/cloudevents+json");
            return Ok((headers, event.to_json(data).to_string().into()));
        }
        for (name, value) in event.to_headers().iter() {
            // Checked, since what comes from outside may hold anything.
            headers.append(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
        }
        Ok((headers, data.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::Value;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        form: Form,
    }

    fn made(text: &str, more: &[&str]) -> anyhow::Result<Message> {
        let all = ["send", "events.{type}"]
            .into_iter()
            .chain(more.iter().copied());
        let form = Command::try_parse_from(all).unwrap().form;
        form.message(Line {
            number: 1,
            content: Some(text.into()),
        })
    }

    fn header(message: &Message, name: &str) -> Option<String> {
        message.headers.get(name).map(ToString::to_string)
    }

    #[test]
    fn a_bare_object_is_sent_as_the_data_of_a_new_event() {
        let message = made(r#"{"id":"42"}"#, &["--type", "a.b"]).unwrap();
        assert_eq!(message.subject, "events.a.b");
        assert_eq!(message.payload, &br#"{"id":"42"}"#[..]);
        assert_eq!(header(&message, "ce-specversion").as_deref(), Some("1.0"));
        assert_eq!(
            header(&message, "ce-source").as_deref(),
            Some("syncline-send")
        );
        assert!(header(&message, "ce-time").is_some());
        assert!(header(&message, "Nats-Msg-Id").is_some());
    }

    #[test]
    fn the_message_id_is_made_from_source_and_id_only() {
        let id = |text: &str, more: &[&str]| header(&made(text, more).unwrap(), "Nats-Msg-Id");
        let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}"#;
        let again = r#"{"specversion":"1.0","id":"1","source":"/s","type":"u","data":2}"#;
        let other = r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","data":1}"#;
        assert_eq!(id(one, &[]), id(again, &["--structured"]));
        assert_ne!(id(one, &[]), id(other, &[]));
        assert_eq!(id(one, &["--no-dedupe"]), None);
    }

    #[test]
    fn structured_mode_puts_everything_into_the_body() {
        let time = "2026-01-01T00:00:00Z";
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"{time}","data":1}}"#
        );
        let message = made(&text, &["--structured"]).unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body, serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn a_header_that_would_break_the_protocol_is_refused() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t""#;
        let text = format!(r#"{event},"datacontenttype":"a\r\nb"}}"#);
        assert!(made(&text, &[]).is_err());
    }

    #[test]
    fn raw_lines_fill_no_placeholder() {
        let form = Command::try_parse_from(["send", "events.{type}", "--raw"])
            .unwrap()
            .form;
        assert!(form.check().is_err());
    }
}
