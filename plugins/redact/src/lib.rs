//! Takes what must not travel further out of an event's data.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use syncline_sdk::prelude::*;

plugin! {
    /// Replaces, removes or hashes fields of the data.
    Redact {
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: redact,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fields: Vec<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "redacted")]
    with: Value,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Replace,
    Remove,
    Hash,
}

fn redacted() -> Value {
    "[redacted]".into()
}

fn redact(event: &Event, config: &Config) -> Result<Verdict> {
    let mut data: Value = event.json()?;
    let mut n_found = 0;
    for field in &config.fields {
        let steps = field.split('/').skip(1);
        let steps: Vec<_> = steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        n_found += walk(&mut data, &steps, config);
    }
    if n_found == 0 {
        return Ok(Verdict::pass());
    }
    metrics::count("redacted_fields", n_found, &[]);
    Ok(event.with_json(&data)?.into())
}

/// Follows the steps of a pointer, `*` into every element, and gives how many fields it reached.
fn walk(data: &mut Value, steps: &[String], config: &Config) -> u32 {
    let Some((step, rest)) = steps.split_first() else {
        *data = covered(data, config);
        return 1;
    };
    let wanted = |name: &String| step == "*" || name == step;
    match data {
        Value::Object(members) if rest.is_empty() && config.mode == Mode::Remove => {
            let n_before = members.len();
            members.retain(|name, _| !wanted(name));
            (n_before - members.len()) as u32
        }
        Value::Object(members) => {
            let below = members.iter_mut().filter(|(name, _)| wanted(name));
            below.map(|(_, value)| walk(value, rest, config)).sum()
        }
        Value::Array(elements) => {
            let wanted = |at: usize| step == "*" || *step == at.to_string();
            let below = elements
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| wanted(*at));
            below.map(|(_, value)| walk(value, rest, config)).sum()
        }
        _ => 0,
    }
}

fn covered(value: &Value, config: &Config) -> Value {
    match config.mode {
        Mode::Replace => config.with.clone(),
        Mode::Remove => Value::Null, // an element: removing it would move the others
        Mode::Hash => {
            let text = value.as_str().map_or(value.to_string(), str::to_owned);
            let mut name = format!("{:x}", Sha256::digest(text));
            name.truncate(16); // still one name per value, to count and join by
            name.into()
        }
    }
}

#[cfg(test)]
mod tests;
