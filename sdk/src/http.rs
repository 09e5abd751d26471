//! Sends HTTP requests to hosts that the operator granted. Needs the feature `http` of this crate,
//! which makes the plugin one of the world `plugin-http`.
//!
//! ```
//! use syncline_sdk::prelude::*;
//! use syncline_sdk::http;
//!
//! fn city(event: &Event) -> Result<Value> {
//!     let code: String = event.get("/postcode")?;
//!     http::get(&format!("https://api.example.com/postcodes/{code}"))?.success()?.json()
//! }
//! ```
//!
//! A request is no effect. It is sent when the plugin thinks, again at each attempt, and nothing takes
//! it back: ask with it, and change things through effects. Headers that say who you are are set by
//! the host, which keeps their secrets.

#[cfg(target_family = "wasm")]
mod wasi;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    #[cfg_attr(
        not(target_family = "wasm"),
        allow(dead_code, reason = "the host's to keep to")
    )]
    pub(crate) timeout: Option<Duration>,
}

/// A whole answer, whatever its status. Redirects are not followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// The host does not permit it, or it is wrong: never.
    Refused(String),
    /// Nobody answers: not now.
    Away(String),
}

/// Asks for what is at a URL.
pub fn get(url: &str) -> Result<Response> {
    Request::new("GET", url).send()
}

impl Request {
    /// A request without headers and body. Methods other than `GET` and `HEAD` need a grant of their
    /// own.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, and says so.
    pub fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Waits no longer than this, where that is less than the operator's limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// An error that may pass (nobody answers, it takes too long) is a retry; what the host refuses is
    /// a reject. The status of an answer is no error: see [`Response::success`].
    pub fn send(self) -> Result<Response> {
        let failed = |fault| match fault {
            Fault::Refused(why) => {
                Error::reject(format!("http: {} {}: {why}", self.method, self.url))
            }
            Fault::Away(why) => Error::retry(format!("http: {} {}: {why}", self.method, self.url)),
        };
        carry(&self).map_err(failed)
    }
}

#[cfg(target_family = "wasm")]
use wasi::carry;

#[cfg(not(target_family = "wasm"))]
use crate::testing::capabilities::http::carry;

impl Response {
    /// Itself where the status is 2xx. What may pass (408, 425, 429, 5xx) is a retry, any other
    /// status a reject.
    pub fn success(self) -> Result<Self> {
        match self.status {
            200..=299 => Ok(self),
            status @ (408 | 425 | 429 | 500..=599) => {
                Err(Error::retry(format!("http: status {status}")))
            }
            status => Err(Error::reject(format!("http: status {status}"))),
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter();
        let found = named.find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// Reads the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| Error::from(error).context("http"))
    }

    /// The body as text, what is none replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::testing::{Harness, event};

    plugin! {
        /// Says what a host answers.
        Asking { capabilities: ["http"], http: ["api.example.com"], process: ask }
    }

    fn ask(event: &Event) -> Result<Verdict> {
        let url: String = event.get("/url")?;
        let answer = get(&url)?.success()?;
        Ok(Verdict::drop(answer.text()))
    }

    fn verdict(harness: &mut Harness<Asking>, url: &str) -> Verdict {
        harness.send(&event("t", json!({ "url": url })))
    }

    #[test]
    fn an_answer_is_recorded_and_its_status_decides() {
        let mut harness = Harness::<Asking>::new(json!({}));
        let place = |path: &str| format!("https://api.example.com/{path}");
        harness.host().http("GET", &place("ok"), 200, "fine");
        harness.host().http("GET", &place("busy"), 503, "");
        harness.host().http("GET", &place("gone"), 410, "");
        assert_eq!(verdict(&mut harness, &place("ok")), Verdict::drop("fine"));
        let busy = verdict(&mut harness, &place("busy"));
        assert_eq!(busy, Verdict::retry("http: status 503"));
        let gone = verdict(&mut harness, &place("gone"));
        assert_eq!(gone, Verdict::reject("http: status 410"));
        let other = verdict(&mut harness, &place("other"));
        assert!(matches!(other, Verdict::Reject(why) if why.contains("nothing is sent here")));
        harness.host().fail_http("the network is away");
        let away = verdict(&mut harness, &place("ok"));
        assert!(matches!(away, Verdict::Retry { reason, .. } if reason.contains("is away")));
    }

    #[test]
    #[should_panic(expected = "not in the manifest's `http`")]
    fn a_host_that_the_manifest_does_not_name_fails_the_test() {
        let mut harness = Harness::<Asking>::new(json!({}));
        let _verdict = verdict(&mut harness, "https://evil.test/");
    }
}
