//! A guest that sends the HTTP requests that the event's data tells it to, and reports the answers.
//!
//! `{"requests": [{"method" ("GET"), "url", "headers": {..}, "body", "times" (1), "timeout_ms"}]}` becomes
//! an effect on `out` under the ordering key: `{"results": [{"status", "headers", "body"} or {"error",
//! "retry"}]}`. `{"misdeed": ".."}` is done below the SDK, see `misdeed.rs`.
//!
//! Settings: `start_with`, a URL that is asked for in `init`.

mod misdeed;

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use syncline_sdk::http::{self, Request};
use syncline_sdk::prelude::*;

plugin!(Fetcher);

struct Fetcher;

#[derive(Deserialize)]
struct Settings {
    start_with: Option<String>,
}

#[derive(Deserialize)]
struct Program {
    #[serde(default)]
    requests: Vec<Line>,
    misdeed: Option<misdeed::Misdeed>,
}

#[derive(Deserialize)]
struct Line {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    times: Option<u32>,
    timeout_ms: Option<u64>,
}

impl Plugin for Fetcher {
    type Config = Settings;

    fn manifest() -> Manifest {
        manifest!()
            .targets(["out"])
            .capabilities(["http"])
            .http(["*"])
    }

    fn new(settings: Settings) -> Result<Self> {
        if let Some(url) = settings.start_with {
            let _answer = http::get(&url)?;
        }
        Ok(Self)
    }

    fn process(&mut self, event: &Event) -> Result<Verdict> {
        let program: Program = event.json()?;
        if let Some(misdeed) = program.misdeed {
            return Ok(Verdict::drop(misdeed.commit()));
        }
        let mut results = Vec::new();
        for line in &program.requests {
            for _ in 0..line.times.unwrap_or(1) {
                results.push(line.send());
            }
        }
        let report = json!({ "results": results, "attempt": event.delivery.attempt });
        Ok(Effect::upsert(event.delivery.key.clone())
            .to("out")
            .json(&report)?
            .into())
    }
}

impl Line {
    fn send(&self) -> Value {
        let mut request = Request::new(self.method.as_deref().unwrap_or("GET"), &self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(ms) = self.timeout_ms {
            request = request.timeout(Duration::from_millis(ms));
        }
        match request.body(self.body.clone()).send() {
            Ok(answer) => {
                let headers: BTreeMap<_, _> = answer.headers.iter().cloned().collect();
                json!({ "status": answer.status, "headers": headers, "body": answer.text() })
            }
            Err(error) => json!({ "error": error.to_string(), "retry": error.is_retry() }),
        }
    }
}
