//! Publishing many messages in order, a window of them unconfirmed at a time.

use super::failure::Failure;
use super::message::Message;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use serde::Serialize;
use std::collections::BTreeSet;
use std::future::IntoFuture as _;

/// Messages on their way to the server whose acknowledgement is still out.
const WINDOW: usize = 512;

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Handed to the server.
    pub(super) sent: u64,
    /// Stored by a stream, which said so.
    pub(super) acked: u64,
    /// Among those acked: not stored again, since the stream holds them already.
    pub(super) duplicates: u64,
    /// Lines that were no event, and messages that no stream took.
    pub(super) failed: u64,
}

/// Subjects without a stream that are told one by one.
const MOST_HOMELESS: usize = 100;

type Answer = (u64, String, Result<PublishAck, PublishError>);

/// Publishes to JetStream and collects what it answers.
pub(super) struct Publisher {
    jetstream: Context,
    core: bool,
    unanswered: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What became of the messages so far.
    pub(super) tally: Tally,
    refused: Vec<anyhow::Error>,
    /// Subjects that no stream takes: each is told once.
    homeless: BTreeSet<String>,
}

impl Publisher {
    /// A publisher; with `core` no stream has to take the messages.
    pub(super) fn new(jetstream: Context, core: bool) -> Self {
        Self {
            jetstream,
            core,
            unanswered: FuturesUnordered::new(),
            tally: Tally::default(),
            refused: Vec::new(),
            homeless: BTreeSet::new(),
        }
    }

    /// Sends a message; waits only while the window is full.
    ///
    /// # Errors
    /// When the server cannot be reached: nothing more can be sent.
    pub(super) async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        if self.core {
            return self.send_core(message).await;
        }
        while self.unanswered.len() >= WINDOW {
            self.next_answer().await?;
        }
        let Message {
            line,
            subject,
            headers,
            payload,
        } = message;
        match self
            .jetstream
            .publish_with_headers(subject.clone(), headers, payload)
            .await
        {
            Ok(ack) => {
                self.tally.sent += 1;
                self.unanswered.push(answer(line, subject, ack));
                Ok(())
            }
            Err(error) => self.settle((line, subject, Err(error))),
        }
    }

    async fn send_core(&mut self, message: Message) -> anyhow::Result<()> {
        let Message {
            line,
            subject,
            headers,
            payload,
        } = message;
        let client = self.jetstream.client();
        match client
            .publish_with_headers(subject.clone(), headers, payload)
            .await
        {
            Ok(()) => self.tally.sent += 1,
            Err(error) => self.refuse(refusal(line, &subject).because(error)),
        }
        Ok(())
    }

    /// Waits until the server has answered for every message.
    ///
    /// # Errors
    /// When the server cannot be reached any more.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        if self.core {
            let flushed = self.jetstream.client().flush().await;
            return Ok(flushed.map_err(|error| {
                Failure::new("cannot hand the last messages to the server")
                    .because(error)
                    .unreachable()
            })?);
        }
        while !self.unanswered.is_empty() {
            self.next_answer().await?;
        }
        Ok(())
    }

    /// Notes a line that gives no message.
    pub(super) fn refuse(&mut self, failure: impl Into<anyhow::Error>) {
        self.tally.failed += 1;
        self.refused.push(failure.into());
    }

    /// The refusals since the last call.
    pub(super) fn take_refused(&mut self) -> Vec<anyhow::Error> {
        std::mem::take(&mut self.refused)
    }

    /// Whether a message found no stream.
    pub(super) fn found_no_stream(&self) -> bool {
        !self.homeless.is_empty()
    }

    async fn next_answer(&mut self) -> anyhow::Result<()> {
        match self.unanswered.next().await {
            Some(answer) => self.settle(answer),
            None => Ok(()),
        }
    }

    /// Counts an answer. Faults of one message are noted, those of the connection end everything.
    fn settle(&mut self, (line, subject, result): Answer) -> anyhow::Result<()> {
        let error = match result {
            Ok(ack) => {
                self.tally.acked += 1;
                self.tally.duplicates += u64::from(ack.duplicate);
                return Ok(());
            }
            Err(error) => error,
        };
        let failure = refusal(line, &subject);
        match error.kind() {
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Err(failure
                .because(error)
                .remedy(
                    "check that the server runs, then send the same input again: events with an \
                     `id` that were stored already are recognised within the stream's window",
                )
                .unreachable()
                .into()),
            PublishErrorKind::StreamNotFound => {
                if self.homeless.len() < MOST_HOMELESS && self.homeless.insert(subject) {
                    self.refused.push(without_stream(failure).into());
                }
                self.tally.failed += 1;
                Ok(())
            }
            _ => {
                self.refuse(failure.because(error));
                Ok(())
            }
        }
    }
}

fn answer(line: u64, subject: String, ack: PublishAckFuture) -> BoxFuture<'static, Answer> {
    ack.into_future()
        .map(move |result| (line, subject, result))
        .boxed()
}

fn without_stream(failure: Failure) -> Failure {
    failure.why("no stream takes this subject").remedy(
        "start the runtime whose pipeline makes the stream (`create = true`), correct the subject, \
         or send with `--core` to subscribers without a stream",
    )
}

fn refusal(line: u64, subject: &str) -> Failure {
    Failure::new(format!("cannot publish line {line} to `{subject}`"))
}
