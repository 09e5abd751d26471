//! Whether an effect keeps to a contract. Nothing is asked of the target.

use super::document::{Contract, Entity, EtagPolicy, Verb};
use crate::event::{Effect, Operation, Precondition};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use std::fmt;

/// How many faults of one payload are told.
const MOST: usize = 5;
/// The longest place or text that is told: names come from payloads.
const LONGEST: usize = 1000;

/// An effect that does not keep to the contract of its target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{contract}, entity `{entity}`, key `{key}`, {operation}: {}", told(.faults))]
pub struct Violation {
    /// The contract, as messages name it.
    pub contract: String,
    /// The kind of entity.
    pub entity: String,
    /// Which one.
    pub key: String,
    /// What was to be done to it.
    pub operation: Operation,
    /// What is wrong.
    pub faults: Vec<Wrong>,
}

/// One thing that is wrong with an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where in the payload, a JSON pointer; none: it is about no place in it.
    pub at: Option<String>,
    /// What.
    pub fault: String,
}

impl Wrong {
    fn with(fault: impl Into<String>) -> Self {
        Self {
            at: None,
            fault: cut(&fault.into()),
        }
    }

    fn at(pointer: &str, fault: impl Into<String>) -> Self {
        Self {
            at: Some(cut(pointer)),
            fault: cut(&fault.into()),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_deref() {
            None => f.write_str(&self.fault),
            Some("") => write!(f, "the payload as a whole: {}", self.fault),
            Some(at) => write!(f, "at `{}`: {}", at.escape_debug(), self.fault),
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

pub(super) fn told(faults: &[Wrong]) -> String {
    let shown = faults.iter().take(MOST).map(ToString::to_string);
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if faults.len() > MOST {
        text.push_str("; and more");
    }
    text
}

impl Contract {
    /// Whether `effect` keeps to it.
    ///
    /// # Errors
    /// What it does otherwise, and where.
    pub fn check(&self, effect: &Effect) -> Result<(), Violation> {
        let violation = |entity: &str, faults| Violation {
            contract: self.to_string(),
            entity: cut(&entity.escape_debug().to_string()),
            key: cut(&effect.key.escape_debug().to_string()),
            operation: effect.operation,
            faults,
        };
        match self.entity(effect.entity.as_deref()) {
            Err(fault) => {
                let named = effect.entity.as_deref().unwrap_or("_");
                Err(violation(named, vec![Wrong::with(fault)]))
            }
            Ok((kind, entity)) => match entity.faults(effect) {
                faults if faults.is_empty() => Ok(()),
                faults => Err(violation(kind, faults)),
            },
        }
    }
}

impl Entity {
    /// Why nobody may do `verb` to it, if nobody may.
    #[must_use]
    pub fn forbids(&self, verb: Verb) -> Option<String> {
        if self.operations.contains(&verb) {
            return None;
        }
        let known: Vec<_> = self.operations.iter().map(|verb| verb.as_str()).collect();
        Some(format!(
            "`{}` is none of its operations: {}",
            verb.as_str(),
            known.join(", ")
        ))
    }

    /// Why a change without a precondition is refused, if it is.
    #[must_use]
    pub fn needs_precondition(&self, operation: Operation) -> Option<&'static str> {
        let is_change = operation != Operation::Append;
        (is_change && self.etag == EtagPolicy::Required).then_some(
            "its etag is required: the change has to say which version of the entity it rests on, \
             or that there is none (precondition `etag` or `absent`)",
        )
    }

    fn faults(&self, effect: &Effect) -> Vec<Wrong> {
        if let Some(fault) = self.forbids(Verb::of(effect.operation)) {
            return vec![Wrong::with(fault)];
        }
        let mut faults = Vec::new();
        faults.extend(self.fault_of_precondition(effect).map(Wrong::with));
        faults.extend(self.content_faults(effect));
        faults
    }

    /// What of its key and its payload does not keep to the contract.
    pub(super) fn content_faults(&self, effect: &Effect) -> Vec<Wrong> {
        let mut faults = Vec::new();
        // A record that is added has no identity.
        if effect.operation != Operation::Append {
            faults.extend(self.key.refuse(&effect.key).map(Wrong::with));
        }
        if effect.operation != Operation::Delete {
            faults.extend(self.faults_of_payload(effect));
        }
        faults
    }

    fn fault_of_precondition(&self, effect: &Effect) -> Option<String> {
        match &effect.precondition {
            Some(Precondition::Etag(_)) if self.etag == EtagPolicy::None => {
                Some("it has no etags, so that no change can rest on one".to_owned())
            }
            None | Some(Precondition::Present) => {
                self.needs_precondition(effect.operation).map(str::to_owned)
            }
            Some(Precondition::Absent | Precondition::Etag(_)) => None,
        }
    }

    fn faults_of_payload(&self, effect: &Effect) -> Vec<Wrong> {
        let mut payload: Value = match serde_json::from_slice(&effect.payload) {
            Ok(payload) => payload,
            Err(error) => return vec![Wrong::at("", format!("it is not JSON: {error}"))],
        };
        let is_merge = effect.operation == Operation::Merge;
        // Merged into nothing, a patch is the entity, without what it takes out.
        let is_whole = !is_merge || effect.precondition == Some(Precondition::Absent);
        if is_merge && is_whole {
            take_out(&mut payload);
        }
        let mut faults = match is_whole {
            true => faults_of(&self.whole, &payload, None),
            false => faults_of(&self.patch, &payload, Some(&payload)),
        };
        if effect.operation != Operation::Append {
            let mismatch = self.key.mismatch(&effect.key, &payload, !is_whole);
            faults.extend(mismatch.map(|(at, fault)| Wrong::at(at, fault)));
        }
        faults
    }
}

/// Members of a patch that take something out are gone from what it is merged into.
fn take_out(patch: &mut Value) {
    if let Value::Object(members) = patch {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(take_out);
    }
}

fn faults_of(validator: &Validator, payload: &Value, patch: Option<&Value>) -> Vec<Wrong> {
    if validator.is_valid(payload) {
        return Vec::new();
    }
    let errors = validator.iter_errors(payload).take(MOST + 1);
    errors.map(|error| wrong(&error, patch)).collect()
}

/// Values are left out: they stand in the dead letter, and have no place in a log.
fn wrong(error: &ValidationError<'_>, patch: Option<&Value>) -> Wrong {
    let at = error.instance_path().as_str();
    let is_null = error.instance().is_null() && error.kind().keyword() == "type";
    if is_null && patch.is_some_and(|patch| takes_out(patch, at)) {
        return Wrong::at(at, "it is required, and `null` would take it out");
    }
    if matches!(error.kind(), ValidationErrorKind::FalseSchema) {
        return Wrong::at(at, "nothing is allowed here");
    }
    Wrong::at(at, error.masked_with("it").to_string())
}

/// Whether the `null` at this place of a patch stands for taking out: lists are replaced as they are.
fn takes_out(patch: &Value, at: &str) -> bool {
    let above = at.match_indices('/').map(|(end, _)| &at[..end]);
    let mut above = above.filter_map(|at| patch.pointer(at));
    !at.is_empty() && above.all(Value::is_object)
}
