//! From what the stages came to, to a plan: where effects and standing events go. Pure.

use super::config::Config;
use super::outcome::{Fault, Outcome};
use super::stage::{Branch, Thought, Wish};
use super::work::Work;
use crate::contract::Contract;
use crate::event::{
    DeadReason, Effect, Headers, Operation, Plan, PlannedEffect, Trail, TypePattern, scalar_at,
};
use crate::feed::{Because, Feeds};
use crate::plugin::Session;
use crate::target::{Kind, unsupported};
use crate::telemetry::PipelineMetrics;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where the events and effects of one pipeline may go.
pub(super) struct RouteTable {
    pipeline: Arc<str>,
    /// In the order of the configuration.
    entries: Vec<Entry>,
    /// Targets named in `to`, each once, in order.
    named: Vec<Arc<str>>,
    writable: BTreeSet<String>,
    kinds: BTreeMap<String, Kind>,
    contracts: BTreeMap<String, Arc<Contract>>,
    feeds: Arc<Feeds>,
}

struct Entry {
    target: Arc<str>,
    entity: Option<String>,
    operation: Operation,
    key: Option<String>,
    when: Option<TypePattern>,
}

/// What the stages came to, by target.
pub(super) struct Laid {
    pub(super) effects: Vec<PlannedEffect>,
    /// The stages whose plugins asked for the first of these; the rest is from `to`.
    pub(super) stages: Vec<usize>,
    is_filtered: bool,
    dropped: Vec<String>,
}

impl RouteTable {
    pub(super) fn new(
        config: &Config,
        kinds: BTreeMap<String, Kind>,
        contracts: BTreeMap<String, Arc<Contract>>,
        feeds: Arc<Feeds>,
    ) -> Self {
        let entries = config.to.iter().map(|route| Entry {
            target: route.target.as_str().into(),
            entity: route.entity.clone(),
            operation: route.operation,
            key: route.key.clone(),
            when: route.when.clone(),
        });
        let entries: Vec<Entry> = entries.collect();
        let mut named: Vec<Arc<str>> = Vec::new();
        for entry in &entries {
            if !named.contains(&entry.target) {
                named.push(entry.target.clone());
            }
        }
        let writable = config.writable.iter().cloned();
        let writable = writable
            .chain(named.iter().map(ToString::to_string))
            .collect();
        Self {
            pipeline: config.name.as_str().into(),
            entries,
            named,
            writable,
            kinds,
            contracts,
            feeds,
        }
    }

    /// Where everything goes that the stages came to.
    pub(super) fn lay_out(
        &self,
        mut thought: Thought,
        work: &Work,
        metrics: &PipelineMetrics,
    ) -> Result<Laid, Fault> {
        let origin = &work.envelope.origin;
        let identity = |path: &str| match origin.generation {
            0 => format!("{}.{}.{path}", self.pipeline, origin.id),
            generation => format!("{}.{}.r{generation}.{path}", self.pipeline, origin.id),
        };
        let is_filtered =
            thought.effects.is_empty() && thought.standing.is_empty() && !thought.stopped;
        let mut effects = Vec::with_capacity(thought.effects.len() + thought.standing.len());
        let mut stages = Vec::with_capacity(thought.effects.len());
        for Wish {
            path,
            stage,
            effect,
        } in std::mem::take(&mut thought.effects)
        {
            self.spread(&identity(&path), effect, &mut effects)?;
            stages.resize(effects.len(), stage);
        }
        for branch in &thought.standing {
            let path = format!("{}to", branch.path);
            if self.route(branch, &identity(&path), &mut effects)? == 0 {
                metrics.unrouted.increment();
            }
        }
        Ok(Laid {
            effects,
            stages,
            is_filtered,
            dropped: thought.dropped,
        })
    }

    /// The plan for what was laid out.
    pub(super) fn plan(
        &self,
        laid: Laid,
        work: &Work,
        session: Session,
        metrics: &PipelineMetrics,
    ) -> Outcome {
        let Laid {
            mut effects,
            is_filtered,
            dropped,
            ..
        } = laid;
        if let Some(fault) = self.violation(&effects) {
            return Outcome::Dead(fault);
        }
        let event = &work.envelope.event;
        let because = Because {
            event,
            trail: Trail::of(event).through(&self.pipeline),
        };
        self.feeds.add(&mut effects, &because, |_| None);
        work.leave_out_accepted(&mut effects);
        for reason in &dropped {
            metrics.dropped(reason);
        }
        let (reads, writes, held) = session.into_plan();
        let plan = Plan {
            effects,
            reads,
            writes,
            dead_letter: None,
        };
        if is_filtered {
            return Outcome::Filtered { plan, held };
        }
        Outcome::Apply { plan, held }
    }

    /// An effect goes to the target that it names, or to every target of `to`.
    fn spread(
        &self,
        id: &str,
        effect: Effect,
        effects: &mut Vec<PlannedEffect>,
    ) -> Result<(), Fault> {
        let Some(target) = &effect.target else {
            if self.named.is_empty() {
                let error = "an effect names no target and the pipeline has no `to`".to_owned();
                return Err(Fault::new(DeadReason::BadAnswer, error));
            }
            for target in &self.named {
                let id = format!("{id}.{target}");
                effects.push(self.checked(target.clone(), id, effect.clone())?);
            }
            return Ok(());
        };
        let target: Arc<str> = target.as_str().into();
        effects.push(self.checked(target, id.to_owned(), effect)?);
        Ok(())
    }

    /// A standing event goes to each target of `to`, by the first entry that matches it there.
    fn route(
        &self,
        branch: &Branch,
        id: &str,
        effects: &mut Vec<PlannedEffect>,
    ) -> Result<usize, Fault> {
        let kind = &branch.envelope.event.kind;
        let before = effects.len();
        for target in &self.named {
            let matching = self.entries.iter().find(|entry| {
                entry.target == *target && entry.when.as_ref().is_none_or(|when| when.matches(kind))
            });
            if let Some(entry) = matching {
                let effect = entry.effect(branch, self.kinds.get(&**target))?;
                effects.push(self.checked(target.clone(), format!("{id}.{target}"), effect)?);
            }
        }
        Ok(effects.len() - before)
    }

    /// Whether what the target holds is of one of these versions.
    pub(super) fn holds(&self, target: &str, versions: &[u32]) -> bool {
        let own = self.contracts.get(target);
        own.is_none_or(|own| versions.contains(&own.version()))
    }

    /// What does not keep to the contract of its target: the first of it, as nothing of the event is
    /// applied then.
    fn violation(&self, effects: &[PlannedEffect]) -> Option<Fault> {
        if self.contracts.is_empty() {
            return None;
        }
        effects.iter().find_map(|planned| {
            let contract = self.contracts.get(&*planned.target)?;
            let violation = contract.check(&planned.effect).err()?;
            let error = format!("target `{}`: {violation}", planned.target);
            let mut fault = Fault::new(DeadReason::Contract, error);
            fault.place = Some(planned.target.to_string());
            Some(fault)
        })
    }

    fn checked(
        &self,
        target: Arc<str>,
        id: String,
        effect: Effect,
    ) -> Result<PlannedEffect, Fault> {
        let name = target.escape_debug();
        let fault = match self.kinds.get(&*target) {
            None => format!("target `{name}` is not configured"),
            Some(_) if !self.writable.contains(&*target) => format!(
                "pipeline `{}` may not write target `{name}`: name it in `targets`",
                self.pipeline
            ),
            Some(_) if effect.key.is_empty() => {
                format!("an effect on target `{name}` has an empty key")
            }
            Some(kind) => match unsupported(kind, effect.operation) {
                Some(why) => format!("target `{name}`: {why}"),
                None => return Ok(PlannedEffect { target, effect, id }),
            },
        };
        Err(Fault::new(DeadReason::BadAnswer, fault))
    }
}

impl Entry {
    fn effect(&self, branch: &Branch, kind: Option<&Kind>) -> Result<Effect, Fault> {
        let event = &branch.envelope.event;
        let key = match &self.key {
            None => branch.envelope.origin.key.to_string(),
            Some(pointer) => scalar_at(&branch.envelope.data, pointer).ok_or_else(|| {
                let error = format!(
                    "the data holds no string, number or boolean at `{pointer}`, the key for \
                     target `{}`",
                    self.target
                );
                Fault::new(DeadReason::BadAnswer, error)
            })?,
        };
        let is_delete = self.operation == Operation::Delete;
        // On a subject the event stays an event; elsewhere only its data counts.
        let headers = match kind {
            Some(Kind::Subject { .. }) => event.to_message_headers(),
            _ => Headers::default(),
        };
        Ok(Effect {
            target: None,
            entity: self.entity.clone(),
            operation: self.operation,
            key,
            precondition: None,
            content_type: event.data_content_type.clone().filter(|_| !is_delete),
            headers,
            payload: if is_delete {
                Bytes::new()
            } else {
                branch.envelope.data.clone()
            },
        })
    }
}
