//! Events of core NATS in flight, and those who sent them as requests and wait to hear how they
//! end.

use super::Config;
use super::budget::Budget;
use crate::event::{DeadReason, Disposition, Envelope, Outcome, Report, Settle};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Headers by which NATS services tell errors.
const ERROR: &str = "Nats-Service-Error";
const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// Room for the headers of an answer.
const MARGIN: usize = 8 * 1_024;

/// Places in flight, and whom to answer.
pub(super) struct Requests {
    pipeline: String,
    n_free: AtomicUsize,
    budget: Arc<Budget>,
    open: Mutex<HashMap<u64, InFlight>>,
    outgoing: mpsc::Sender<Answer>,
}

/// An event, and who waits to hear of it.
struct InFlight {
    n_bytes: u64,
    waiting: Option<Waiting>,
}

/// Somebody who waits.
struct Waiting {
    reply: Subject,
    event: Named,
    letter: String,
}

struct Answer {
    reply: Subject,
    /// Code and text.
    error: Option<(u16, String)>,
    body: Body,
}

/// How an event ended, in JSON.
#[derive(Debug, Default, Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// As `dlq show` wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<String>,
    effects: usize,
    events: Vec<Value>,
    /// How many there were, where the answer would have been too long with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_left_out: Option<usize>,
}

/// An event by its attributes.
#[derive(Debug, Serialize)]
struct Named {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Why a request was not begun.
#[derive(Debug, Clone, Copy)]
pub(super) enum TurnedAway {
    /// More wait than may.
    TooMany,
    /// The runtime ends.
    Ending,
}

/// Answers on their way out.
pub(super) struct Outgoing(mpsc::Receiver<Answer>);

impl Requests {
    /// Room for as many events in flight as `config` says, and for the answers to as many requests as
    /// `pending` besides.
    pub(super) fn new(
        config: &Config,
        pending: usize,
        budget: Arc<Budget>,
    ) -> (Arc<Self>, Outgoing) {
        let n_places = config.max_events;
        let (outgoing, queue) = mpsc::channel(n_places.saturating_add(pending).max(1_024));
        let requests = Self {
            pipeline: config.pipeline.clone(),
            n_free: AtomicUsize::new(n_places),
            budget,
            open: Mutex::default(),
            outgoing,
        };
        (Arc::new(requests), Outgoing(queue))
    }

    /// Whether a message of this size may be begun while so many bytes are free.
    pub(super) fn has_room(&self, n_bytes: u64, free: u64) -> bool {
        let fits = free >= n_bytes || free == self.budget.limit();
        fits && self.n_free.load(Ordering::Acquire) > 0
    }

    /// Takes a place in flight.
    pub(super) fn begin(&self, ticket: u64, n_bytes: u64) {
        self.n_free.fetch_sub(1, Ordering::AcqRel);
        self.budget.take(n_bytes);
        let in_flight = InFlight {
            n_bytes,
            waiting: None,
        };
        self.open.lock().insert(ticket, in_flight);
    }

    /// Frees the place, and says who waits.
    fn end(&self, ticket: u64) -> Option<Waiting> {
        let in_flight = self.open.lock().remove(&ticket)?;
        self.n_free.fetch_add(1, Ordering::AcqRel);
        self.budget.give_back(in_flight.n_bytes);
        in_flight.waiting
    }

    /// Notes who waits for the event of `ticket`.
    pub(super) fn open(&self, ticket: u64, reply: Subject, envelope: &Envelope) {
        let event = &envelope.event;
        let waiting = Waiting {
            reply,
            event: Named {
                id: event.id.clone(),
                source: event.source.clone(),
                kind: event.kind.clone(),
            },
            letter: format!("{}.{}", self.pipeline, envelope.origin.id),
        };
        if let Some(in_flight) = self.open.lock().get_mut(&ticket) {
            in_flight.waiting = Some(waiting);
        }
    }

    /// Tells whoever waits that the request was not begun.
    pub(super) fn turn_away(&self, reply: Subject, why: TurnedAway) {
        let (code, text) = match why {
            TurnedAway::TooMany => (429, "too many requests wait: ask again later"),
            TurnedAway::Ending => (503, "the runtime ends: ask again"),
        };
        self.send(Answer {
            reply,
            error: Some((code, text.to_owned())),
            body: Body {
                error: Some(text.to_owned()),
                ..Body::default()
            },
        });
    }

    fn send(&self, answer: Answer) {
        if self.outgoing.try_send(answer).is_err() {
            tracing::warn!(pipeline = %self.pipeline, "an answer to a request is lost");
        }
    }
}

impl Settle for Requests {
    /// The event did not end: it is given back, and nobody else takes it.
    fn settle(&self, ticket: u64, disposition: Disposition) {
        if let (Some(waiting), Disposition::GiveBack) = (self.end(ticket), disposition) {
            self.turn_away(waiting.reply, TurnedAway::Ending);
        }
    }

    fn is_asked(&self, ticket: u64) -> bool {
        let open = self.open.lock();
        open.get(&ticket)
            .is_some_and(|in_flight| in_flight.waiting.is_some())
    }

    fn report(&self, ticket: u64, report: Report) {
        if let Some(waiting) = self.end(ticket) {
            self.send(waiting.answer(&report));
        }
    }
}

impl Waiting {
    fn answer(self, report: &Report) -> Answer {
        let events = report.standing.iter();
        let events: Vec<_> = events
            .map(|envelope| envelope.event.to_json(&envelope.data))
            .collect();
        let failure = report.failure.as_ref();
        let error = failure
            .map(|(reason, error)| (code_of(*reason), format!("{}: {error}", reason.as_str())));
        let body = Body {
            outcome: Some(report.outcome.as_str()),
            event: Some(self.event),
            reason: failure.map(|(reason, _)| reason.as_str()),
            error: failure.map(|(_, error)| error.clone()),
            dead_letter: (report.outcome == Outcome::Dead).then_some(self.letter),
            effects: report.n_effects,
            events,
            events_left_out: None,
        };
        Answer {
            reply: self.reply,
            error,
            body,
        }
    }
}

/// In the numbers of HTTP, as NATS services use them.
fn code_of(reason: DeadReason) -> u16 {
    match reason {
        DeadReason::Invalid => 400,
        DeadReason::Conflict => 409,
        DeadReason::Reject | DeadReason::Contract => 422,
        DeadReason::Hops => 508,
        DeadReason::Trap | DeadReason::BadAnswer => 500,
        DeadReason::Refused => 502,
        DeadReason::Exhausted | DeadReason::Parked => 503,
    }
}

impl Outgoing {
    /// Sends answers until nobody can give one any more, then flushes.
    pub(super) async fn send(mut self, client: Client) {
        while let Some(answer) = self.0.recv().await {
            let (reply, headers, body) = answer.encode(client.server_info().max_payload);
            let sent = client.publish_with_headers(reply, headers, body).await;
            if let Err(error) = sent {
                tracing::warn!(%error, "an answer to a request could not be sent");
            }
        }
        drop(client.flush().await);
    }
}

impl Answer {
    /// The message, without its events where it would be too long with them.
    fn encode(mut self, max_payload: usize) -> (Subject, HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json");
        if let Some((code, text)) = &self.error {
            let line: String = text.chars().take(1_024).collect();
            headers.insert(ERROR, line.replace(['\r', '\n'], " "));
            headers.insert(ERROR_CODE, code.to_string());
        }
        let mut body = serde_json::to_vec(&self.body).unwrap_or_default();
        if body.len().saturating_add(MARGIN) > max_payload {
            self.body.events_left_out = Some(std::mem::take(&mut self.body.events).len());
            body = serde_json::to_vec(&self.body).unwrap_or_default();
        }
        (self.reply, headers, body.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_that_is_too_long_leaves_its_events_out_and_says_so() {
        let answer = |n_bytes: usize| Answer {
            reply: "r".into(),
            error: Some((422, "no\r\nInjected: 1".to_owned())),
            body: Body {
                outcome: Some("done"),
                events: vec![json!("x".repeat(n_bytes))],
                ..Body::default()
            },
        };
        let (_, headers, body) = answer(10).encode(MARGIN + 1_000);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["events"].as_array().unwrap().len(), 1);
        assert_eq!(headers.get(ERROR).unwrap().as_str(), "no  Injected: 1");
        let (_, _, body) = answer(1_000).encode(MARGIN + 1_000);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({"outcome": "done", "effects": 0, "events": [], "events_left_out": 1});
        assert_eq!(body, expected);
    }
}
