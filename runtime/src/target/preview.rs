//! What a target would hold, told without changing anything.

use super::{Opened, ReadError, Target};
use crate::event::merge;
use bytes::Bytes;
use serde_json::Value;

/// An entity that is to be written whole, or whose key alone is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its kind, as effects name it.
    pub entity: Option<String>,
    /// Its key, as effects name it.
    pub key: String,
    /// What it is to be; none: only its key is asked about.
    pub data: Option<Bytes>,
}

/// It, as the target would give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Where it lies: the same for whatever names the same entity.
    pub place: String,
    /// What a read would find; of a key alone, nothing to rely on.
    pub data: Bytes,
}

impl Target {
    /// What reads would find once these were written, each with why it cannot be where it cannot.
    ///
    /// # Errors
    /// When the target does not say.
    pub async fn preview(
        &self,
        drafts: &[Draft],
    ) -> Result<Vec<Result<Preview, String>>, ReadError> {
        let previews = async {
            match &self.kind {
                Opened::Postgres(target) => Box::pin(target.preview(drafts)).await,
                Opened::Subject(_) | Opened::Kv(_) | Opened::Http(_) => {
                    let as_it_is = |draft: &Draft| {
                        Ok(Preview {
                            place: self.place_of(draft.entity.as_deref(), &draft.key),
                            data: draft.data.clone().unwrap_or_default(),
                        })
                    };
                    Ok(drafts.iter().map(as_it_is).collect())
                }
            }
        };
        self.in_time(previews).await
    }

    /// Whether it holds kinds of entities apart.
    #[must_use]
    pub fn holds_kinds(&self) -> bool {
        match &self.kind {
            Opened::Postgres(target) => target.holds_kinds(),
            Opened::Subject(_) | Opened::Kv(_) | Opened::Http(_) => true,
        }
    }

    /// Where an entity of a list lies: the same place that a preview tells.
    #[must_use]
    pub fn place_of(&self, entity: Option<&str>, key: &str) -> String {
        match &self.kind {
            Opened::Kv(target) => target.place(entity, key),
            Opened::Postgres(_) | Opened::Subject(_) | Opened::Http(_) => {
                serde_json::json!([entity, key]).to_string()
            }
        }
    }

    /// What the target would make of an entity that a patch is merged into (RFC 7396); `current` none: of none.
    ///
    /// # Errors
    /// Why it cannot be merged.
    pub fn merged(&self, current: Option<&[u8]>, patch: &[u8]) -> Result<Bytes, String> {
        if let Opened::Postgres(_) = &self.kind {
            return super::postgres::merged(current, patch);
        }
        let read = |text: &[u8], what: &str| {
            let read = serde_json::from_slice::<Value>(text);
            read.map_err(|error| format!("{what} is not JSON: {error}"))
        };
        let patch = read(patch, "the payload of a merge")?;
        let mut entity = match current {
            Some(current) => read(current, "the entity to merge into")?,
            None => Value::Null,
        };
        merge(&mut entity, patch);
        Ok(Bytes::from(entity.to_string()))
    }
}
