//! A target that is the HTTP API of a module: each entity has a URL.
//!
//! Requests are sent once: whether one is sent again is for the pipeline to say, which knows what an
//! attempt is; but for requests that the module knows again. Every write carries the same
//! `Idempotency-Key` each time, and the source and sequence that caused it.

mod config;
mod image;
mod key;
mod pause;
mod probe;
mod reservation;
mod status;
mod template;
mod undo;

use super::{Answer, Cause, Found, ReadError};
use crate::event::{Effect, Operation, PlannedEffect, Precondition, reserved};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, redirect, retry};
use std::error::Error as _;
use std::fmt::Display;
use std::time::Duration;

pub use config::{Hidden, Level, Settings, is_free_header};
pub use template::{TransactionUrl, UrlTemplate};
pub use undo::{Acted, Undone};

use key::{Step, key_of};
use pause::Pause;
use status::{Meaning, meaning_of};

/// The longest entity that is read.
const LONGEST: usize = 8 * 1024 * 1024;
/// How much of what a module says about a refusal is kept.
const EXCERPT: usize = 200;
/// How long a connection that nobody uses is kept: shorter than servers do, who would close it at the
/// moment of its use.
const IDLE: Duration = Duration::from_secs(20);

/// A module's API.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    settings: Settings,
    /// What the module was seen to keep to.
    level: Level,
    pause: Pause,
}

/// Why there is no answer to make sense of.
struct NoAnswer(String);

impl Http {
    pub(super) async fn open(
        settings: &Settings,
        timeout: Duration,
        looks: bool,
    ) -> Result<Self, String> {
        let mut defaults = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name: Result<HeaderName, _> = name.parse();
            let value = HeaderValue::from_str(value.expose());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                defaults.insert(name, value);
            }
        }
        let client = Client::builder()
            .tls_backend_preconfigured(settings.tls.client()?)
            .default_headers(defaults)
            .user_agent(concat!("syncline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(timeout)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| format!("setting the HTTP client up: {}", text_of(&error)))?;
        let mut target = Self {
            client,
            settings: settings.clone(),
            level: settings.level,
            pause: Pause::default(),
        };
        if looks {
            let probed = tokio::time::timeout(timeout, target.probe()).await;
            let late = || format!("`{}` does not answer within {timeout:?}", settings.url);
            target.level = probed.map_err(|_| late())??;
        }
        Ok(target)
    }

    /// Waits until the module may be asked.
    pub(super) async fn turn(&self) {
        self.pause.over().await;
    }

    /// The answer, and whether the module was not heard.
    pub(super) async fn apply(&self, planned: &PlannedEffect, cause: &Cause) -> (Answer, bool) {
        let effect = &planned.effect;
        let url = match self.url_of(effect) {
            Ok(url) => url,
            Err(why) => return (Answer::Refused(why), false),
        };
        let headers = match headers(planned, cause, Step::Apply) {
            Ok(headers) => headers,
            Err(why) => return (Answer::Refused(why), false),
        };
        let payload = match effect.operation {
            Operation::Delete => Bytes::new(),
            _ => effect.payload.clone(),
        };
        let asked = self.ask(method_of(effect.operation), &url, headers, payload);
        match asked.await {
            Ok((status, _, body)) => {
                let meaning = meaning_of(status, effect.operation);
                let said = said(status, &body);
                let answer = match meaning {
                    Meaning::Applied => Answer::Applied,
                    Meaning::Refused => Answer::Refused(said),
                    Meaning::Conflict => Answer::Conflict(said),
                    Meaning::Unknown | Meaning::Silence => Answer::Unknown(said),
                };
                (answer, meaning == Meaning::Silence)
            }
            Err(NoAnswer(why)) => (Answer::Unknown(why), true),
        }
    }

    pub(super) async fn read(
        &self,
        entity: Option<&str>,
        key: &str,
    ) -> Result<Option<Found>, ReadError> {
        let url = self
            .settings
            .url
            .expand(entity, key)
            .map_err(ReadError::Invalid)?;
        self.turn().await;
        let asked = self.ask(Method::GET, &url, HeaderMap::new(), Bytes::new());
        let (status, headers, data) = asked
            .await
            .map_err(|NoAnswer(why)| ReadError::Unavailable(why))?;
        let header = |name| {
            let value: Option<&HeaderValue> = headers.get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        match meaning_of(status, Operation::Delete) {
            Meaning::Applied if (200..=299).contains(&status) => Ok(Some(Found {
                content_type: header(CONTENT_TYPE).unwrap_or_else(|| "application/json".to_owned()),
                etag: header(ETAG).unwrap_or_default(),
                data,
            })),
            Meaning::Applied => Ok(None),
            Meaning::Refused | Meaning::Conflict => Err(ReadError::Invalid(said(status, &data))),
            Meaning::Unknown | Meaning::Silence => Err(ReadError::Unavailable(said(status, &data))),
        }
    }

    fn url_of(&self, effect: &Effect) -> Result<String, String> {
        let entity = effect.entity.as_deref();
        match (effect.operation, &self.settings.collection) {
            (Operation::Append, None) => Err(
                "nothing is above the key in the target's URL: name its `collection` to append"
                    .to_owned(),
            ),
            (Operation::Append, Some(collection)) => collection.expand(entity, &effect.key),
            _ => self.settings.url.expand(entity, &effect.key),
        }
    }

    /// Sends one request about an entity and reads the whole answer.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(u16, HeaderMap, Bytes), NoAnswer> {
        let place = (url, &self.settings.url as &(dyn Display + Sync));
        self.ask_at(method, place, headers, body).await
    }

    /// The same of a URL that is one of a template.
    async fn ask_at(
        &self,
        method: Method,
        (url, template): (&str, &(dyn Display + Sync)),
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(u16, HeaderMap, Bytes), NoAnswer> {
        let mut request = self.client.request(method.clone(), url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let place = || format!("{method} {template}");
        let failed = |error: reqwest::Error| {
            NoAnswer(format!("{}: {}", place(), text_of(&error.without_url())))
        };
        let mut response = request.send().await.map_err(failed)?;
        self.pause.note(response.headers());
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = whole(&mut response).await.map_err(failed)?;
        match body {
            Some(body) => Ok((status, headers, body)),
            None if method == Method::GET => Err(NoAnswer(format!(
                "{}: the entity is longer than {LONGEST} bytes",
                place()
            ))),
            // What was to be known of a write stands in its first line.
            None => Ok((status, headers, Bytes::new())),
        }
    }
}

/// The body of an answer; none when it is too long.
async fn whole(response: &mut Response) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

fn method_of(operation: Operation) -> Method {
    match operation {
        Operation::Upsert => Method::PUT,
        Operation::Merge => Method::PATCH,
        Operation::Delete => Method::DELETE,
        Operation::Append => Method::POST,
    }
}

/// The headers of an effect.
fn headers(planned: &PlannedEffect, cause: &Cause, step: Step<'_>) -> Result<HeaderMap, String> {
    let effect = &planned.effect;
    let mut headers = caused(cause, step)?;
    let content_type = match (effect.operation, &effect.content_type) {
        (Operation::Delete, _) => None,
        (Operation::Merge, _) => Some("application/merge-patch+json"),
        (_, Some(content_type)) => Some(content_type.as_str()),
        (_, None) => Some("application/json"),
    };
    if let Some(content_type) = content_type {
        set(&mut headers, "content-type", content_type)?;
    }
    match &effect.precondition {
        None => {}
        Some(Precondition::Absent) => set(&mut headers, "if-none-match", "*")?,
        Some(Precondition::Present) => set(&mut headers, "if-match", "*")?,
        Some(Precondition::Etag(etag)) => set(&mut headers, "if-match", etag)?,
    }
    Ok(headers)
}

/// The headers of everything that is done because of `cause`.
fn caused(cause: &Cause, step: Step<'_>) -> Result<HeaderMap, String> {
    let mut headers = of_event(cause)?;
    let key = key_of(&cause.message_id, step);
    set(&mut headers, "idempotency-key", &key)?;
    Ok(headers)
}

/// The headers that say which event it is about.
fn of_event(cause: &Cause) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    set(&mut headers, "syncline-event-id", cause.event_id.as_str())?;
    if !cause.stream.is_empty() {
        let sequence = cause.sequence.to_string();
        set(&mut headers, "syncline-source-stream", &cause.stream)?;
        set(&mut headers, "syncline-source-sequence", &sequence)?;
    }
    if let Some(traceparent) = &cause.traceparent {
        set(&mut headers, reserved::TRACEPARENT, traceparent)?;
    }
    Ok(headers)
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), String> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("header `{name}` cannot hold `{}`", value.escape_debug()))?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// What a module said, on one line.
fn said(status: u16, body: &[u8]) -> String {
    let start = body.get(..EXCERPT.min(body.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(start);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.is_empty() {
        true => format!("HTTP status {status}"),
        false => format!("HTTP status {status}: {text}"),
    }
}

/// An error with what caused it.
fn text_of(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
