//! A guest that does what the event's data tells it, so that one guest serves most tests.
//!
//! Data that is no JSON object, or has neither `do` nor `steps`, passes untouched. Otherwise the
//! data is one step (`{"do": ..}`, other members are free) or holds several (`{"steps": [..]}`),
//! which are done in order until one gives a verdict; after the last one the event passes.
//! Any step with `"before_attempt": N` is done only while the attempt is below N, any with
//! `"before_version": ".."` only by guests of another version (`1.0.0` is `PROBE`, `2.0.0` is
//! `PROBE_NEXT`).
//!
//! Verdicts:
//!
//! | step | members (default) |
//! |---|---|
//! | `accept` | `effects` (`[]`), `next`: `stop` (default), `pass`, `forward` with `events` |
//! | `drop`, `reject` | `reason` (`"told to"`); `$results` in it stands for the results so far |
//! | `retry` | `reason` as above, `after_ms` (none) |
//! | `flood` | that many `effects`, each with a payload of `bytes` |
//! | `giant` | `field`: see `hostile.rs`; `bytes` (1 MiB); the named field of an answer is that long |
//!
//! An effect is `{"target", "entity", "operation" ("upsert"), "key" (the ordering key),
//! "precondition": "absent" | "present" | "looked-up" | {"etag": ".."}, "content_type", "headers": {..},
//! "payload": any JSON (default: the report) or "text": ".."}`. `looked-up` is the etag that the last
//! `lookup` gave. A forwarded event is `{"id" (".N" added), "type", "source", "data" (as it came),
//! "headers": {..}}`, what is left out stays as it is in the event.
//!
//! Calls, whose results go into the report in order; a refusal is `{"error": ".."}`:
//!
//! | step | members |
//! |---|---|
//! | `lookup` | `target`, `key`, `entity`: `{"data", "etag"}` or null |
//! | `lookup-many` | `target`, `keys`, `entity`: a list of the same, in one call |
//! | `state` | `op`: `get`, `put`, `put-new`, `add`, `delete`; `key`, `value`, `delta` (1), `ttl_s` |
//! | `secret` | `name` |
//! | `metric` | `name` (`"seen"`), `series` (1): that many values of the label `n` |
//! | `log` | `message`, `lines` (1), `bytes` (of each, 0: the message), `level` (`"info"`) |
//! | `call` | `what`: `state`, `lookup`, `secret`, `log`, `metric`; `times` |
//! | `print` | `bytes`, `to`: `stdout` (default) or `stderr`; `text` instead of bytes |
//! | `sleep` | `ms` |
//!
//! Ends: `trap` (a panic with `message`, as `reason` above), `unreachable`, `exit`, `loop`, `recurse`, `alloc` (keeps
//! `bytes`, default: until nothing is left).
//!
//! The report: `{"stamp": version of this guest, "attempt", "calls": events this instance has seen,
//! "results", "event": its attributes, "headers": [[name, value]], "delivery", "data"}`.
//!
//! Settings: `start`: `fail`, `trap`, `loop` or `log` (a line with the secret `token`) in `init`.

mod answer;
mod call;
mod hostile;

use answer::{EffectSpec, EventSpec, NextSpec};
use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin!(Probe);

/// Of this guest's package.
const VERSION: &str = env!("CARGO_PKG_VERSION");

struct Probe {
    n_calls: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    start: Option<Start>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Start {
    Fail,
    Trap,
    Loop,
    Log,
}

/// What the event's data says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Program {
    Several { steps: Vec<Line> },
    One(Line),
}

#[derive(Deserialize)]
struct Line {
    before_attempt: Option<u32>,
    before_version: Option<String>,
    #[serde(flatten)]
    step: Step,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Step {
    Accept {
        #[serde(default)]
        effects: Vec<EffectSpec>,
        #[serde(default)]
        next: NextSpec,
        #[serde(default)]
        events: Vec<EventSpec>,
    },
    Drop {
        reason: Option<String>,
    },
    Reject {
        reason: Option<String>,
    },
    Retry {
        reason: Option<String>,
        after_ms: Option<u64>,
    },
    Flood {
        effects: usize,
        #[serde(default)]
        bytes: usize,
    },
    Giant {
        field: String,
        bytes: Option<usize>,
    },
    #[serde(untagged)]
    Call(call::Call),
    #[serde(untagged)]
    End(hostile::End),
}

/// What was found out about this event so far.
struct Report<'a> {
    event: &'a Event,
    n_calls: u64,
    results: Vec<Value>,
}

impl Plugin for Probe {
    type Config = Settings;

    fn manifest() -> Manifest {
        manifest!()
    }

    fn new(settings: Settings) -> Result<Self> {
        match settings.start {
            Some(Start::Fail) => return Err(Error::reject("told to fail")),
            Some(Start::Trap) => panic!("told to trap at the start"),
            Some(Start::Loop) => hostile::End::Loop.run(),
            Some(Start::Log) => info!(token = secrets::get("token")?; "started"),
            None => {}
        }
        Ok(Self { n_calls: 0 })
    }

    fn process(&mut self, event: &Event) -> Result<Verdict> {
        self.n_calls += 1;
        let lines = match event.json::<Value>() {
            Ok(data) if data.get("do").is_some() || data.get("steps").is_some() => {
                match event.json::<Program>()? {
                    Program::Several { steps } => steps,
                    Program::One(line) => vec![line],
                }
            }
            _ => return Ok(Verdict::pass()),
        };
        let mut report = Report {
            event,
            n_calls: self.n_calls,
            results: Vec::new(),
        };
        for line in lines {
            if !line.is_due(event.delivery.attempt) {
                continue;
            }
            if let Some(verdict) = line.step.run(&mut report)? {
                return Ok(verdict);
            }
        }
        Ok(Verdict::pass())
    }
}

impl Line {
    fn is_due(&self, attempt: u32) -> bool {
        let version = self.before_version.as_deref();
        self.before_attempt.is_none_or(|before| attempt < before)
            && version.is_none_or(|before| before != VERSION)
    }
}

impl Step {
    /// The verdict, if the step gives one.
    fn run(self, report: &mut Report<'_>) -> Result<Option<Verdict>> {
        let results = Value::from(report.results.clone()).to_string();
        let told = |reason: Option<String>| match reason {
            Some(reason) => reason.replace("$results", &results),
            None => "told to".to_owned(),
        };
        Ok(Some(match self {
            Self::Accept {
                effects,
                next,
                events,
            } => answer::accept(report, effects, next, events)?,
            Self::Drop { reason } => Verdict::Drop(told(reason)),
            Self::Reject { reason } => Verdict::Reject(told(reason)),
            Self::Retry { reason, after_ms } => Verdict::Retry {
                reason: told(reason),
                after: after_ms.map(std::time::Duration::from_millis),
            },
            Self::Flood { effects, bytes } => hostile::flood(report.event, effects, bytes),
            Self::Giant { field, bytes } => {
                hostile::giant(report.event, &field, bytes.unwrap_or(1 << 20))?
            }
            Self::Call(call) => {
                call.run(report);
                return Ok(None);
            }
            Self::End(hostile::End::Trap { message }) => panic!("{}", told(message)),
            Self::End(end) => end.run(),
        }))
    }
}

impl Report<'_> {
    fn to_json(&self) -> Value {
        let event = self.event;
        let delivery = &event.delivery;
        json!({
            "stamp": VERSION,
            "attempt": delivery.attempt,
            "calls": self.n_calls,
            "results": self.results,
            "event": {
                "id": event.id,
                "source": event.source,
                "type": event.type_,
                "subject": event.subject,
                "time": event.time,
                "datacontenttype": event.data_content_type,
                "dataschema": event.data_schema,
                "attributes": event.attributes,
            },
            "headers": event.headers,
            "delivery": {
                "address": delivery.address,
                "sequence": delivery.sequence,
                "key": delivery.key,
            },
            "data": event.json::<Value>().unwrap_or(Value::Null),
        })
    }
}
