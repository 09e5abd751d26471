//! Steps that no good plugin takes.

use serde::Deserialize;
use std::hint::black_box;
use syncline_sdk::prelude::*;

/// Ways to end without an answer.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum End {
    Trap { message: Option<String> },
    Unreachable,
    Exit,
    Loop,
    Recurse,
    Alloc { bytes: Option<usize> },
}

impl End {
    pub(crate) fn run(self) -> ! {
        match self {
            Self::Trap { message } => panic!("{}", message.as_deref().unwrap_or("told to trap")),
            #[cfg(target_family = "wasm")]
            Self::Unreachable => core::arch::wasm32::unreachable(),
            #[cfg(not(target_family = "wasm"))]
            Self::Unreachable => std::process::abort(),
            Self::Exit => std::process::exit(1),
            Self::Loop => loop {
                black_box(());
            },
            Self::Recurse => panic!("came back from depth {}", recurse(1)),
            Self::Alloc { bytes } => {
                let kept = hoard(bytes.unwrap_or(usize::MAX));
                panic!("was given {} blocks", kept.len())
            }
        }
    }
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "its stack is what ends it")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    black_box(recurse(depth + 1)) + black_box(frame)[0]
}

/// Touches each block, so that the memory is really asked for.
fn hoard(bytes: usize) -> Vec<Vec<u8>> {
    const BLOCK: usize = 1 << 20;
    let mut kept = Vec::new();
    while kept.len() < bytes / BLOCK {
        kept.push(black_box(vec![7_u8; BLOCK]));
    }
    kept
}

pub(crate) fn flood(event: &Event, n_effects: usize, bytes: usize) -> Verdict {
    let effect = Effect::upsert(&event.delivery.key).data("text/plain", "x".repeat(bytes));
    Verdict::apply(vec![effect; n_effects])
}

/// An answer one of whose fields is `bytes` long. Fields: `drop`, `reject` and `retry` (the reason);
/// `target`, `entity`, `key`, `etag`, `content-type`, `header-name`, `header-value` and `payload` of
/// an effect; `event-id`, `event-source`, `event-type`, `event-subject`, `event-time`,
/// `event-content-type`, `event-schema`, `event-attribute-name`, `event-attribute-value`,
/// `event-header-name`, `event-header-value` and `event-data` of a forwarded event.
pub(crate) fn giant(event: &Event, field: &str, bytes: usize) -> Result<Verdict> {
    let text = "x".repeat(bytes);
    if let Some(field) = field.strip_prefix("event-") {
        return giant_event(event, field, text).map(Verdict::forward);
    }
    let effect = Effect::upsert("k").data("text/plain", "x");
    let effect = match field {
        "drop" => return Ok(Verdict::Drop(text)),
        "reject" => return Ok(Verdict::Reject(text)),
        "retry" => return Ok(Verdict::retry(text)),
        "target" => effect.to(text),
        "entity" => effect.entity(text),
        "key" => Effect::upsert(text),
        "etag" => effect.if_etag(text),
        "content-type" => effect.data(text, "x"),
        "header-name" => effect.header(text, "x"),
        "header-value" => effect.header("x", text),
        "payload" => effect.data("text/plain", text),
        _ => return Err(Error::reject(format!("an effect has no field {field}"))),
    };
    Ok(effect.into())
}

fn giant_event(event: &Event, field: &str, text: String) -> Result<Event> {
    let mut event = event.clone();
    let x = || "x".to_owned();
    match field {
        "id" => event.id = text,
        "source" => event.source = text,
        "type" => event.type_ = text,
        "subject" => event.subject = Some(text),
        "time" => event.time = Some(text),
        "content-type" => event.data_content_type = Some(text),
        "schema" => event.data_schema = Some(text),
        "attribute-name" => event.attributes.push((text, x())),
        "attribute-value" => event.attributes.push((x(), text)),
        "header-name" => event.headers.push((text, x())),
        "header-value" => event.headers.push((x(), text)),
        "data" => return Ok(event.with_data("text/plain", text)),
        _ => return Err(Error::reject(format!("an event has no field {field}"))),
    }
    Ok(event)
}
