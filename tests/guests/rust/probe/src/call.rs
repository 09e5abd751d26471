//! Steps that call the host.

use crate::Report;
use serde::Deserialize;
use std::io::Write as _;
use std::time::Duration;
use syncline_sdk::log;
use syncline_sdk::lookup::{Address, Entity};
use syncline_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Call {
    Lookup {
        target: String,
        key: String,
        entity: Option<String>,
    },
    LookupMany {
        target: String,
        keys: Vec<String>,
        entity: Option<String>,
    },
    State {
        op: StateOp,
        key: String,
        #[serde(default)]
        value: String,
        delta: Option<i32>,
        ttl_s: Option<u64>,
    },
    Secret {
        name: String,
    },
    Metric {
        name: Option<String>,
        series: Option<u32>,
    },
    Log {
        #[serde(default)]
        message: String,
        lines: Option<usize>,
        bytes: Option<usize>,
        level: Option<Level>,
    },
    Call {
        what: What,
        times: u64,
    },
    Print {
        bytes: Option<usize>,
        #[serde(default)]
        to: Stream,
        #[serde(default)]
        text: String,
    },
    Sleep {
        ms: u64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StateOp {
    Get,
    Put,
    PutNew,
    Add,
    Delete,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    State,
    Lookup,
    Secret,
    Log,
    Metric,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stream {
    #[default]
    Stdout,
    Stderr,
}

impl Call {
    /// Calls, and puts what came back into the report.
    pub(crate) fn run(self, report: &mut Report<'_>) {
        let result = match self {
            Self::Lookup {
                target,
                key,
                entity,
            } => look_up(&Address {
                target,
                entity,
                key,
            }),
            Self::LookupMany {
                target,
                keys,
                entity,
            } => look_up_many(keys.into_iter().map(|key| Address {
                target: target.clone(),
                entity: entity.clone(),
                key,
            })),
            Self::State {
                op,
                key,
                value,
                delta,
                ttl_s,
            } => {
                let ttl = ttl_s.map(Duration::from_secs);
                state_of(&op, &key, &value, delta.unwrap_or(1), ttl)
            }
            Self::Secret { name } => secrets::get(&name).map(|secret| json!(secret)),
            Self::Metric { name, series } => {
                count(&name.unwrap_or_else(|| "seen".into()), series.unwrap_or(1));
                return;
            }
            Self::Log {
                message,
                lines,
                bytes,
                level,
            } => {
                let message = bytes.map_or(message, |bytes| "x".repeat(bytes));
                for _ in 0..lines.unwrap_or(1) {
                    write_log(&level, &message);
                }
                return;
            }
            Self::Call { what, times } => {
                (0..times).for_each(|_| call_once(&what));
                return;
            }
            Self::Print { bytes, to, text } => {
                print(&to, &bytes.map_or(text, |bytes| "x".repeat(bytes)));
                return;
            }
            Self::Sleep { ms } => {
                std::thread::sleep(Duration::from_millis(ms));
                return;
            }
        };
        let result = result.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        report.results.push(result);
    }
}

fn look_up(address: &Address) -> Result<Value> {
    Ok(lookup::get_at(address)?.map_or(Value::Null, |entity| shown(&entity)))
}

fn look_up_many(addresses: impl Iterator<Item = Address>) -> Result<Value> {
    let addresses: Vec<_> = addresses.collect();
    let found = lookup::get_many(&addresses)?;
    let shown = found.iter().map(|entity| entity.as_ref().map(shown));
    Ok(shown.collect())
}

fn shown(entity: &Entity) -> Value {
    let data = entity.json::<Value>().unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&entity.data);
        json!(text)
    });
    json!({ "data": data, "etag": entity.etag, "content_type": entity.content_type })
}

fn state_of(
    op: &StateOp,
    key: &str,
    value: &str,
    delta: i32,
    ttl: Option<Duration>,
) -> Result<Value> {
    Ok(match op {
        StateOp::Get => {
            let found = state::get(key)?;
            json!(found.map(|value| String::from_utf8_lossy(&value).into_owned()))
        }
        StateOp::Put => {
            state::put(key, value, ttl)?;
            json!(true)
        }
        StateOp::PutNew => json!(state::put_new(key, value, ttl)?),
        StateOp::Add => json!(state::add(key, delta)?),
        StateOp::Delete => {
            state::delete(key)?;
            json!(true)
        }
    })
}

fn count(name: &str, n_series: u32) {
    for n in 0..n_series {
        metrics::count(name, 1, &[("n", &n.to_string())]);
    }
}

/// Not by the macros: they ask first whether anybody listens, and a flood does not ask.
fn write_log(level: &Option<Level>, message: &str) {
    let level = match level {
        Some(Level::Trace) => log::Level::Trace,
        Some(Level::Debug) => log::Level::Debug,
        None | Some(Level::Info) => log::Level::Info,
        Some(Level::Warn) => log::Level::Warn,
        Some(Level::Error) => log::Level::Error,
    };
    log::write(level, message, &[]);
}

/// What the host answers does not matter here, only that it is asked.
fn call_once(what: &What) {
    match what {
        What::State => drop(state::get("flood")),
        What::Lookup => drop(lookup::get("crm", "flood")),
        What::Secret => drop(secrets::get("flood")),
        What::Log => write_log(&None, "flood"),
        What::Metric => metrics::count("flood", 1, &[]),
    }
}

fn print(to: &Stream, text: &str) {
    // A guest whose output is swallowed goes on.
    let _written = match to {
        Stream::Stdout => std::io::stdout().write_all(text.as_bytes()),
        Stream::Stderr => std::io::stderr().write_all(text.as_bytes()),
    };
}
