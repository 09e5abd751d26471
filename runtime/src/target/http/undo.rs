//! Effects that are seen at once and can be taken back: what was there is read first, the write
//! depends on it, and taking it back depends on what the write left.
//!
//! Each step may be repeated. A module of level M0 has no versions to depend on: there, what is
//! compared may change between two requests, and a request that was thought lost may still arrive. At
//! level M1 so may one that creates an entity: nothing that is not there has a version. A module of
//! level M2 is sent the same request again, under the same key: from then on it has taken it, or never
//! will, and says which version it left.

use super::image::Image;
use super::key::Step;
use super::status::{Meaning, meaning_of};
use super::{Http, Level, NoAnswer, caused, headers, method_of, said};
use crate::event::{Effect, Operation, PlannedEffect};
use crate::target::{Cause, ReadError};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use tracing::warn;

/// How often a step begins again that somebody else got in the way of, or that nobody answered.
const ROUNDS: usize = 3;

/// What became of an effect that can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// The module holds it.
    Done,
    /// The module will never take it, and has not.
    Refused(String),
    /// The entity is not what it was. Nothing was done.
    Conflict(String),
    /// It may be done or not: act again, or undo.
    Unknown(String),
}

/// What became of taking an effect back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The entity is what it was.
    Restored,
    /// Somebody else has written it: this is for an operator to decide.
    Foreign(String),
    /// It may be restored or not: ask again.
    Unknown(String),
}

/// What a module says to a change.
enum Said {
    /// It took it, now or before under the same key, and this is the version that it left.
    Applied(Option<String>),
    Refused(String),
    Conflict(String),
    Unknown(String),
}

/// By what the change is known in the entity as it is now.
enum Left {
    /// This version, which nobody else made.
    Version(String),
    /// Its content.
    Content,
}

impl Http {
    /// What is there before `planned`.
    pub(in crate::target) async fn image(&self, effect: &Effect) -> Result<Image, ReadError> {
        if effect.operation == Operation::Append {
            let why = "what is appended cannot be found again to take it back";
            return Err(ReadError::Invalid(why.to_owned()));
        }
        let url = self.url_of(effect).map_err(ReadError::Invalid)?;
        self.turn().await;
        self.look(&url).await
    }

    async fn look(&self, url: &str) -> Result<Image, ReadError> {
        let asked = self
            .ask(Method::GET, url, HeaderMap::new(), Bytes::new())
            .await;
        let (status, headers, body) = asked.map_err(|NoAnswer(why)| ReadError::Unavailable(why))?;
        let header = |name: HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        match meaning_of(status, Operation::Delete) {
            Meaning::Applied if matches!(status, 404 | 410) => Ok(Image {
                etag: None,
                content: None,
                content_type: None,
            }),
            Meaning::Applied => {
                let content = String::from_utf8(body.to_vec());
                let odd = |_| ReadError::Invalid("the entity is no text".to_owned());
                Ok(Image {
                    etag: self.versions(header(ETAG))?,
                    content: Some(content.map_err(odd)?),
                    content_type: header(CONTENT_TYPE),
                })
            }
            Meaning::Refused | Meaning::Conflict => Err(ReadError::Invalid(said(status, &body))),
            Meaning::Unknown | Meaning::Silence => Err(ReadError::Unavailable(said(status, &body))),
        }
    }

    /// The version, which a module of level M1 has and nothing is compared without.
    fn versions(&self, etag: Option<String>) -> Result<Option<String>, ReadError> {
        if self.level == Level::M0 {
            return Ok(None);
        }
        match strong(etag) {
            Some(etag) => Ok(Some(etag)),
            None => Err(ReadError::Invalid(format!(
                "the module is said to be of level {}, and the entity has no strong `ETag`",
                self.level.as_str()
            ))),
        }
    }

    /// Applies `planned` to what is as in `image`. Called again it finds out what the first time did.
    pub(in crate::target) async fn act(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Acted {
        match self.try_act(planned, cause, image).await {
            Ok(acted) => acted,
            Err(ReadError::Invalid(why)) => Acted::Refused(why),
            Err(ReadError::Unavailable(why)) => Acted::Unknown(why),
        }
    }

    async fn try_act(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Result<Acted, ReadError> {
        let effect = &planned.effect;
        if let Some(why) = image.breaks(effect) {
            return Ok(Acted::Conflict(why));
        }
        let mut said = self.send(planned, cause, image).await?;
        let mut is_doubtful = false;
        for _ in 1..ROUNDS {
            if self.level != Level::M2 || !matches!(said, Said::Unknown(_)) {
                break;
            }
            said = self.send(planned, cause, image).await?;
            is_doubtful = true;
        }
        Ok(match said {
            Said::Applied(_) => Acted::Done,
            // The first of them may have been taken by a module that does not remember it.
            Said::Refused(why) if is_doubtful => Acted::Unknown(why),
            Said::Refused(why) => Acted::Refused(why),
            Said::Unknown(why) => Acted::Unknown(why),
            // It was done before, or somebody else has written.
            Said::Conflict(why) => {
                let url = self.url_of(effect).map_err(ReadError::Invalid)?;
                match self.look(&url).await? {
                    now if image.becomes(effect, &now) => Acted::Done,
                    _ => Acted::Conflict(why),
                }
            }
        })
    }

    /// Sends `planned` on the condition that the entity is as in `image`. Sent again, it is the same
    /// request.
    async fn send(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Result<Said, ReadError> {
        let effect = &planned.effect;
        let url = self.url_of(effect).map_err(ReadError::Invalid)?;
        let headers = headers(planned, cause, Step::Do);
        let mut headers = headers.map_err(ReadError::Invalid)?;
        self.depend_on(image, &mut headers);
        let payload = match effect.operation {
            Operation::Delete => Bytes::new(),
            _ => effect.payload.clone(),
        };
        self.turn().await;
        let asked = self.ask(method_of(effect.operation), &url, headers, payload);
        let (status, headers, body) = match asked.await {
            Ok(answer) => answer,
            Err(NoAnswer(why)) => return Ok(Said::Unknown(why)),
        };
        let said = said(status, &body);
        let etag = headers.get(ETAG).and_then(|value| value.to_str().ok());
        Ok(match meaning_of(status, effect.operation) {
            Meaning::Applied => Said::Applied(strong(etag.map(str::to_owned))),
            Meaning::Refused => Said::Refused(said),
            Meaning::Conflict => Said::Conflict(said),
            Meaning::Unknown | Meaning::Silence => Said::Unknown(said),
        })
    }

    /// Makes the entity what it was in `image`, whether `planned` was applied, was not, or may still
    /// arrive.
    pub(in crate::target) async fn undo(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Undone {
        match self.try_undo(planned, cause, image).await {
            Ok(undone) => undone,
            Err(ReadError::Invalid(why) | ReadError::Unavailable(why)) => Undone::Unknown(why),
        }
    }

    async fn try_undo(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Result<Undone, ReadError> {
        let effect = &planned.effect;
        let url = self.url_of(effect).map_err(ReadError::Invalid)?;
        self.turn().await;
        let left = match self.level {
            Level::M2 => self.left(planned, cause, image).await?,
            _ => Left::Content,
        };
        let mut is_written_back = false;
        for _ in 0..ROUNDS {
            let now = self.look(&url).await?;
            let is_as_before = image.holds_same(&now);
            // A version that has moved on refuses what is still on its way; one that has not would
            // take it.
            if is_as_before && !image.is_version(&now) {
                return Ok(Undone::Restored);
            }
            if is_as_before && is_written_back {
                warn!(url = %self.settings.url, level = self.level.as_str(),
                    "the module gives an entity a version that it had before, as where the `ETag` is a hash of the \
                     content: a change that is late would be taken. What it keeps to is `level = \"M0\"`");
                return Ok(Undone::Restored);
            }
            let is_ours = match &left {
                Left::Version(etag) => now.etag.as_ref() == Some(etag),
                Left::Content => image.becomes(effect, &now),
            };
            if !is_as_before && !is_ours {
                return Ok(Undone::Foreign(format!(
                    "the entity `{}` was written by somebody else meanwhile",
                    effect.key.escape_debug()
                )));
            }
            let (status, body) = self.write_back(&url, cause, (image, &now)).await?;
            match meaning_of(status, Operation::Delete) {
                // Seen, not believed.
                Meaning::Applied => is_written_back = true,
                // By the change, late, or by whoever has taken over from us.
                Meaning::Conflict => {
                    let why = "the entity was written meanwhile".to_owned();
                    return Ok(Undone::Unknown(why));
                }
                _ => return Ok(Undone::Unknown(said(status, &body))),
            }
        }
        let why = "the entity does not stay as it was written back";
        Ok(Undone::Unknown(why.to_owned()))
    }

    /// By what the change is known, told by the module: a request that it knows by its key it does not
    /// take again, whenever it comes.
    async fn left(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        image: &Image,
    ) -> Result<Left, ReadError> {
        match self.send(planned, cause, image).await? {
            Said::Applied(Some(etag)) if planned.effect.operation != Operation::Delete => {
                Ok(Left::Version(etag))
            }
            Said::Unknown(why) => Err(ReadError::Unavailable(why)),
            // What was not taken, or is not remembered, is told as at level M1.
            Said::Applied(_) | Said::Refused(_) | Said::Conflict(_) => Ok(Left::Content),
        }
    }

    async fn write_back(
        &self,
        url: &str,
        cause: &Cause,
        (image, now): (&Image, &Image),
    ) -> Result<(u16, Bytes), ReadError> {
        let seen = now.etag.as_deref().unwrap_or_default();
        let headers = caused(cause, Step::Undo { seen });
        let mut headers = headers.map_err(ReadError::Invalid)?;
        self.depend_on(now, &mut headers);
        let (method, content) = match &image.content {
            None => (Method::DELETE, Bytes::new()),
            Some(content) => {
                let kind = image.content_type.as_deref().unwrap_or("application/json");
                if let Ok(kind) = HeaderValue::from_str(kind) {
                    headers.insert(CONTENT_TYPE, kind);
                }
                (Method::PUT, Bytes::from(content.clone()))
            }
        };
        let asked = self.ask(method, url, headers, content).await;
        let (status, _, body) = asked.map_err(|NoAnswer(why)| ReadError::Unavailable(why))?;
        Ok((status, body))
    }

    /// Lets a write depend on what was seen, where the module looks at that.
    fn depend_on(&self, seen: &Image, headers: &mut HeaderMap) {
        headers.remove("if-match");
        headers.remove("if-none-match");
        if self.level == Level::M0 {
            return;
        }
        let (name, value) = match &seen.etag {
            Some(etag) => ("if-match", etag.as_str()),
            None => ("if-none-match", "*"),
        };
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// A version that nothing else has.
fn strong(etag: Option<String>) -> Option<String> {
    etag.filter(|etag| !etag.starts_with("W/"))
}
