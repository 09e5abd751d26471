//! The next messages of a stream, by their positions and without a consumer.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::{Client, StatusCode};
use futures::StreamExt as _;
use std::fmt::Display;

/// Messages that are asked for at once, at most.
pub const MOST: usize = 256;
/// Bytes of messages after which an answer ends.
pub const BYTES: usize = 4 * 1024 * 1024;
/// The answer to a request for several messages has come to its end.
const END: u16 = 204;

/// A stream, and how its messages are asked for.
pub struct Messages<'a, I> {
    /// The stream.
    pub stream: &'a Stream<I>,
    /// Its name.
    pub name: &'a str,
    /// Who asks.
    pub client: Client,
    /// What the subjects of the JetStream API begin with; none: with `$JS.API`.
    pub api: Option<&'a str>,
    /// Whether any server that holds it may be asked; else its leader is, for one message at a time.
    pub is_direct: bool,
}

impl<I> Messages<'_, I> {
    /// Some messages that `filter` matches at `position` or behind it, the next ones first; none: there are no more.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn from(
        &self,
        filter: &str,
        position: u64,
        n_wanted: usize,
    ) -> Result<Vec<StreamMessage>, String> {
        if self.is_direct {
            let messages = self.several(filter, position, n_wanted.min(MOST)).await?;
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
        // Whoever answered may not have everything yet: that it was the end is for the leader to say.
        let next = self
            .stream
            .get_first_raw_message_by_subject(filter, position);
        match next.await {
            Ok(message) => Ok(vec![message]),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Vec::new()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The same with one request, answered by any server that holds the stream.
    async fn several(
        &self,
        filter: &str,
        position: u64,
        n_wanted: usize,
    ) -> Result<Vec<StreamMessage>, String> {
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await;
        let mut answers = answers.map_err(|error| failed(&error))?;
        let subject = format!("{}.DIRECT.GET.{}", self.api.unwrap_or("$JS.API"), self.name);
        let request = serde_json::json!({
            "seq": position, "next_by_subj": filter, "batch": n_wanted, "max_bytes": BYTES,
        });
        let request = request.to_string().into();
        let asked = self.client.publish_with_reply(subject, inbox, request);
        asked.await.map_err(|error| failed(&error))?;
        let mut messages: Vec<StreamMessage> = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.status {
                None => {}
                Some(status) if status.as_u16() == END || status == StatusCode::NOT_FOUND => {
                    return Ok(messages);
                }
                Some(status) => {
                    let said = answer.description.as_deref().unwrap_or_default();
                    return Err(failed(&format!("{status} {said}")));
                }
            }
            let message = StreamMessage::try_from(answer).map_err(|error| failed(&error))?;
            let before = messages.last().map(|message| message.sequence);
            if before.is_some_and(|before| !follows(&message, before)) {
                return Err(failed(&"a part of the answer was lost"));
            }
            messages.push(message);
        }
        Err(failed(&"the answer ended early"))
    }
}

/// Whether `message` was sent right behind the one at `before`, as far as it says.
fn follows(message: &StreamMessage, before: u64) -> bool {
    let said = message.headers.get("Nats-Last-Sequence");
    let said = said.and_then(|said| said.as_str().parse::<u64>().ok());
    said.is_none_or(|said| said == before)
}

fn failed(error: &dyn Display) -> String {
    format!("reading the next messages: {error}")
}
