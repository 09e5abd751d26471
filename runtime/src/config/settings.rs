//! A plugin's own settings: any TOML, handed over as JSON.

use super::entry::Entry;
use super::env;
use serde_json::{Map, Value};
use toml::de::DeValue;

/// A table of settings.
pub(super) fn read(entry: &Entry<'_>) -> Option<Map<String, Value>> {
    let fields = entry.fields()?;
    Some(
        fields
            .into_iter()
            .filter_map(|(name, entry)| Some((name.to_owned(), value(&entry)?)))
            .collect(),
    )
}

fn value(entry: &Entry<'_>) -> Option<Value> {
    let value = match entry.value {
        DeValue::String(text) => env::replace(text, entry.file.env).map(Value::from),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| format!("{number} has no place in 64 bits")),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::from)
            .ok_or_else(|| format!("{number} has no form in JSON, which plugins get")),
        DeValue::Boolean(flag) => Ok(Value::from(*flag)),
        DeValue::Datetime(date) => Ok(Value::from(date.to_string())),
        DeValue::Array(_) => return Some(entry.items()?.iter().filter_map(value).collect()),
        DeValue::Table(_) => return read(entry).map(Value::from),
    };
    value.map_err(|message| entry.report(message)).ok()
}
