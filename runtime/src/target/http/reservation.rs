//! The part of a transaction that a module of level M3 has: it is tried, which reserves what it needs,
//! and confirmed or cancelled later, as whoever decides says (TCC).
//!
//! A name tells the part of each attempt at an event from every other. Each request may be repeated,
//! by anybody, at any time, and may come late: a name that was cancelled stays so, also when nothing was
//! tried under it, and so does one that was confirmed. `410 Gone` says that a name ended the other way.

use super::status::{Meaning, meaning_of};
use super::{Http, Level, NoAnswer, of_event, said, set};
use crate::event::{Effect, Operation, Precondition};
use crate::target::{Answer, Branch, Cause, Undone, Work};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;

/// It ended the other way.
const GONE: u16 = 410;

/// What is tried.
#[derive(Serialize)]
struct Trial<'a> {
    /// In the order of the plan.
    effects: Vec<Tried<'a>>,
}

/// One effect as the module gets it.
#[derive(Serialize)]
struct Tried<'a> {
    operation: Operation,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_match: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_none_match: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    /// As it came, where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> Tried<'a> {
    fn of(effect: &'a Effect) -> Self {
        let (if_match, if_none_match) = match &effect.precondition {
            None => (None, None),
            Some(Precondition::Absent) => (None, Some("*")),
            Some(Precondition::Present) => (Some("*"), None),
            Some(Precondition::Etag(etag)) => (Some(etag.as_str()), None),
        };
        let has_payload = effect.operation != Operation::Delete && !effect.payload.is_empty();
        let payload: Option<&RawValue> = has_payload
            .then(|| serde_json::from_slice(&effect.payload).ok())
            .flatten();
        Self {
            operation: effect.operation,
            entity: effect.entity.as_deref(),
            key: &effect.key,
            if_match,
            if_none_match,
            content_type: effect.content_type.as_deref(),
            payload_base64: (has_payload && payload.is_none())
                .then(|| STANDARD.encode(&effect.payload)),
            payload,
        }
    }
}

impl Http {
    /// Whether it can reserve what an event needs.
    pub(in crate::target) fn reserves(&self) -> bool {
        self.settings.level == Level::M3
    }

    /// Has `work` tried: it can be made from then on, and nobody sees it. The answer, and whether the
    /// module was not heard.
    pub(in crate::target) async fn reserve(
        &self,
        branch: &Branch,
        work: &[Work<'_>],
        cause: &Cause,
    ) -> (Answer, bool) {
        let trial = Trial {
            effects: work
                .iter()
                .map(|work| Tried::of(&work.planned.effect))
                .collect(),
        };
        let headers = of_event(cause).and_then(|mut headers| {
            set(&mut headers, "content-type", "application/json")?;
            Ok(headers)
        });
        let body = serde_json::to_vec(&trial).map_err(|error| error.to_string());
        let (headers, body) = match headers.and_then(|headers| Ok((headers, body?))) {
            Ok(request) => request,
            Err(why) => return (Answer::Refused(why), false),
        };
        let tried = self.part(Method::POST, branch.name(), headers, body.into());
        match tried.await {
            Ok((status, body)) => {
                let said = said(status, &body);
                match meaning_of(status, Operation::Append) {
                    Meaning::Applied => (Answer::Applied, false),
                    Meaning::Refused => (Answer::Refused(said), false),
                    Meaning::Conflict => (Answer::Conflict(said), false),
                    Meaning::Unknown => (Answer::Unknown(said), false),
                    Meaning::Silence => (Answer::Unknown(said), true),
                }
            }
            Err(NoAnswer(why)) => (Answer::Unknown(why), true),
        }
    }

    /// Has what was tried made. Nothing but a yes ends it, or that it was cancelled.
    pub(in crate::target) async fn confirm(&self, branch: &Branch) -> (Answer, bool) {
        match self.end(Method::PUT, branch).await {
            Ok((200..=299, _)) => (Answer::Applied, false),
            Ok((GONE, body)) => {
                let why = format!("it was cancelled, or is not known: {}", said(GONE, &body));
                (Answer::Refused(why), false)
            }
            Ok((status, body)) => {
                let meaning = meaning_of(status, Operation::Upsert);
                (
                    Answer::Unknown(said(status, &body)),
                    meaning == Meaning::Silence,
                )
            }
            Err(NoAnswer(why)) => (Answer::Unknown(why), true),
        }
    }

    /// Takes back what may have been tried, and sees to it that it is not tried any more.
    pub(in crate::target) async fn cancel(&self, branch: &Branch) -> Undone {
        match self.end(Method::DELETE, branch).await {
            Ok((200..=299, _)) => Undone::Restored,
            Ok((GONE, body)) => Undone::Foreign(format!("it was confirmed: {}", said(GONE, &body))),
            Ok((status, body)) => Undone::Unknown(said(status, &body)),
            Err(NoAnswer(why)) => Undone::Unknown(why),
        }
    }

    async fn end(&self, method: Method, branch: &Branch) -> Result<(u16, Bytes), NoAnswer> {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        self.part(method, branch.name(), headers, body).await
    }

    /// A request about the part of this name.
    pub(super) async fn part(
        &self,
        method: Method,
        name: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(u16, Bytes), NoAnswer> {
        let Some(transactions) = &self.settings.transactions else {
            return Err(NoAnswer("the target has no `transactions`".to_owned()));
        };
        self.turn().await;
        let url = transactions.expand(name);
        let asked = self.ask_at(method, (&url, transactions), headers, body);
        let (status, _, body) = asked.await?;
        Ok((status, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Headers;

    fn effect(operation: Operation, payload: &'static [u8]) -> Effect {
        Effect {
            target: None,
            entity: Some("person".to_owned()),
            operation,
            key: "a/b".to_owned(),
            precondition: Some(Precondition::Etag("\"7\"".to_owned())),
            content_type: None,
            headers: Headers::default(),
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn payloads_are_tried_as_they_came() {
        let json = |effect: &Effect| serde_json::to_string(&Tried::of(effect)).unwrap();
        let number = b"{\"n\": 12345678901234567890.50}";
        assert_eq!(
            json(&effect(Operation::Upsert, number)),
            r#"{"operation":"upsert","entity":"person","key":"a/b","if_match":"\"7\"","payload":{"n": 12345678901234567890.50}}"#
        );
        let expected = r#"{"operation":"append","entity":"person","key":"a/b","if_match":"\"7\"","payload_base64":"/w=="}"#;
        assert_eq!(json(&effect(Operation::Append, b"\xff")), expected);
        let deleted = json(&effect(Operation::Delete, b"{}"));
        assert!(!deleted.contains("payload"), "{deleted}");
    }
}
