//! Decides by an event's type which target modules change, and how.

use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin! {
    /// Sends an event to targets by its type.
    RouteByType {
        // The targets are settings, so it asks for those that the operator grants.
        targets: ["*"],
        config: Config,
        config_schema: include_str!("../config.schema.json"),
        process: route,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    routes: Vec<Route>,
    #[serde(default)]
    otherwise: Otherwise,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    #[serde(rename = "type")]
    type_: String,
    target: String,
    entity: Option<String>,
    operation: Operation,
    key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Otherwise {
    #[default]
    Pass,
    Drop,
    Reject,
}

fn route(event: &Event, config: &Config) -> Result<Verdict> {
    let matching = config
        .routes
        .iter()
        .filter(|route| route.matches(&event.type_));
    let effects: Vec<Effect> = matching
        .map(|route| route.effect(event))
        .collect::<Result<_>>()?;
    if !effects.is_empty() {
        return Ok(Verdict::apply(effects));
    }
    let reason = || format!("no route for {}", event.type_);
    Ok(match config.otherwise {
        Otherwise::Pass => Verdict::pass(),
        Otherwise::Drop => Verdict::drop(reason()),
        Otherwise::Reject => Verdict::reject(reason()),
    })
}

impl Route {
    fn matches(&self, type_: &str) -> bool {
        match self.type_.strip_suffix('*') {
            Some(start) => type_.starts_with(start),
            None => self.type_ == type_,
        }
    }

    fn effect(&self, event: &Event) -> Result<Effect> {
        let mut effect = Effect::new(self.operation, self.key(event)?).to(&self.target);
        effect.entity.clone_from(&self.entity);
        if self.operation != Operation::Delete {
            effect.content_type.clone_from(&event.data_content_type);
            effect.payload = event.data().to_vec();
        }
        Ok(effect)
    }

    fn key(&self, event: &Event) -> Result<String> {
        let Some(pointer) = &self.key else {
            return Ok(event.delivery.key.clone());
        };
        match event.get(pointer)? {
            Value::String(text) => Ok(text),
            key @ (Value::Number(_) | Value::Bool(_)) => Ok(key.to_string()),
            _ => Err(Error::reject(format!("data: {pointer} is no key"))),
        }
    }
}

#[cfg(test)]
mod tests;
