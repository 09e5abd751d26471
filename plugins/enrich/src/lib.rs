//! Completes an event with what another module knows.

use serde::Deserialize;
use syncline_sdk::lookup::{Address, Entity};
use syncline_sdk::prelude::*;

plugin! {
    /// Adds fields of an entity that a target holds to the data.
    Enrich {
        // Which target it reads is a setting, so it asks for those that the operator grants.
        lookups: ["*"],
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: enrich,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    target: String,
    entity: Option<String>,
    key: String,
    into: String,
    fields: Option<Vec<String>>,
    #[serde(default)]
    missing: Missing,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Pass,
    Retry,
    Reject,
}

fn enrich(event: &Event, config: &Config) -> Result<Verdict> {
    let mut data: Value = event.json()?;
    let key = match data.pointer(&config.key) {
        None | Some(Value::Null) => return absent(config, false, "no key in the event"),
        Some(Value::String(text)) => text.clone(),
        Some(key @ (Value::Number(_) | Value::Bool(_))) => key.to_string(),
        Some(_) => return Ok(Verdict::reject(format!("data: {} is no key", config.key))),
    };
    let address = Address {
        entity: config.entity.clone(),
        ..Address::new(&config.target, &key)
    };
    let Some(entity) = lookup::get_at(&address)? else {
        return absent(config, true, &format!("nothing at {key}"));
    };
    put(
        &mut data,
        &config.into,
        chosen(&entity, config.fields.as_deref())?,
    )?;
    Ok(event.with_json(&data)?.into())
}

/// What to do without an entity. Waiting helps only where one may still appear.
fn absent(config: &Config, may_appear: bool, what: &str) -> Result<Verdict> {
    let reason = format!("{}: {what}", config.target);
    Ok(match config.missing {
        Missing::Pass => Verdict::pass(),
        Missing::Retry if may_appear => Verdict::retry(reason),
        Missing::Retry | Missing::Reject => Verdict::reject(reason),
    })
}

fn chosen(entity: &Entity, fields: Option<&[String]>) -> Result<Value> {
    let mut whole: Value = entity.json()?;
    let (Some(fields), Some(members)) = (fields, whole.as_object_mut()) else {
        return Ok(whole);
    };
    members.retain(|name, _| fields.contains(name));
    Ok(whole)
}

/// Sets the member that a pointer names in an object that is already there.
fn put(data: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, name) = pointer
        .rsplit_once('/')
        .or_reject("config: `into` is no pointer")?;
    let parent = data.pointer_mut(parent).and_then(Value::as_object_mut);
    let members = parent.or_reject(format!("data: no object to put {pointer} into"))?;
    members.insert(name.replace("~1", "/").replace("~0", "~"), value);
    Ok(())
}

#[cfg(test)]
mod tests;
