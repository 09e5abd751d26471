//! What became of a part of a transaction that was to be taken back, for those who look at it later.

use super::{Branch, Part};
use crate::target::Undone;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What became of a part that was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// The target; of a database, one in it.
    pub target: Arc<str>,
    /// The entity, where it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entity: Option<String>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Whether it is as before.
    pub restored: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
}

impl TakenBack {
    /// Of `part`, as its target has answered.
    pub(in crate::txn) fn of(part: &Part<'_>, undone: &Undone) -> Self {
        let (target, effect) = match part {
            Part::Branch(Branch { target, .. }) => ((*target).clone(), None),
            Part::Change(decided) => {
                let planned = &decided.planned;
                (planned.target.clone(), Some(&planned.effect))
            }
        };
        Self {
            target,
            entity: effect.and_then(|effect| effect.entity.clone()),
            key: effect.map(|effect| effect.key.clone()),
            restored: *undone == Undone::Restored,
            why: match undone {
                Undone::Restored => None,
                Undone::Foreign(why) | Undone::Unknown(why) => Some(why.clone()),
            },
        }
    }
}
