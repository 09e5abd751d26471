//! `guarantee = "at-least-once"`: effects one after the other, then the plugins' state. No marker:
//! what is sent twice is deduplicated by its message id, or seen to be there by its sequence.

use super::{Applied, Coordinator, Setback, Tenure};
use crate::event::{Accepted, Envelope, Plan, PlannedEffect, encode_hash};
use crate::fault::{self, Point};
use crate::plugin::{State, StateError};
use crate::target::{Answer, Cause};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

impl Coordinator {
    pub(super) async fn apply_at_least_once(
        &self,
        plan: &Plan,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Applied {
        match &self.state {
            Some(state) if !plan.writes.is_empty() => {
                Box::pin(self.apply_with_state(state, plan, envelope, tenure)).await
            }
            _ => self.apply_effects(plan, envelope, tenure).await,
        }
    }

    async fn apply_with_state(
        &self,
        state: &State,
        plan: &Plan,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Applied {
        // Seen to hold before the first effect, and held until the state is written: an event that
        // has to be thought again has sent nothing.
        let _guard = self.state_locks.acquire(plan).await;
        if let Err(error) = state.check(&plan.reads).await {
            return of_state_error(error, Vec::new());
        }
        match self.apply_effects(plan, envelope, tenure).await {
            Applied::Done => {}
            other => return other,
        }
        if !tenure.held().await {
            return Applied::Replaced;
        }
        match state.commit(&plan.writes).await {
            Ok(()) => Applied::Done,
            Err(error) => of_state_error(error, plan.effects.iter().map(Accepted::of).collect()),
        }
    }

    async fn apply_effects(&self, plan: &Plan, envelope: &Envelope, tenure: &Tenure) -> Applied {
        for (index, effect) in plan.effects.iter().enumerate() {
            let setback = |error: String| Setback {
                place: effect.target.to_string(),
                error,
                accepted: plan.effects.iter().take(index).map(Accepted::of).collect(),
            };
            if index > 0 {
                fault::reach(Point::BetweenEffects).await;
            }
            let Some(target) = self.targets.get(&effect.target) else {
                return Applied::Refused(setback("there is no such target".to_owned()));
            };
            // As late as can be: what is sent after that is on its way already.
            if !tenure.held().await {
                return Applied::Replaced;
            }
            match target.apply(effect, &self.cause(effect, envelope)).await {
                Answer::Applied => {}
                Answer::Conflict(error) => {
                    return Applied::Conflict(setback(error));
                }
                Answer::Refused(error) => return Applied::Refused(setback(error)),
                Answer::Unknown(error) => return Applied::Unknown(setback(error)),
                Answer::Away(error) => return Applied::Away(setback(error)),
            }
        }
        Applied::Done
    }

    pub(super) fn cause(&self, effect: &PlannedEffect, envelope: &Envelope) -> Cause {
        let origin = &envelope.origin;
        Cause {
            event_id: origin.id.clone(),
            stream: origin.stream.clone(),
            stream_created: origin.stream_created,
            generation: origin.generation,
            sequence: origin.sequence,
            key: origin.key.clone(),
            maybe_seen: origin.maybe_seen,
            traceparent: envelope.event.traceparent().map(str::to_owned),
            message_id: self.message_id(effect, envelope),
        }
    }

    /// The same only for the same change: code that was swapped between two attempts and now asks
    /// for something else is not swallowed as a duplicate.
    pub(super) fn message_id(&self, planned: &PlannedEffect, envelope: &Envelope) -> Arc<str> {
        let effect = &planned.effect;
        let mut hash = Sha256::new();
        let parts: [&[u8]; 6] = [
            self.pipeline.as_bytes(),
            envelope.origin.id.as_str().as_bytes(),
            planned.target.as_bytes(),
            effect.entity.as_deref().unwrap_or_default().as_bytes(),
            effect.key.as_bytes(),
            effect.operation.as_str().as_bytes(),
        ];
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        // A stream that was made anew gives raw messages the names of earlier ones.
        hash.update(envelope.origin.stream_created.to_le_bytes());
        // What a replay sends is no second copy of what was sent before it.
        hash.update(envelope.origin.generation.to_le_bytes());
        // Two equal records appended by one event are two records.
        hash.update(planned.id.as_bytes());
        hash.update([0]);
        hash.update(&effect.payload);
        encode_hash(&hash.finalize())
    }
}

pub(super) fn of_state_error(error: StateError, accepted: Vec<Accepted>) -> Applied {
    match error {
        StateError::Conflict(_) => Applied::Overtaken(error.to_string()),
        StateError::Unavailable(error) => Applied::Unknown(Setback {
            place: "state".to_owned(),
            error,
            accepted,
        }),
    }
}
