//! `guarantee = "atomic"`: what an event changes is decided in one write, and carried out after that,
//! whoever is killed meanwhile. Before the decision nothing has changed; after it, nothing is thought
//! again.

use super::ledger::{Decision, Found, Ledger};
use super::markers::{Ended, MarkerError};
use super::record::{Decided, Record};
use super::{Applied, Coordinator, Setback, Tenure};
use crate::dead_letter::Draft;
use crate::event::{DeadLetter, Envelope, Plan};
use crate::fault::{self, Point};
use crate::target::Promise;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Room for what a decision says around a dead letter.
const AROUND_LETTER: usize = 16 * 1_024;

impl Coordinator {
    /// Applies `plan` wholly or not at all, once.
    pub(super) async fn apply_atomic(
        &self,
        ledger: &Ledger,
        (plan, envelope): (&Plan, &Envelope),
        tenure: &Tenure,
    ) -> Applied {
        if plan.is_empty() {
            // Nothing to keep: it may be thought again.
            return Applied::Done;
        }
        let (Some((partition, progress)), Some(epoch)) = (tenure.progress(), tenure.epoch()) else {
            return Applied::Refused(Setback::at("TX", "there is no lease to decide under"));
        };
        let gid = ledger.new_gid(&envelope.origin, (partition, epoch));
        let record = match self.record(plan, envelope, (gid, partition, epoch)).await {
            Ok(record) => record,
            Err(applied) => return applied,
        };
        let body = match encoded(&record, ledger) {
            Ok(body) => body,
            Err(setback) => return Applied::Refused(setback),
        };
        let open = progress.floor.open();
        let origin = &envelope.origin;
        match ledger.decide((&record, body), origin, tenure).await {
            Decision::Made(sequence) => {
                progress.floor.note(sequence);
                fault::reach(Point::Decided).await;
                if !self.carry_out(&record, false, tenure).await {
                    return Applied::Replaced;
                }
                progress.floor.close(&open);
                ledger.save(tenure, false).await;
                Applied::Done
            }
            Decision::Before(found) => {
                if !self.follow(&found, tenure).await {
                    return Applied::Replaced;
                }
                progress.floor.close(&open);
                Applied::Ended
            }
            Decision::Replaced => Applied::Replaced,
        }
    }

    /// Whether something was decided about the event before, which is carried out then.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub(super) async fn was_decided(
        &self,
        ledger: &Ledger,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Result<bool, MarkerError> {
        let origin = &envelope.origin;
        // Of a new event nothing is known, and the decision itself finds out whether that is so.
        let is_new = !origin.maybe_seen && origin.generation == 0;
        if is_new || fault::breaks(fault::Promise::MarkerCas) {
            return Ok(false);
        }
        let found = ledger.find(&origin.id).await.map_err(|cause| {
            let attempted = format!("cannot read what was decided about {}", origin.id);
            MarkerError::new(attempted, &cause)
        })?;
        match found {
            Some(found) if found.record.head.generation >= origin.generation => {
                Ok(self.follow(&found, tenure).await)
            }
            _ => Ok(false),
        }
    }

    /// Carries out a decision that was found, unless that has been done; false when the tenure ends
    /// before.
    async fn follow(&self, found: &Found, tenure: &Tenure) -> bool {
        let Some((_, progress)) = tenure.progress() else {
            return true;
        };
        let is_ours = found
            .epoch()
            .is_none_or(|epoch| Some(epoch) == tenure.epoch());
        // What lay there at the takeover was carried out then; what we decided, we carry out.
        if is_ours || found.sequence <= progress.recovered() {
            return true;
        }
        self.carry_out(&found.record, true, tenure).await
    }

    /// The decision that `plan` stands for, if one can be made.
    async fn record(
        &self,
        plan: &Plan,
        envelope: &Envelope,
        (gid, partition, epoch): (String, u32, u64),
    ) -> Result<Record, Applied> {
        let letter = match &plan.dead_letter {
            Some(letter) => Some(self.draft(letter).await?),
            None => None,
        };
        if !plan.writes.is_empty() {
            let why = "plugin state is not available yet with `guarantee = \"atomic\"`";
            return Err(Applied::Refused(Setback::at("state", why)));
        }
        let state = match (&letter, plan.effects.is_empty()) {
            (Some(_), _) => Ended::Dead,
            (None, true) => Ended::Filtered,
            (None, false) => Ended::Done,
        };
        let (effects, after) = self.decided(plan, envelope).map_err(Applied::Refused)?;
        Ok(Record::new(
            (state, gid),
            (partition, epoch),
            (&envelope.origin, envelope.event.traceparent()),
            (effects, letter),
            after,
        ))
    }

    async fn draft(&self, letter: &DeadLetter) -> Result<Draft, Applied> {
        let draft = self.dead_letters.draft(letter, AROUND_LETTER).await;
        draft.map_err(|error| {
            Applied::Unknown(Setback::at(crate::dead_letter::STREAM, &error.to_string()))
        })
    }

    /// The effects of `plan`, each seen to be one that its target cannot refuse any more, and where
    /// their streams are.
    fn decided(
        &self,
        plan: &Plan,
        envelope: &Envelope,
    ) -> Result<(Vec<Decided>, BTreeMap<String, u64>), Setback> {
        let mut decided = Vec::with_capacity(plan.effects.len());
        let mut after = BTreeMap::new();
        for planned in &plan.effects {
            let Some(target) = self.targets.get(&planned.target) else {
                return Err(Setback::at(&planned.target, "there is no such target"));
            };
            if let Promise::None(why) = target.promise(planned) {
                let why = format!("`{}` cannot be atomic: {why}", planned.effect.operation);
                return Err(Setback::at(&planned.target, &why));
            }
            if let Some(position) = target.position() {
                after.insert(planned.target.to_string(), position);
            }
            decided.push(Decided {
                planned: planned.clone(),
                message_id: self.message_id(planned, envelope),
            });
        }
        Ok((decided, after))
    }
}

fn encoded(record: &Record, ledger: &Ledger) -> Result<Bytes, Setback> {
    let body = record.encode();
    let body = body.map_err(|error| Setback::at("TX", &error.to_string()))?;
    let largest = ledger.largest();
    if body.len() > largest {
        let why = format!(
            "the effects of the event are {} bytes together, and a decision holds at most {largest} \
             (`max_payload` of the server)",
            body.len()
        );
        return Err(Setback::at("TX", &why));
    }
    Ok(body)
}
