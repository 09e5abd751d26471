//! What an adapter between two versions has to come through: there and back again.

use super::adapted::{Adapted, Direction};
use super::document::{Contract, Verb};
use crate::event::{Effect, Headers, Operation, merge};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// An entity of the version beside, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The kind; none: the default one.
    pub entity: Option<String>,
    /// Its key.
    pub key: String,
    /// The entity in the version beside.
    pub data: Value,
    /// The same in the target's own; none: whatever comes back as it was.
    pub becomes: Option<Value>,
    /// A patch of the entity, in the version beside: patched and then adapted, it has to be what it is
    /// adapted and then patched.
    pub patch: Option<Value>,
}

impl Case {
    /// The cases in `file`, a JSON list.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn load(file: &Path) -> Result<Vec<Self>, String> {
        let name = file.display();
        let text = std::fs::read(file).map_err(|error| format!("cannot read `{name}`: {error}"))?;
        let cases: Vec<Self> = serde_json::from_slice(&text).map_err(|error| {
            format!(
                "`{name}` is no list of cases: {error}: write [{{ \"key\": .., \"data\": .. }}]"
            )
        })?;
        match cases.is_empty() {
            true => Err(format!("`{name}` has no case: write at least one")),
            false => Ok(cases),
        }
    }
}

impl Adapted {
    /// What does not come out of the cases as it should, each with its number from 1.
    pub async fn faults(&self, cases: &[Case]) -> Vec<String> {
        let mut faults = Vec::new();
        for (n, case) in cases.iter().enumerate() {
            if let Err(fault) = self.keeps(case).await {
                faults.push(format!("case {}, key `{}`: {fault}", n + 1, case.key));
            }
        }
        faults
    }

    async fn keeps(&self, case: &Case) -> Result<(), String> {
        let whole = |data: &Value| case.effect(Operation::Upsert, data);
        allowed(&self.contract, &whole(&case.data))?;
        let up = self.case_up(case, Verb::Upsert, &case.data).await?;
        allowed(&self.own, &whole(&up))?;
        if let Some(expected) = &case.becomes
            && up != *expected
        {
            return Err(format!("it becomes {up}, and should become {expected}"));
        }
        let data = bytes(&up);
        let down = self.down(case.entity.as_deref(), &case.key, &data).await;
        let down = read(&down.map_err(|error| format!("on the way down: {error}"))?)?;
        if down != case.data {
            return Err(format!("it comes back as {down}"));
        }
        let Some(patch) = &case.patch else {
            return Ok(());
        };
        let mut patched = case.data.clone();
        merge(&mut patched, patch.clone());
        let expected = self.case_up(case, Verb::Upsert, &patched).await?;
        let patch_up = self.case_up(case, Verb::Merge, patch).await?;
        let mut found = up;
        merge(&mut found, patch_up.clone());
        match found == expected {
            true => Ok(()),
            false => Err(format!(
                "the patch becomes {patch_up}, which makes {found}; patched before, it becomes {expected}"
            )),
        }
    }

    async fn case_up(&self, case: &Case, verb: Verb, data: &Value) -> Result<Value, String> {
        let operation = match verb {
            Verb::Merge => Operation::Merge,
            _ => Operation::Upsert,
        };
        let up = self.up_unchecked(&case.effect(operation, data)).await;
        let up = up.map_err(|error| format!("on the way {}: {error}", Direction::Up.as_str()))?;
        read(&up.payload)
    }
}

impl Case {
    fn effect(&self, operation: Operation, data: &Value) -> Effect {
        Effect {
            target: None,
            entity: self.entity.clone(),
            operation,
            key: self.key.clone(),
            precondition: None,
            content_type: Some("application/json".to_owned()),
            headers: Headers::default(),
            payload: bytes(data),
        }
    }
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

fn read(data: &Bytes) -> Result<Value, String> {
    serde_json::from_slice(data)
        .map_err(|error| format!("what the adapter made is no JSON: {error}"))
}

/// Whether the entity is one by `contract`, whoever may write it.
fn allowed(contract: &Contract, effect: &Effect) -> Result<(), String> {
    let (_, entity) = contract.entity(effect.entity.as_deref())?;
    let faults = entity.content_faults(effect);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!("as {contract}: {}", super::check::told(&faults))),
    }
}
