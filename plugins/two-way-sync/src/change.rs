//! What the change feed tells.

use serde::{Deserialize, Deserializer};
use syncline_sdk::prelude::*;

use super::Policy;
use super::merge::{Scope, carried, merged, onto, patched};

/// The data of an event of the change feed.
#[derive(Deserialize)]
pub(crate) struct Change {
    pub(crate) target: String,
    pub(crate) entity: Option<String>,
    pub(crate) key: String,
    operation: String,
    #[serde(default, deserialize_with = "told")]
    before: Option<Value>,
    #[serde(default, deserialize_with = "told")]
    after: Option<Value>,
    patch: Option<Value>,
    after_type: Option<String>,
}

/// A member that is there, also where it is `null`.
fn told<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// What a change does to an entity. Nothing there is `null`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    /// It is this from now on.
    Replace(Value),
    /// RFC 7396.
    Patch(Value),
    /// What led from the first to the second, and nothing else.
    Between(Value, Value),
    /// It is gone.
    Remove,
}

impl Change {
    /// What was done; none: a record was added, which is nobody's.
    ///
    /// # Errors
    /// It is no change of an entity in JSON.
    pub(crate) fn edit(&self, policy: Policy) -> Result<Option<Edit>> {
        if let Some(kind) = &self.after_type {
            let why = format!(
                "what `{}` holds at `{}` is no JSON but {kind}: only JSON is kept in step",
                self.target, self.key
            );
            return Err(Error::reject(why));
        }
        let after = self.after.clone().map(carried);
        let patch = self.patch.clone().map(carried);
        Ok(Some(match (self.operation.as_str(), after, patch) {
            ("append", ..) => return Ok(None),
            ("delete", ..) => Edit::Remove,
            ("merge", Some(after), _) if policy == Policy::LastWriter => Edit::Replace(after),
            ("merge", _, Some(patch)) if patch.is_object() => Edit::Patch(patch),
            ("merge", _, Some(whole)) => Edit::Replace(whole),
            ("upsert", Some(after), _) => match &self.before {
                Some(before @ Value::Object(_)) if policy == Policy::Fields => {
                    Edit::Between(carried(before.clone()), after)
                }
                _ => Edit::Replace(after),
            },
            (other, ..) => {
                let why = format!("`{other}` without what it does is no event of a change feed");
                return Err(Error::reject(why));
            }
        }))
    }
}

impl Edit {
    /// What it makes of `agreed`, made at a side that holds `origin` by now.
    pub(crate) fn applied(&self, agreed: &Value, origin: &Value, scope: Scope) -> Value {
        match self {
            Self::Replace(after) => after.clone(),
            Self::Patch(patch) => patched(agreed, patch, origin, scope),
            Self::Between(before, after) => onto(before, after, agreed),
            Self::Remove => Value::Null,
        }
    }

    /// What it leads to where nothing was agreed on and the side that it was made at holds `origin`: a
    /// patch says nothing of the rest.
    pub(crate) fn unseen(&self, origin: &Value) -> Value {
        match self {
            Self::Patch(_) if origin.is_null() => Value::Null,
            Self::Patch(patch) => merged(origin.clone(), patch),
            Self::Replace(after) | Self::Between(_, after) => after.clone(),
            Self::Remove => Value::Null,
        }
    }
}
