//! Keeps modules in step that are all written to: what is changed in one is applied to the others.
//!
//! It works on the change feeds of its sides, in one pipeline and by key, so that the order of the stream
//! decides what came later. What has been agreed on lies in its state; a side that is seen to hold something else
//! has a change of its own on its way, and keeps it.

use serde::Deserialize;
use syncline_sdk::lookup::{Address, Entity};
use syncline_sdk::prelude::*;

use change::{Change, Edit};
use merge::{Scope, carried, clashes, three_way};

mod change;
mod merge;

plugin! {
    /// Applies what is changed in one of several targets to the others, whichever it is.
    TwoWaySync {
        // Which targets are its sides is a setting, so it asks for those that the operator grants.
        targets: ["*"],
        lookups: ["*"],
        capabilities: ["state"],
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: keep_in_step,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    sides: Vec<Side>,
    #[serde(default)]
    policy: Policy,
    conflicts: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    target: String,
    entity: Option<String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    #[default]
    LastWriter,
    Fields,
}

impl Policy {
    fn scope(self) -> Scope {
        match self {
            Self::LastWriter => Scope::Whole,
            Self::Fields => Scope::Members,
        }
    }
}

/// A conflict: two sides were changed before either knew of the other's change.
#[derive(Debug, PartialEq)]
struct Conflict {
    /// The side, by its place, that keeps what it has, because its change comes later.
    side: usize,
    /// JSON pointers to what both changed.
    members: Vec<String>,
}

/// What becomes of one change.
#[derive(Debug, PartialEq)]
struct Step {
    /// What is agreed on from now on; `null`: that there is nothing.
    agreed: Value,
    /// What each side is to hold, where it does not yet.
    wanted: Vec<Option<Value>>,
    conflicts: Vec<Conflict>,
}

/// What `edit`, made at the side `from`, comes to, where `agreed` was agreed on before and the sides hold
/// `now`. Nothing there is `null`.
fn step(edit: &Edit, from: usize, agreed: Option<&Value>, now: &[Value], scope: Scope) -> Step {
    let origin = now.get(from).unwrap_or(&Value::Null);
    let Some(agreed) = agreed else {
        // Never seen, or deleted: nobody can tell which side has moved on.
        let new = edit.unseen(origin);
        let wanted = now
            .iter()
            .map(|now| (*now != new).then(|| new.clone()))
            .collect();
        return Step {
            agreed: new,
            wanted,
            conflicts: Vec::new(),
        };
    };
    let new = edit.applied(agreed, origin, scope);
    let (mut wanted, mut conflicts) = (Vec::with_capacity(now.len()), Vec::new());
    for (side, now) in now.iter().enumerate() {
        let members = clashes(agreed, &new, now, scope);
        if side != from && !members.is_empty() {
            conflicts.push(Conflict { side, members });
        }
        let want = three_way(agreed, &new, now, scope);
        wanted.push((want != *now).then_some(want));
    }
    Step {
        agreed: new,
        wanted,
        conflicts,
    }
}

fn keep_in_step(event: &Event, config: &Config) -> Result<Verdict> {
    let change: Change = event.json()?;
    let Some(from) = config.sides.iter().position(|side| side.is_meant(&change)) else {
        return Ok(Verdict::drop("no side"));
    };
    let Some(edit) = change.edit(config.policy)? else {
        return Ok(Verdict::drop("a record has no identity"));
    };
    let place = config.place(&change);
    let agreed: Option<Value> = state::get_json(&place)?;
    let addresses: Vec<_> = config
        .sides
        .iter()
        .map(|side| side.address(&change))
        .collect();
    let found = lookup::get_many(&addresses)?;
    let now = held(&addresses, &found)?;
    let step = step(&edit, from, agreed.as_ref(), &now, config.policy.scope());
    match &step.agreed {
        Value::Null => state::delete(&place)?,
        agreed => state::put_json(&place, agreed, None)?,
    }
    let mut effects = Vec::new();
    for (address, wanted) in addresses.iter().zip(&step.wanted) {
        if let Some(wanted) = wanted {
            effects.push(effect(address, wanted)?);
        }
    }
    for conflict in &step.conflicts {
        effects.extend(config.tell(conflict, (from, &change), &now, &step.agreed)?);
    }
    Ok(Verdict::apply(effects))
}

/// What the sides hold. Nothing there is `null`.
fn held(addresses: &[Address], found: &[Option<Entity>]) -> Result<Vec<Value>> {
    let sides = addresses.iter().zip(found);
    let values = sides.map(|(address, found)| match found {
        None => Ok(Value::Null),
        Some(entity) => {
            let value = entity.json().map(carried);
            value.map_err(|error| error.context(format!("{}/{}", address.target, address.key)))
        }
    });
    values.collect()
}

/// Brings a side to what it is to hold, without a precondition: under constant change an event would be thought
/// again until it is given up. What is overwritten unseen has a change on its way that brings it back.
fn effect(address: &Address, wanted: &Value) -> Result<Effect> {
    let effect = match wanted {
        Value::Null => Effect::delete(&address.key),
        wanted => Effect::upsert(&address.key).json(wanted)?,
    };
    Ok(Effect {
        entity: address.entity.clone(),
        ..effect.to(&address.target)
    })
}

impl Side {
    fn is_meant(&self, change: &Change) -> bool {
        let is_kind = self.entity.is_none() || self.entity == change.entity;
        self.target == change.target && is_kind
    }

    fn address(&self, change: &Change) -> Address {
        Address {
            target: self.target.clone(),
            entity: self.entity.clone().or_else(|| change.entity.clone()),
            key: change.key.clone(),
        }
    }
}

impl Config {
    /// Where it stands what was agreed on. Sides that name their kind hold one.
    fn place(&self, change: &Change) -> String {
        let is_one = self.sides.iter().any(|side| side.entity.is_some());
        let kind = change.entity.as_deref().filter(|_| !is_one);
        format!("{}/{}", kind.unwrap_or_default(), change.key)
    }

    /// Shows a conflict: in the log, in a counter and, where one is named, as a record in a target.
    fn tell(
        &self,
        conflict: &Conflict,
        (from, change): (usize, &Change),
        now: &[Value],
        new: &Value,
    ) -> Result<Option<Effect>> {
        let name = |side: usize| self.sides.get(side).map_or("", |side| &side.target);
        let (lost, kept) = (name(from), name(conflict.side));
        let members = conflict.members.join(",");
        metrics::count("conflicts", 1, &[("lost", lost), ("kept", kept)]);
        warn!(key = change.key, lost, kept, members; "two sides were changed at once");
        let Some(target) = &self.conflicts else {
            return Ok(None);
        };
        let record = json!({
            "entity": change.entity,
            "key": change.key,
            "members": conflict.members,
            "lost": { "target": lost, "value": new },
            "kept": { "target": kept, "value": now.get(conflict.side) },
        });
        let effect = Effect::append(&change.key).to(target).json(&record)?;
        Ok(Some(effect))
    }
}

#[cfg(test)]
mod tests;
