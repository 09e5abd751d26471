//! Events and verdicts in the JSON forms of case files and of `syncline call`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::bindings::syncline::plugin::types;
use crate::event::is_json;
use crate::{Delivery, Effect, Event, Next, Operation, Precondition, Verdict};

type Object = Map<String, Value>;

/// Reads a CloudEvent in the JSON format.
pub(super) fn read_event(event: &Value, delivery: Delivery) -> Result<Event, String> {
    let mut rest = event
        .as_object()
        .ok_or("an event is a JSON object")?
        .clone();
    rest.remove("specversion");
    let mut text = |name: &str| match rest.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("event: {name} is a string, not {other}")),
    };
    let needed = |name: &str, value: Option<String>| value.ok_or(format!("event: no {name}"));
    let id = text("id")?;
    let attributes = types::Event {
        source: text("source")?.unwrap_or_else(|| "/test".into()),
        type_: needed("type", text("type")?)?,
        subject: text("subject")?,
        time: text("time")?,
        data_content_type: text("datacontenttype")?,
        data_schema: text("dataschema")?,
        id: needed("id", id)?,
        attributes: Vec::new(),
        headers: Vec::new(),
    };
    let data = read_data(&mut rest, attributes.data_content_type.as_deref())?;
    let extensions = rest
        .into_iter()
        .map(|(name, value)| (name, plain(value)))
        .collect();
    let event = types::Event {
        attributes: extensions,
        ..attributes
    };
    Ok(Event::from_wit(types::Incoming {
        event,
        data,
        delivery,
    }))
}

fn read_data(event: &mut Object, content_type: Option<&str>) -> Result<Vec<u8>, String> {
    match (event.remove("data"), event.remove("data_base64")) {
        (None | Some(Value::Null), None) => Ok(Vec::new()),
        (None, Some(Value::String(text))) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("event: data_base64: {error}")),
        (Some(Value::String(text)), None) if !content_type.is_none_or(is_json) => {
            Ok(text.into_bytes())
        }
        (Some(data), None) => Ok(data.to_string().into_bytes()),
        _ => Err("event: data, or data_base64 as a string, not both".into()),
    }
}

/// A verdict as `syncline call` prints it, without the event's id.
pub(super) fn verdict(verdict: &Verdict) -> Value {
    let mut object = Object::new();
    let mut set = |name: &str, value: Value| drop(object.insert(name.into(), value));
    match verdict {
        Verdict::Accept { effects, next } => {
            set("verdict", "accept".into());
            set("next", name_of(next).into());
            if !effects.is_empty() {
                set("effects", effects.iter().map(effect).collect());
            }
            if !verdict.forwarded().is_empty() {
                set("events", verdict.forwarded().iter().map(event).collect());
            }
        }
        Verdict::Drop(reason) => {
            set("verdict", "drop".into());
            set("reason", reason.as_str().into());
        }
        Verdict::Retry { reason, after } => {
            set("verdict", "retry".into());
            set("reason", reason.as_str().into());
            if let Some(after) = after {
                set("after_ms", json!(after.as_millis() as u64));
            }
        }
        Verdict::Reject(reason) => {
            set("verdict", "reject".into());
            set("reason", reason.as_str().into());
        }
    }
    Value::Object(object)
}

fn name_of(next: &Next) -> &'static str {
    match next {
        Next::Stop => "stop",
        Next::Pass => "pass",
        Next::Forward(_) => "forward",
    }
}

fn effect(effect: &Effect) -> Value {
    let mut object = Object::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.into(), value);
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    set("target", text(&effect.target));
    set("entity", text(&effect.entity));
    set("operation", Some(operation(effect.operation).into()));
    set("key", Some(effect.key.as_str().into()));
    set(
        "precondition",
        effect.precondition.as_ref().map(precondition),
    );
    set("content_type", text(&effect.content_type));
    set(
        "headers",
        (!effect.headers.is_empty()).then(|| json!(effect.headers)),
    );
    let (name, payload) = effect_payload(effect);
    set(name, payload);
    Value::Object(object)
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Upsert => "upsert",
        Operation::Merge => "merge",
        Operation::Delete => "delete",
        Operation::Append => "append",
    }
}

fn precondition(precondition: &Precondition) -> Value {
    match precondition {
        Precondition::Absent => "absent".into(),
        Precondition::Present => "present".into(),
        Precondition::Etag(etag) => json!({ "etag": etag }),
    }
}

fn event(event: &Event) -> Value {
    let mut object = Object::new();
    let fixed = [
        ("specversion", Some("1.0")),
        ("id", Some(event.id.as_str())),
        ("source", Some(event.source.as_str())),
        ("type", Some(event.type_.as_str())),
        ("subject", event.subject.as_deref()),
        ("time", event.time.as_deref()),
        ("datacontenttype", event.data_content_type.as_deref()),
        ("dataschema", event.data_schema.as_deref()),
    ];
    let extensions = event
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), Some(&**value)));
    for (name, value) in fixed.into_iter().chain(extensions) {
        if let Some(value) = value {
            object.insert(name.into(), value.into());
        }
    }
    if let Some((name, data)) = event_data(event) {
        object.insert(name.into(), data);
    }
    Value::Object(object)
}

fn event_data(event: &Event) -> Option<(&'static str, Value)> {
    let (kind, bytes) = (event.data_content_type.as_deref(), event.data());
    let is_text = kind.is_some_and(|kind| kind.starts_with("text/"));
    let text = || std::str::from_utf8(bytes).ok().filter(|_| is_text);
    let binary = || ("data_base64", BASE64_STANDARD.encode(bytes).into());
    let readable = json_of(kind, bytes).or_else(|| text().map(Value::from));
    let data = readable.map_or_else(binary, |data| ("data", data));
    (!bytes.is_empty()).then_some(data)
}

fn effect_payload(effect: &Effect) -> (&'static str, Option<Value>) {
    let bytes = effect.payload.as_slice();
    match json_of(effect.content_type.as_deref(), bytes) {
        _ if bytes.is_empty() => ("payload", None),
        Some(json) => ("payload", Some(json)),
        None => ("payload_base64", Some(BASE64_STANDARD.encode(bytes).into())),
    }
}

/// Bytes as JSON, where their type says JSON or nothing and they are.
fn json_of(content_type: Option<&str>, bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes)
        .ok()
        .filter(|_| content_type.is_none_or(is_json))
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_of(json: Value) -> Event {
        read_event(&json, super::super::delivery()).unwrap()
    }

    #[test]
    fn an_event_reads_and_prints_alike() {
        for data in [
            json!({ "data": { "n": 1 }, "tenant": "acme", "subject": "7" }),
            json!({ "data": "hello", "datacontenttype": "text/plain" }),
            json!({ "data": "hello", "datacontenttype": "application/json" }),
            json!({ "data_base64": "iVA=", "datacontenttype": "image/png" }),
            json!({}),
        ] {
            let fixed = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
            let mut whole = fixed.as_object().unwrap().clone();
            whole.extend(data.as_object().unwrap().clone());
            let whole = Value::from(whole);
            assert_eq!(event(&event_of(whole.clone())), whole);
        }
    }

    #[test]
    fn events_without_a_type_are_refused() {
        let error = read_event(&json!({ "id": "1" }), super::super::delivery()).unwrap_err();
        assert_eq!(error, "event: no type");
    }

    #[test]
    fn an_effect_prints_what_it_has() {
        let bare = verdict(&Verdict::apply([Effect::delete("7")]));
        let effects = json!([{ "operation": "delete", "key": "7" }]);
        assert_eq!(
            bare,
            json!({ "verdict": "accept", "next": "stop", "effects": effects })
        );
        let full = Effect::merge("7")
            .to("crm")
            .entity("contact")
            .if_etag("3")
            .header("A", "b");
        let effects = json!([{
            "target": "crm", "entity": "contact", "operation": "merge", "key": "7",
            "precondition": { "etag": "3" }, "headers": [["A", "b"]],
            "content_type": "text/plain", "payload_base64": "aGk=",
        }]);
        let full = verdict(&Verdict::pass().with(full.data("text/plain", "hi")));
        assert_eq!(
            full,
            json!({ "verdict": "accept", "next": "pass", "effects": effects })
        );
    }

    #[test]
    fn a_retry_prints_when_it_is_due() {
        let after = Some(std::time::Duration::from_secs(2));
        let retry = verdict(&Verdict::Retry {
            reason: "busy".into(),
            after,
        });
        assert_eq!(
            retry,
            json!({ "verdict": "retry", "reason": "busy", "after_ms": 2000 })
        );
    }
}
