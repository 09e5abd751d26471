//! A plugin's answer as JSON: what `call` prints and cases expect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use syncline::event::{
    Effect, Envelope, Forwarded, Headers, Next, Operation, Precondition, Verdict,
};
use syncline::plugin::CallError;

/// One answer. What is absent or empty is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// The event's `id`; cases leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    effects: Vec<EffectJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct EffectJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    operation: Operation,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    precondition: Option<Precondition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "has_none")]
    headers: Headers,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Answer {
    /// The answer to `envelope`, or `None` when the host could not even ask.
    pub(super) fn of(
        envelope: &Envelope,
        result: Result<Verdict, CallError>,
    ) -> Result<Self, CallError> {
        let plain = |verdict, reason| Self {
            verdict,
            reason: Some(reason),
            ..Self::default()
        };
        Ok(match result {
            Ok(Verdict::Accept(acceptance)) => {
                let (next, events) = next_json(acceptance.next, &envelope.data);
                Self {
                    verdict: "accept",
                    next: Some(next),
                    effects: acceptance.effects.into_iter().map(EffectJson::of).collect(),
                    events,
                    ..Self::default()
                }
            }
            Ok(Verdict::Drop(reason)) => plain("drop", reason),
            Ok(Verdict::Retry { reason, after }) => {
                let after_ms = after.and_then(|after| u64::try_from(after.as_millis()).ok());
                Self {
                    after_ms,
                    ..plain("retry", reason)
                }
            }
            Ok(Verdict::Reject(reason)) => plain("reject", reason),
            Err(fault @ CallError::Trap { .. }) => plain("trap", without_label(&fault)),
            Err(fault @ CallError::Timeout { .. }) => plain("timeout", fault.to_string()),
            // A pipeline gives such an event up as it does a rejected one.
            Err(fault @ CallError::Answer(_)) => plain("reject", fault.to_string()),
            Err(fault @ CallError::Host(_)) => return Err(fault),
        })
    }

    /// With the event's `id`.
    pub(super) fn with_id(self, id: &str) -> Self {
        Self {
            id: Some(id.to_owned()),
            ..self
        }
    }
}

impl EffectJson {
    fn of(effect: Effect) -> Self {
        let (payload, payload_base64) =
            payload_json(effect.content_type.as_deref(), &effect.payload);
        Self {
            target: effect.target,
            entity: effect.entity,
            operation: effect.operation,
            key: effect.key,
            precondition: effect.precondition,
            content_type: effect.content_type,
            headers: effect.headers,
            payload,
            payload_base64,
        }
    }
}

/// The word `trap` is the verdict already.
fn without_label(fault: &CallError) -> String {
    let text = fault.to_string();
    text.strip_prefix("trap: ")
        .map(str::to_owned)
        .unwrap_or(text)
}

fn next_json(next: Next, incoming: &Bytes) -> (&'static str, Vec<Value>) {
    match next {
        Next::Stop => ("stop", Vec::new()),
        Next::Pass => ("pass", Vec::new()),
        Next::Forward(children) => {
            let event =
                |child: Forwarded| child.event.to_json(&child.data.unwrap_or(incoming.clone()));
            ("forward", children.into_iter().map(event).collect())
        }
    }
}

/// A payload as JSON where its content type is JSON or unsaid and it parses, else in base64.
pub(super) fn payload_json(
    content_type: Option<&str>,
    payload: &Bytes,
) -> (Option<Value>, Option<String>) {
    if payload.is_empty() {
        return (None, None);
    }
    let json = content_type
        .is_none_or(is_json)
        .then(|| serde_json::from_slice(payload).ok());
    match json.flatten() {
        Some(value) => (Some(value), None),
        None => (None, Some(STANDARD.encode(payload))),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn has_none(headers: &Headers) -> bool {
    headers.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;
    use syncline::event::{Acceptance, Event};

    fn incoming() -> Envelope {
        let text = br#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1}}"#;
        super::super::event_line::strict(text)
            .unwrap()
            .envelope("test", 1, None)
    }

    fn printed(result: Result<Verdict, CallError>) -> Value {
        serde_json::to_value(Answer::of(&incoming(), result).unwrap()).unwrap()
    }

    fn effect(payload: &'static [u8], content_type: Option<&str>) -> Effect {
        Effect {
            target: None,
            entity: None,
            operation: Operation::Upsert,
            key: "k".into(),
            precondition: None,
            content_type: content_type.map(str::to_owned),
            headers: Headers::default(),
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn plain_verdicts_have_a_reason() {
        let retry = Verdict::Retry {
            reason: "busy".into(),
            after: Some(Duration::from_secs(2)),
        };
        let cases = [
            (
                Verdict::Drop("old".into()),
                json!({ "verdict": "drop", "reason": "old" }),
            ),
            (
                Verdict::Reject("bad".into()),
                json!({ "verdict": "reject", "reason": "bad" }),
            ),
            (
                retry,
                json!({ "verdict": "retry", "reason": "busy", "after_ms": 2000 }),
            ),
        ];
        for (verdict, expected) in cases {
            assert_eq!(printed(Ok(verdict)), expected);
        }
    }

    #[test]
    fn what_is_absent_or_empty_is_left_out() {
        let pass = Acceptance {
            effects: vec![],
            next: Next::Pass,
        };
        let expected = json!({ "verdict": "accept", "next": "pass" });
        assert_eq!(printed(Ok(Verdict::Accept(pass))), expected);
        let bare = Acceptance {
            effects: vec![effect(b"", None)],
            next: Next::Stop,
        };
        let expected = json!({ "verdict": "accept", "next": "stop",
            "effects": [{ "operation": "upsert", "key": "k" }] });
        assert_eq!(printed(Ok(Verdict::Accept(bare))), expected);
    }

    #[test]
    fn payloads_are_json_where_they_are_json_else_base64() {
        let mut full = effect(b"{\"x\":1}", Some("application/merge-patch+json"));
        full.target = Some("crm".into());
        full.precondition = Some(Precondition::Etag("3".into()));
        full.headers.push("a", "b");
        let effects = vec![
            full,
            effect(b"plain", Some("text/plain")),
            effect(b"{", None),
        ];
        let answer = printed(Ok(Verdict::Accept(Acceptance {
            effects,
            next: Next::Stop,
        })));
        let expected = json!([
            { "target": "crm", "operation": "upsert", "key": "k", "precondition": { "etag": "3" },
              "content_type": "application/merge-patch+json", "headers": [["a", "b"]],
              "payload": { "x": 1 } },
            { "operation": "upsert", "key": "k", "content_type": "text/plain",
              "payload_base64": "cGxhaW4=" },
            { "operation": "upsert", "key": "k", "payload_base64": "ew==" },
        ]);
        assert_eq!(answer["effects"], expected);
    }

    #[test]
    fn a_forwarded_event_without_data_shows_the_incoming_data() {
        let event = Event {
            id: "c".into(),
            source: "/s".into(),
            kind: "u".into(),
            ..Event::default()
        };
        let child = Forwarded { event, data: None };
        let next = Next::Forward(vec![child]);
        let answer = printed(Ok(Verdict::Accept(Acceptance {
            effects: vec![],
            next,
        })));
        let child = json!({ "specversion": "1.0", "id": "c", "source": "/s", "type": "u",
            "data": { "a": 1 } });
        let expected = json!({ "verdict": "accept", "next": "forward", "events": [child] });
        assert_eq!(answer, expected);
    }

    #[test]
    fn faults_of_the_guest_are_verdicts_and_faults_of_the_host_are_errors() {
        let trap = CallError::Trap {
            message: "unreachable".into(),
            output: "oh no".into(),
        };
        assert_eq!(printed(Err(trap))["verdict"], "trap");
        let late = CallError::Timeout {
            what: "guest time",
            limit: Duration::from_millis(250),
            output: String::new(),
        };
        assert_eq!(printed(Err(late))["verdict"], "timeout");
        assert_eq!(
            printed(Err(CallError::Answer("key".into())))["verdict"],
            "reject"
        );
        assert!(Answer::of(&incoming(), Err(CallError::Host("gone".into()))).is_err());
    }
}
