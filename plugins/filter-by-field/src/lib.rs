//! Keeps the events whose data has a wanted value, or any value, in one field.

use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin! {
    /// Keeps the events whose data has a field with a wanted value.
    FilterByField {
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: filter,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    field: String,
    #[serde(rename = "in")]
    wanted: Option<Vec<Value>>,
    #[serde(default)]
    negate: bool,
}

fn filter(event: &Event, config: &Config) -> Result<Verdict> {
    let value: Option<Value> = event.find(&config.field)?;
    let matches = match (&config.wanted, &value) {
        (None, value) => value.as_ref().is_some_and(|value| !value.is_null()),
        (Some(_), None) => false,
        (Some(wanted), Some(value)) => wanted.iter().any(|wanted| same(wanted, value)),
    };
    if matches != config.negate {
        return Ok(Verdict::pass());
    }
    Ok(Verdict::drop(format!(
        "{} is {}",
        config.field,
        shown(value.as_ref())
    )))
}

/// JSON has one kind of number: 1 and 1.0 are the same.
fn same(wanted: &Value, value: &Value) -> bool {
    let numbers = wanted.as_f64().zip(value.as_f64());
    wanted == value || numbers.is_some_and(|(wanted, value)| wanted == value)
}

/// Drops are counted by their reason, so only values that tend to repeat are spelt out.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::Array(_)) => "an array".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(Value::String(text)) if text.chars().count() > 40 => "a long text".to_owned(),
        Some(scalar) => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests;
