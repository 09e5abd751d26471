//! What seems to differ, looked at afresh on both sides.

use super::mapping::on_condition;
use super::repair::Change;
use super::value::{canonical, places};
use super::{Comparison, Difference, DriftError, Outcome, What};
use crate::contract::{Contract, EtagPolicy};
use crate::event::{Effect, Headers, Operation};
use crate::target::{Draft, Found, Listed, ReadError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An entity that was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Source {
    entity: Option<String>,
    key: String,
}

impl Source {
    pub(super) fn of(listed: &Listed) -> Self {
        Self {
            entity: listed.entity.clone(),
            key: listed.key.clone(),
        }
    }
}

/// An entity of the other side that may not be as it should be.
#[derive(Debug)]
pub(super) struct Candidate {
    /// See [`crate::target::Preview::place`].
    pub(super) place: String,
    pub(super) entity: Option<String>,
    pub(super) key: String,
    /// What it comes of, in the order in which that was told.
    pub(super) sources: Vec<Source>,
}

impl Candidate {
    /// What is there, and nothing was told that it comes of.
    pub(super) fn of_name(place: String, entity: Option<String>, key: String) -> Self {
        Self {
            place,
            entity,
            key,
            sources: Vec::new(),
        }
    }

    fn unfit(&self, why: String) -> Difference {
        Difference {
            why: Some(why),
            ..self.difference(What::Unfit)
        }
    }

    fn difference(&self, what: What) -> Difference {
        Difference {
            what,
            entity: self.entity.clone(),
            key: self.key.clone(),
            at: Vec::new(),
            why: None,
            outcome: None,
        }
    }
}

impl Difference {
    pub(super) fn unfit(effect: &Effect, why: String) -> Self {
        Self {
            what: What::Unfit,
            entity: effect.entity.clone(),
            key: effect.key.clone(),
            at: Vec::new(),
            why: Some(why),
            outcome: None,
        }
    }
}

impl Comparison<'_> {
    /// How an entity differs, if it does; repaired where that is wanted.
    pub(super) async fn judge(
        &self,
        candidate: &Candidate,
    ) -> Result<Option<Difference>, DriftError> {
        // Before what it should be: what is written there because of a later change makes a repair come too late,
        // instead of being taken back by it.
        let current = self.current(candidate).await?;
        let (mut effects, mut envelope) = (Vec::new(), None);
        for source in &candidate.sources {
            let Some(listed) = self.fresh(source).await? else {
                continue;
            };
            match self.mapping.of(&listed).await {
                Ok(mapped) => effects.extend(self.of_place(candidate, mapped.effects).await?),
                Err(why) => return Ok(Some(candidate.unfit(why))),
            }
            envelope = Some(self.mapping.envelope_of(&listed));
        }
        if effects.is_empty() {
            let Some(current) = current else {
                return Ok(None);
            };
            let mut difference = candidate.difference(What::Surplus);
            self.delete(candidate, &current, &mut difference).await;
            return Ok(Some(difference));
        }
        let etag = current.as_ref().map(|found| found.etag.as_str());
        if let Some(why) = self.violation(&effects, etag) {
            return Ok(Some(candidate.unfit(why)));
        }
        let wanted = match self.folded(&effects, current.as_ref()) {
            Ok(wanted) => wanted,
            Err(why) => return Ok(Some(candidate.unfit(why))),
        };
        let Some(mut difference) = self
            .differs(candidate, wanted.as_ref(), current.as_ref())
            .await?
        else {
            return Ok(None);
        };
        if let (Some(repair), None) = (&self.repair, &difference.why) {
            let change = Change {
                effect: one_of(effects, wanted, candidate),
                etag: etag.map(str::to_owned),
                envelope,
            };
            repair.make(self, change, &mut difference).await;
        }
        Ok(Some(difference))
    }

    async fn fresh(&self, source: &Source) -> Result<Option<Listed>, DriftError> {
        let found = self.from.target.read(source.entity.as_deref(), &source.key);
        let found = found
            .await
            .map_err(|error| DriftError::of(self.from.name, error))?;
        Ok(found.map(|found| Listed {
            entity: source.entity.clone(),
            key: source.key.clone(),
            found,
        }))
    }

    async fn current(&self, candidate: &Candidate) -> Result<Option<Found>, DriftError> {
        let (entity, key) = (candidate.entity.as_deref(), &candidate.key);
        match self.onto.target.read(entity, key).await {
            Ok(found) => Ok(found),
            Err(ReadError::Invalid(fault)) => Err(DriftError::Invalid(format!(
                "target `{}`, key `{}`: {fault}",
                self.onto.name,
                key.escape_debug()
            ))),
            Err(error) => Err(DriftError::of(self.onto.name, error)),
        }
    }

    /// Those of the effects that are about the same entity.
    async fn of_place(
        &self,
        candidate: &Candidate,
        effects: Vec<Effect>,
    ) -> Result<Vec<Effect>, DriftError> {
        let drafts: Vec<_> = effects
            .iter()
            .map(|effect| Draft {
                entity: effect.entity.clone(),
                key: effect.key.clone(),
                data: None,
            })
            .collect();
        let previews = self.onto.target.preview(&drafts).await;
        let previews = previews.map_err(|error| DriftError::of(self.onto.name, error))?;
        let both = effects.into_iter().zip(previews);
        let ours = both.filter(|(effect, preview)| {
            let is_there = preview.as_ref().is_ok_and(|it| it.place == candidate.place);
            is_there && effect.operation != Operation::Append
        });
        Ok(ours.map(|(effect, _)| effect).collect())
    }

    /// What the effects do otherwise than the contract says, if anything; they will say what they rest on.
    fn violation(&self, effects: &[Effect], etag: Option<&str>) -> Option<String> {
        let contract = self.contract.as_ref()?;
        effects.iter().find_map(|effect| {
            let effect = match has_etags(contract, effect) {
                true => on_condition(effect.clone(), etag),
                false => effect.clone(),
            };
            contract.check(&effect).err().map(|it| it.to_string())
        })
    }

    /// What the entity is to be once the effects were applied; none: it is to be gone.
    fn folded(&self, effects: &[Effect], current: Option<&Found>) -> Result<Option<Bytes>, String> {
        let mut state = current.map(|found| found.data.clone());
        for effect in effects {
            state = match effect.operation {
                Operation::Upsert => Some(effect.payload.clone()),
                Operation::Merge => {
                    Some(self.onto.target.merged(state.as_deref(), &effect.payload)?)
                }
                Operation::Delete => None,
                Operation::Append => state,
            };
        }
        Ok(state)
    }

    async fn differs(
        &self,
        candidate: &Candidate,
        wanted: Option<&Bytes>,
        current: Option<&Found>,
    ) -> Result<Option<Difference>, DriftError> {
        let Some(wanted) = wanted else {
            return Ok(current.map(|_| candidate.difference(What::Surplus)));
        };
        let draft = Draft {
            entity: candidate.entity.clone(),
            key: candidate.key.clone(),
            data: Some(wanted.clone()),
        };
        let seen = self.onto.target.preview(&[draft]).await;
        let seen = seen.map_err(|error| DriftError::of(self.onto.name, error))?;
        let seen = match seen.into_iter().next() {
            Some(Ok(seen)) => seen.data,
            Some(Err(why)) => return Ok(Some(candidate.unfit(why))),
            None => return Ok(None),
        };
        Ok(match current {
            None => Some(candidate.difference(What::Missing)),
            Some(current) if canonical(&current.data) == canonical(&seen) => None,
            Some(current) => Some(Difference {
                at: places(&current.data, &seen),
                ..candidate.difference(What::Changed)
            }),
        })
    }

    async fn delete(&self, candidate: &Candidate, current: &Found, difference: &mut Difference) {
        let Some(repair) = &self.repair else { return };
        if !repair.deletes() {
            difference.outcome = Some(Outcome::Left);
            return;
        }
        let change = Change {
            effect: effect_on(candidate, None),
            etag: Some(current.etag.clone()),
            envelope: None,
        };
        repair.make(self, change, difference).await;
    }
}

fn has_etags(contract: &Contract, effect: &Effect) -> bool {
    let entity = contract.entity(effect.entity.as_deref());
    entity.is_ok_and(|(_, entity)| entity.etag != EtagPolicy::None)
}

/// What the effects come to, as one: the one that it is, or the whole entity.
fn one_of(mut effects: Vec<Effect>, wanted: Option<Bytes>, candidate: &Candidate) -> Effect {
    match effects.pop() {
        Some(effect) if effects.is_empty() => effect,
        _ => effect_on(candidate, wanted),
    }
}

fn effect_on(candidate: &Candidate, wanted: Option<Bytes>) -> Effect {
    Effect {
        target: None,
        entity: candidate.entity.clone(),
        operation: match wanted {
            Some(_) => Operation::Upsert,
            None => Operation::Delete,
        },
        key: candidate.key.clone(),
        precondition: None,
        content_type: None,
        headers: Headers::default(),
        payload: wanted.unwrap_or_default(),
    }
}
