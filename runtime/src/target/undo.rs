//! Changes that can be taken back: what was there before, the change on the condition that it still
//! is, and the way back.

use super::{Answer, Cause, Opened, ReadError, Target, http};
use crate::event::{Effect, Headers, PlannedEffect};
use bytes::Bytes;
use std::pin::pin;

/// An entity as it was before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which version; changes are made on the condition that it is the current one.
    pub etag: String,
    /// What stood beside it.
    pub headers: Headers,
    /// The entity; none: there was none.
    pub data: Option<Bytes>,
}

/// What making a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It is made.
    Yes,
    /// It is not, and will not be.
    No(Answer),
    /// It may be made, now or later.
    Maybe(Answer),
}

/// What taking a change back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The entity is as the image has it, and the change cannot be made any more.
    Restored,
    /// Somebody else has changed the entity since, or instead.
    Foreign(String),
    /// It is not known, or cannot be done now: asking again is safe.
    Unknown(String),
}

/// Why a change cannot be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoImage {
    /// Its precondition does not hold.
    Conflict(String),
    /// It never can be.
    Refused(String),
    /// The entity cannot be read now.
    Unknown(String),
}

impl Target {
    /// What `effect` would change, where its precondition holds.
    ///
    /// # Errors
    /// [`NoImage`]: nothing has happened.
    pub async fn image(&self, effect: &Effect) -> Result<Image, NoImage> {
        let image = pin!(async {
            match &self.kind {
                Opened::Kv(target) => target.image(effect).await,
                Opened::Http(target) => Ok(Box::pin(target.image(effect)).await?.into()),
                Opened::Subject(_) | Opened::Postgres(_) => {
                    Err(NoImage::Refused("it cannot be taken back".to_owned()))
                }
            }
        });
        let image = tokio::time::timeout(self.timeout, image).await;
        let image = image.unwrap_or_else(|_| Err(NoImage::Unknown(self.no_answer())));
        match &image {
            // That it can be read does not tell that it can be written.
            Ok(_) => {}
            Err(NoImage::Unknown(why)) => self.learn(&Answer::Unknown(why.clone()), true),
            Err(NoImage::Conflict(why)) => self.learn(&Answer::Conflict(why.clone()), false),
            Err(NoImage::Refused(why)) => self.learn(&Answer::Refused(why.clone()), false),
        }
        image
    }

    /// Makes the change on the condition that the entity is still as `image` has it.
    pub async fn change(&self, planned: &PlannedEffect, image: &Image, cause: &Cause) -> Changed {
        let changed = pin!(async {
            match &self.kind {
                Opened::Kv(target) => target.change(&planned.effect, image, cause).await,
                Opened::Http(target) => {
                    let image = image.into();
                    Box::pin(target.act(planned, cause, &image)).await.into()
                }
                Opened::Subject(_) | Opened::Postgres(_) => {
                    Changed::No(Answer::Refused("it cannot be taken back".to_owned()))
                }
            }
        });
        let changed = tokio::time::timeout(self.timeout, changed).await;
        let changed = changed.unwrap_or_else(|_| Changed::Maybe(self.silence()));
        match &changed {
            Changed::Yes => self.learn(&Answer::Applied, false),
            Changed::No(answer) => self.learn(answer, false),
            Changed::Maybe(answer) => self.learn(answer, true),
        }
        changed
    }

    /// Takes a change back that may have been made, and sees to it that it is not made any more. Asking
    /// again is safe.
    pub async fn undo(&self, planned: &PlannedEffect, image: &Image, cause: &Cause) -> Undone {
        let undone = pin!(async {
            match &self.kind {
                Opened::Kv(target) => target.undo(&planned.effect, image, cause).await,
                Opened::Http(target) => {
                    let image = image.into();
                    Box::pin(target.undo(planned, cause, &image)).await.into()
                }
                Opened::Subject(_) | Opened::Postgres(_) => Undone::Restored,
            }
        });
        let undone = tokio::time::timeout(self.timeout, undone).await;
        undone.unwrap_or_else(|_| Undone::Unknown(self.no_answer()))
    }
}

impl From<http::Acted> for Changed {
    fn from(acted: http::Acted) -> Self {
        match acted {
            http::Acted::Done => Self::Yes,
            http::Acted::Refused(why) => Self::No(Answer::Refused(why)),
            http::Acted::Conflict(why) => Self::No(Answer::Conflict(why)),
            http::Acted::Unknown(why) => Self::Maybe(Answer::Unknown(why)),
        }
    }
}

impl From<http::Undone> for Undone {
    fn from(undone: http::Undone) -> Self {
        match undone {
            http::Undone::Restored => Self::Restored,
            http::Undone::Foreign(why) => Self::Foreign(why),
            http::Undone::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl From<ReadError> for NoImage {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Invalid(why) => Self::Refused(why),
            ReadError::Unavailable(why) => Self::Unknown(why),
        }
    }
}
