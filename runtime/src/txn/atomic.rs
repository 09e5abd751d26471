//! `guarantee = "atomic"`: what an event changes is decided in one write, and carried out after that,
//! whoever is killed meanwhile. Before the decision nothing has changed; after it, nothing is thought
//! again.

use super::ledger::{Decision, Found, Ledger};
use super::markers::MarkerError;
use super::record::{Decided, Record, State};
use super::{Applied, Coordinator, Setback, Tenure};
use crate::dead_letter::Draft;
use crate::event::{DeadLetter, Envelope, Plan, PlannedEffect};
use crate::fault::{self, Point};
use crate::target::{Image, NoImage, Promise, Target};
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
        let (Some((partition, _)), Some(epoch)) = (tenure.progress(), tenure.epoch()) else {
            return Applied::Refused(Setback::at("TX", "there is no lease to decide under"));
        };
        let gid = ledger.new_gid(&envelope.origin, (partition, epoch));
        let record = match self.record(plan, envelope, (gid, partition, epoch)).await {
            Ok(record) => record,
            Err(applied) => return applied,
        };
        if record.n_undoable() > 0 {
            return Box::pin(self.apply_undoable(ledger, (&record, envelope), tenure)).await;
        }
        self.decide_and_carry_out(ledger, (&record, envelope), tenure)
            .await
    }

    /// Makes the decision, and does what is left to be done because of it.
    pub(super) async fn decide_and_carry_out(
        &self,
        ledger: &Ledger,
        (record, envelope): (&Record, &Envelope),
        tenure: &Tenure,
    ) -> Applied {
        let Some((_, progress)) = tenure.progress() else {
            return Applied::Replaced;
        };
        let body = match ledger.encoded(record) {
            Ok(body) => body,
            Err(setback) => return Applied::Refused(setback),
        };
        let open = progress.floor.open();
        let origin = &envelope.origin;
        match ledger.decide((record, body), origin, tenure).await {
            Decision::Made(sequence) => {
                progress.floor.note(sequence);
                fault::reach(Point::Decided).await;
                if !self.carry_out(record, false, tenure).await {
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
            Some(found) if found.ends(origin.generation) => Ok(self.follow(&found, tenure).await),
            _ => Ok(false),
        }
    }

    /// Carries out a decision that was found, unless that has been done; false when the tenure ends
    /// before.
    async fn follow(&self, found: &Found, tenure: &Tenure) -> bool {
        let Some((partition, progress)) = tenure.progress() else {
            return true;
        };
        let Some((decided_in, epoch)) = found.decided_by() else {
            return true;
        };
        // What lay there at the takeover was carried out then; what we decided, we carry out; what was
        // decided in another partition, whoever holds that.
        let is_in_hand = decided_in != partition
            || Some(epoch) == tenure.epoch()
            || found.sequence <= progress.recovered();
        if is_in_hand {
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
            (Some(_), _) => State::Dead,
            (None, true) => State::Filtered,
            (None, false) => State::Done,
        };
        let (effects, after) = self.decided(plan, (envelope, &gid)).await?;
        let is_prepared = effects.iter().any(|decided| decided.image.is_some());
        let state = if is_prepared { State::Preparing } else { state };
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

    /// The effects of `plan`, each seen to be one that its target cannot refuse after the decision, or with
    /// what its change would replace; and where the streams of their targets are.
    async fn decided(
        &self,
        plan: &Plan,
        (envelope, gid): (&Envelope, &str),
    ) -> Result<(Vec<Decided>, BTreeMap<String, u64>), Applied> {
        let mut decided: Vec<Decided> = Vec::with_capacity(plan.effects.len());
        let mut after = BTreeMap::new();
        for planned in &plan.effects {
            let refused = |why: &str| Applied::Refused(Setback::at(&planned.target, why));
            let Some(target) = self.targets.get(&planned.target) else {
                return Err(refused("there is no such target"));
            };
            let mut message_id = self.message_id(planned, envelope);
            let image = match target.promise(planned) {
                Promise::Deferred => None,
                Promise::Undoable => {
                    // Another attempt at the same change is another change.
                    message_id = format!("{message_id}.{gid}").into();
                    Some(image(target, planned).await?)
                }
                Promise::None(why) => {
                    let why = format!("`{}` cannot be atomic: {why}", planned.effect.operation);
                    return Err(refused(&why));
                }
            };
            if let Some(position) = target.position() {
                after.insert(planned.target.to_string(), position);
            }
            let is_same = |other: &&Decided| is_same_entity(&other.planned, planned);
            let other = decided.iter().find(is_same);
            if other.is_some_and(|other| image.is_some() || other.image.is_some()) {
                return Err(refused(
                    "two changes of one entity by one event cannot be atomic",
                ));
            }
            decided.push(Decided {
                planned: planned.clone(),
                message_id,
                image,
            });
        }
        Ok((decided, after))
    }
}

async fn image(target: &Target, planned: &PlannedEffect) -> Result<Image, Applied> {
    target.image(&planned.effect).await.map_err(|stopped| {
        let setback = |why: &str| Setback::at(&planned.target, why);
        match stopped {
            NoImage::Conflict(why) => Applied::Conflict(setback(&why)),
            NoImage::Refused(why) => Applied::Refused(setback(&why)),
            NoImage::Unknown(why) => Applied::Unknown(setback(&why)),
        }
    })
}

fn is_same_entity(one: &PlannedEffect, other: &PlannedEffect) -> bool {
    one.target == other.target
        && one.effect.entity == other.effect.entity
        && one.effect.key == other.effect.key
}
