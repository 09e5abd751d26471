//! The one `bindgen!`, and values that cross the boundary: WIT's on one side, `event`'s on the other.

use super::error::CallError;
use super::limits::Limits;
use super::manifest::Manifest;
use crate::event::{
    Acceptance, Effect, Envelope, Event, Forwarded, Headers, Next, Operation, Precondition, Verdict,
};
use bytes::Bytes;
use std::time::Duration;

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: {
            "syncline:plugin/log": trappable,
            "syncline:plugin/metrics": trappable,
            default: async | trappable,
        },
        exports: { default: async },
    });
}

use generated::exports::syncline::plugin::handler;
pub(super) use generated::syncline::plugin::types;
pub(super) use generated::syncline::plugin::{log, lookup, metrics, secrets, state};
pub(super) use generated::{Plugin, PluginPre};

/// Calls `process` with the envelope lent, not copied.
pub(super) async fn process(
    plugin: &Plugin,
    store: &mut wasmtime::Store<super::instance::HostState>,
    envelope: &Envelope,
    attempt: u32,
) -> wasmtime::Result<handler::Verdict> {
    let event = &envelope.event;
    let attributes = lent(&event.attributes);
    let headers = lent(&event.headers.0);
    let incoming = types::Incoming {
        event: types::EventParam {
            id: &event.id,
            source: &event.source,
            type_: &event.kind,
            subject: event.subject.as_deref(),
            time: event.time.as_deref(),
            data_content_type: event.data_content_type.as_deref(),
            data_schema: event.data_schema.as_deref(),
            attributes: &attributes,
            headers: &headers,
        },
        data: &envelope.data,
        delivery: types::Delivery {
            address: &envelope.origin.address,
            sequence: envelope.origin.sequence,
            attempt,
            key: envelope.origin.key.as_str(),
        },
    };
    plugin
        .syncline_plugin_handler()
        .call_process(store, incoming)
        .await
}

fn lent(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// The verdict in our words, or why it breaks a limit.
pub(super) fn verdict(answer: handler::Verdict, limits: &Limits) -> Result<Verdict, CallError> {
    let mut budget = Budget {
        left: limits.output.as_u64(),
        limit: limits.output,
    };
    match answer {
        types::Verdict::Accept(acceptance) => {
            accept(acceptance, limits, &mut budget).map(Verdict::Accept)
        }
        types::Verdict::Drop(reason) => budget.take(reason.len()).map(|()| Verdict::Drop(reason)),
        types::Verdict::Reject(reason) => {
            budget.take(reason.len()).map(|()| Verdict::Reject(reason))
        }
        types::Verdict::Retry(hint) => budget.take(hint.reason.len()).map(|()| {
            let after = hint.after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
            Verdict::Retry {
                reason: hint.reason,
                after,
            }
        }),
    }
}

fn accept(
    acceptance: types::Acceptance,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Acceptance, CallError> {
    let n_forwarded = match &acceptance.next {
        types::Next::Forward(events) => events.len(),
        types::Next::Stop | types::Next::Pass => 0,
    };
    let n_answers = acceptance.effects.len().saturating_add(n_forwarded);
    if n_answers > usize::try_from(limits.effects).unwrap_or(usize::MAX) {
        return Err(CallError::Answer(format!(
            "{n_answers} effects and events, the limit `effects` is {}",
            limits.effects
        )));
    }
    let effects = acceptance
        .effects
        .into_iter()
        .map(|effect| self::effect(effect, budget));
    let effects = effects.collect::<Result<Vec<_>, _>>()?;
    let next = match acceptance.next {
        types::Next::Stop => Next::Stop,
        types::Next::Pass => Next::Pass,
        types::Next::Forward(events) => {
            let events = events.into_iter().map(|event| forwarded(event, budget));
            Next::Forward(events.collect::<Result<_, _>>()?)
        }
    };
    Ok(Acceptance { effects, next })
}

fn effect(effect: types::Effect, budget: &mut Budget) -> Result<Effect, CallError> {
    budget.take(effect.payload.len() + effect.key.len())?;
    budget.take(effect.target.as_ref().map_or(0, String::len))?;
    budget.take(effect.entity.as_ref().map_or(0, String::len))?;
    budget.take(effect.content_type.as_ref().map_or(0, String::len))?;
    budget.take_pairs(&effect.headers)?;
    if let Some(types::Precondition::Etag(etag)) = &effect.precondition {
        budget.take(etag.len())?;
    }
    let precondition = effect.precondition.map(|precondition| match precondition {
        types::Precondition::Absent => Precondition::Absent,
        types::Precondition::Present => Precondition::Present,
        types::Precondition::Etag(etag) => Precondition::Etag(etag),
    });
    Ok(Effect {
        target: effect.target,
        entity: effect.entity,
        operation: match effect.operation {
            types::Operation::Upsert => Operation::Upsert,
            types::Operation::Merge => Operation::Merge,
            types::Operation::Delete => Operation::Delete,
            types::Operation::Append => Operation::Append,
        },
        key: effect.key,
        precondition,
        content_type: effect.content_type,
        headers: Headers(effect.headers),
        payload: Bytes::from(effect.payload),
    })
}

fn forwarded(forwarded: types::Forwarded, budget: &mut Budget) -> Result<Forwarded, CallError> {
    let event = forwarded.event;
    for text in [&event.id, &event.source, &event.type_] {
        budget.take(text.len())?;
    }
    let optional = [
        &event.subject,
        &event.time,
        &event.data_content_type,
        &event.data_schema,
    ];
    for text in optional.into_iter().flatten() {
        budget.take(text.len())?;
    }
    budget.take_pairs(&event.attributes)?;
    budget.take_pairs(&event.headers)?;
    budget.take(forwarded.data.as_ref().map_or(0, Vec::len))?;
    let event = Event {
        id: event.id,
        source: event.source,
        kind: event.type_,
        subject: event.subject,
        time: event.time,
        data_content_type: event.data_content_type,
        data_schema: event.data_schema,
        attributes: event.attributes,
        headers: Headers(event.headers),
    };
    Ok(Forwarded {
        event,
        data: forwarded.data.map(Bytes::from),
    })
}

/// What `describe` returned, in our words.
pub(super) fn manifest(manifest: handler::Manifest) -> Manifest {
    Manifest {
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        accepts: manifest.accepts,
        targets: manifest.targets,
        lookups: manifest.lookups,
        secrets: manifest.secrets,
        capabilities: manifest.capabilities,
        config_schema: manifest.config_schema,
        attributes: manifest.attributes,
    }
}

/// Bytes that an answer may still hold.
struct Budget {
    left: u64,
    limit: bytesize::ByteSize,
}

impl Budget {
    fn take(&mut self, n_bytes: usize) -> Result<(), CallError> {
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        match self.left.checked_sub(n_bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(CallError::Answer(format!(
                "more than {}, the limit `output`",
                self.limit
            ))),
        }
    }

    fn take_pairs(&mut self, pairs: &[(String, String)]) -> Result<(), CallError> {
        pairs
            .iter()
            .try_for_each(|(name, value)| self.take(name.len() + value.len()))
    }
}
