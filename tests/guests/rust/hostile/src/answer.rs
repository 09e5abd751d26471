//! Answers that are not what they seem.

use crate::memory::{Shared, bytes_at, text_at};
use crate::types::{
    Acceptance, Effect, Event, Forwarded, Next, Operation, Precondition, RetryHint, Verdict,
};

/// The answer that `word` stands for.
pub(crate) fn verdict(word: &str, n: usize, bytes: usize) -> Option<Verdict> {
    // Past the end of any memory that the host allows.
    const NOWHERE: usize = 0xF000_0000;
    if let Some(field) = word.strip_prefix("overlap-") {
        return Some(overlap(field, n, bytes));
    }
    Some(match word {
        "wild-reason" => Verdict::Drop(text_at(NOWHERE, 1 << 20)),
        "wild-payload" => accept(vec![effect(bytes_at(NOWHERE, 16))]),
        "endless-reason" => Verdict::Reject(text_at(16, 0x7FFF_FFF0)),
        "not-text" => {
            let reason = vec![0xFF, 0xFE, b'x'].leak();
            Verdict::Drop(text_at(reason.as_ptr() as usize, reason.len()))
        }
        "deep" => Verdict::Drop(deeper(1).to_string()),
        _ => return None,
    })
}

/// Keeps nothing in memory but a pointer to itself, so that the engine's stack ends first.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let next = std::hint::black_box(deeper as fn(u64) -> u64);
    next(depth + 1) ^ depth
}

/// `n` values in the named field, all of them the same `bytes` bytes of memory.
fn overlap(field: &str, n: usize, bytes: usize) -> Verdict {
    let shared = Shared::new(bytes);
    let text = || shared.text();
    let mut plain = effect(Vec::new());
    match field {
        "drop" => return Verdict::Drop(text()),
        "reject" => return Verdict::Reject(text()),
        "retry" => {
            return Verdict::Retry(RetryHint {
                reason: text(),
                after_ms: None,
            });
        }
        "headers" => plain.headers = (0..n).map(|_| (text(), text())).collect(),
        _ if field.starts_with("event-") => {
            let events = (0..n).map(|_| event(field.trim_start_matches("event-"), n, &shared));
            return Verdict::Accept(Acceptance {
                effects: vec![],
                next: Next::Forward(events.collect()),
            });
        }
        _ => return accept((0..n).map(|_| one(field, &shared)).collect()),
    }
    accept(vec![plain])
}

/// An effect whose `field` is the shared memory.
fn one(field: &str, shared: &Shared) -> Effect {
    let mut effect = effect(Vec::new());
    match field {
        "target" => effect.target = Some(shared.text()),
        "entity" => effect.entity = Some(shared.text()),
        "key" => effect.key = shared.text(),
        "etag" => effect.precondition = Some(Precondition::Etag(shared.text())),
        "content-type" => effect.content_type = Some(shared.text()),
        "payload" => effect.payload = shared.bytes(),
        other => panic!("an effect has no {other}"),
    }
    effect
}

/// A forwarded event whose `field` is the shared memory.
fn event(field: &str, n: usize, shared: &Shared) -> Forwarded {
    let text = || shared.text();
    let pairs = || (0..n).map(|_| (text(), text())).collect();
    let mut event = Event {
        id: "1".to_owned(),
        source: "hostile".to_owned(),
        type_: "test".to_owned(),
        subject: None,
        time: None,
        data_content_type: None,
        data_schema: None,
        attributes: vec![],
        headers: vec![],
    };
    let mut data = None;
    match field {
        "id" => event.id = text(),
        "source" => event.source = text(),
        "type" => event.type_ = text(),
        "subject" => event.subject = Some(text()),
        "time" => event.time = Some(text()),
        "content-type" => event.data_content_type = Some(text()),
        "schema" => event.data_schema = Some(text()),
        "attributes" => event.attributes = pairs(),
        "headers" => event.headers = pairs(),
        "data" => data = Some(shared.bytes()),
        other => panic!("an event has no {other}"),
    }
    Forwarded { event, data }
}

fn effect(payload: Vec<u8>) -> Effect {
    Effect {
        target: None,
        entity: None,
        operation: Operation::Upsert,
        key: "k".to_owned(),
        precondition: None,
        content_type: None,
        headers: vec![],
        payload,
    }
}

fn accept(effects: Vec<Effect>) -> Verdict {
    Verdict::Accept(Acceptance {
        effects,
        next: Next::Stop,
    })
}
