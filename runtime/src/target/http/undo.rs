//! Effects that are seen at once and can be taken back: what was there is read first, the write
//! depends on it, and taking it back depends on what the write left.
//!
//! Each step may be repeated. A module of level M0 has no versions to depend on: there, what is
//! compared may change between two requests, and a request that was thought lost may still arrive. So
//! may one that creates an entity, at any level: nothing that is not there has a version.

use super::status::{Meaning, meaning_of};
use super::{Http, Level, NoAnswer, headers, method_of, said};
use crate::event::{Effect, Headers, Operation, PlannedEffect, Precondition, reserved};
use crate::target::merge::merge;
use crate::target::{self, Cause, ReadError};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How often a step begins again that somebody else got in the way of.
const ROUNDS: usize = 3;

/// An entity as it was before an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its version, where the module has versions.
    pub etag: Option<String>,
    /// What it held; none: it was not there.
    pub content: Option<String>,
    /// Media type of the content.
    pub content_type: Option<String>,
}

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

impl From<Image> for target::Image {
    fn from(image: Image) -> Self {
        let mut headers = Headers::default();
        if let Some(content_type) = image.content_type {
            headers.push(reserved::CONTENT_TYPE, content_type);
        }
        Self {
            etag: image.etag.unwrap_or_default(),
            headers,
            data: image.content.map(Bytes::from),
        }
    }
}

impl From<&target::Image> for Image {
    fn from(image: &target::Image) -> Self {
        let text = |data: &Bytes| String::from_utf8_lossy(data).into_owned();
        Self {
            etag: Some(image.etag.clone()).filter(|etag| !etag.is_empty()),
            content: image.data.as_ref().map(text),
            content_type: image.headers.get(reserved::CONTENT_TYPE).map(str::to_owned),
        }
    }
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
        match etag.filter(|etag| !etag.starts_with("W/")) {
            Some(etag) => Ok(Some(etag)),
            None => Err(ReadError::Invalid(
                "the module is said to be of level M1, and the entity has no strong `ETag`"
                    .to_owned(),
            )),
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
        if let Some(why) = broken(effect, image) {
            return Ok(Acted::Conflict(why));
        }
        let url = self.url_of(effect).map_err(ReadError::Invalid)?;
        let mut headers = headers(planned, cause).map_err(ReadError::Invalid)?;
        self.depend_on(image, &mut headers);
        let payload = match effect.operation {
            Operation::Delete => Bytes::new(),
            _ => effect.payload.clone(),
        };
        self.turn().await;
        let asked = self.ask(method_of(effect.operation), &url, headers, payload);
        let (status, _, body) = asked
            .await
            .map_err(|NoAnswer(why)| ReadError::Unavailable(why))?;
        let said = said(status, &body);
        Ok(match meaning_of(status, effect.operation) {
            Meaning::Applied => Acted::Done,
            Meaning::Refused => Acted::Refused(said),
            Meaning::Unknown | Meaning::Silence => Acted::Unknown(said),
            // It was done before, or somebody else has written.
            Meaning::Conflict => match self.look(&url).await? {
                now if is_wanted(effect, image, &now) => Acted::Done,
                _ => Acted::Conflict(said),
            },
        })
    }

    /// Makes the entity what it was in `image`, whether `planned` was applied, was not, or may still
    /// arrive.
    pub(in crate::target) async fn undo(&self, planned: &PlannedEffect, image: &Image) -> Undone {
        match self.try_undo(&planned.effect, image).await {
            Ok(undone) => undone,
            Err(ReadError::Invalid(why) | ReadError::Unavailable(why)) => Undone::Unknown(why),
        }
    }

    async fn try_undo(&self, effect: &Effect, image: &Image) -> Result<Undone, ReadError> {
        let url = self.url_of(effect).map_err(ReadError::Invalid)?;
        self.turn().await;
        for _ in 0..ROUNDS {
            let now = self.look(&url).await?;
            let is_as_before = is_same(image, &now);
            // A version that has moved on refuses what is still on its way; one that has not would
            // take it.
            let may_arrive = now.etag.is_some() && now.etag == image.etag;
            if is_as_before && !may_arrive {
                return Ok(Undone::Restored);
            }
            if !is_as_before && !is_wanted(effect, image, &now) {
                return Ok(Undone::Foreign(format!(
                    "the entity `{}` was written by somebody else meanwhile",
                    effect.key.escape_debug()
                )));
            }
            let (status, body) = self.write_back(&url, image, &now).await?;
            match meaning_of(status, Operation::Delete) {
                // Seen, not believed.
                Meaning::Applied | Meaning::Conflict => {}
                _ => return Ok(Undone::Unknown(said(status, &body))),
            }
        }
        let why = "the entity does not stay as it was written back";
        Ok(Undone::Unknown(why.to_owned()))
    }

    async fn write_back(
        &self,
        url: &str,
        image: &Image,
        now: &Image,
    ) -> Result<(u16, Bytes), ReadError> {
        let mut headers = HeaderMap::new();
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

/// Why the effect does not go with what was seen, if it does not.
fn broken(effect: &Effect, image: &Image) -> Option<String> {
    match (effect.precondition.as_ref()?, &image.content) {
        (Precondition::Absent, Some(_)) => Some("the entity exists".to_owned()),
        (Precondition::Present | Precondition::Etag(_), None) => {
            Some("the entity does not exist".to_owned())
        }
        (Precondition::Etag(etag), _) if image.etag.as_ref() != Some(etag) => Some(format!(
            "the entity is not at version {}",
            etag.escape_debug()
        )),
        _ => None,
    }
}

/// Whether both hold the same.
fn is_same(one: &Image, other: &Image) -> bool {
    match (&one.content, &other.content) {
        (Some(one), Some(other)) => one == other || parsed(one) == parsed(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Whether `now` is what the effect makes of `image`. What the module adds of its own does not count.
fn is_wanted(effect: &Effect, image: &Image, now: &Image) -> bool {
    let payload = String::from_utf8_lossy(&effect.payload);
    let wanted = match effect.operation {
        Operation::Delete => return now.content.is_none(),
        Operation::Merge => {
            let mut wanted = image.content.as_deref().map_or(Value::Null, parsed);
            merge(&mut wanted, parsed(&payload));
            wanted
        }
        Operation::Upsert | Operation::Append => parsed(&payload),
    };
    now.content
        .as_deref()
        .is_some_and(|now| holds(&parsed(now), &wanted))
}

/// Whether every member of `wanted` is in `found`.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let found = found.get(name).unwrap_or(&Value::Null);
            holds(found, wanted)
        }),
        (found, wanted) => found == wanted,
    }
}
