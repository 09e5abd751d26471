//! Adapts entities between two versions of a contract: members with other names, and new ones with a default.

use std::collections::BTreeMap;

use serde::Deserialize;
use syncline_sdk::prelude::*;
use syncline_sdk::serde_json::Map;

plugin! {
    /// Adapts entities between two versions of a contract: members with other names, new ones with a default.
    AdaptMembers {
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: adapt,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    rename: BTreeMap<String, String>,
    #[serde(default)]
    defaults: BTreeMap<String, Value>,
    entities: Option<Vec<String>>,
}

fn adapt(event: &Event, config: &Config) -> Result<Verdict> {
    let mut parts = event.type_.rsplit('.');
    let (Some(way), Some(entity)) = (parts.next(), parts.next()) else {
        return Ok(Verdict::reject(
            "the event is none that an adapter is given",
        ));
    };
    if config
        .entities
        .as_ref()
        .is_some_and(|meant| !meant.iter().any(|kind| kind == entity))
    {
        return Ok(Verdict::pass());
    }
    let is_patch = event.attribute("synclineoperation") == Some("merge");
    let mut data: Value = event.json()?;
    match way {
        "up" => {
            let moves = config
                .rename
                .iter()
                .map(|(from, to)| (from.as_str(), to.as_str()));
            rename(&mut data, moves)?;
            // A patch says nothing of what it does not change.
            for (pointer, value) in config.defaults.iter().filter(|_| !is_patch) {
                if data.pointer(pointer).is_none() {
                    put(&mut data, pointer, value.clone())?;
                }
            }
        }
        "down" => {
            for pointer in config.defaults.keys() {
                take(&mut data, pointer);
            }
            let moves = config
                .rename
                .iter()
                .map(|(from, to)| (to.as_str(), from.as_str()));
            rename(&mut data, moves)?;
        }
        _ => {
            return Ok(Verdict::reject(
                "the event is none that an adapter is given",
            ));
        }
    }
    Ok(event.with_json(&data)?.into())
}

/// Moves members. All are taken out before any is put in, so that two may change places.
fn rename<'a>(data: &mut Value, moves: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let taken: Vec<_> = moves.map(|(from, to)| (to, take(data, from))).collect();
    for (to, value) in taken {
        if let Some(value) = value {
            put(data, to, value)?;
        }
    }
    Ok(())
}

/// Takes a member out, and what held it where nothing else is in there.
fn take(data: &mut Value, pointer: &str) -> Option<Value> {
    let (above, name) = pointer.rsplit_once('/')?;
    let members = data.pointer_mut(above)?.as_object_mut()?;
    let taken = members.remove(&plain(name))?;
    if members.is_empty() && !above.is_empty() {
        take(data, above);
    }
    Some(taken)
}

/// Puts a member where a pointer says, in objects that are made where there are none.
fn put(data: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let mut place = data;
    for name in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let members = place.as_object_mut();
        let members = members.or_reject(format!("there is no object to put {pointer} into"))?;
        place = members.entry(plain(name)).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

/// A member's name as a pointer means it.
fn plain(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests;
