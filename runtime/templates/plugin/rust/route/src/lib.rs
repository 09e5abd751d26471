//! Writes orders to the modules that need them.

use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin! {
    /// Keeps the order book and leaves a line for every change.
    OrderBook {
        accepts: ["order.*"],
        targets: ["orders", "audit"],
        config: Config,
        process: route,
    }
}

/// What `config = { .. }` of this plugin may say in syncline.toml.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    audit: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { audit: true }
    }
}

#[derive(Deserialize)]
struct Order {
    id: String,
    amount: Option<f64>,
}

/// The effects of one event happen together.
fn route(event: &Event, config: &Config) -> Result<Vec<Effect>> {
    let order: Order = event.json()?; // anything else becomes a dead letter that says why
    let book = match event.type_.as_str() {
        "order.deleted" => Effect::delete(&order.id),
        _ => Effect::upsert(&order.id).json(&json!({ "amount": order.amount }))?,
    };
    let mut effects = vec![book.to("orders")];
    if config.audit {
        let line = json!({ "event": event.id, "type": event.type_ });
        effects.push(Effect::append(&order.id).to("audit").json(&line)?);
    }
    Ok(effects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sdk::testing::{self, Harness, event};

    #[test]
    fn a_deleted_order_leaves_the_book() {
        let mut harness = Harness::<OrderBook>::new(json!({ "audit": false }));
        let verdict = harness.send(&event("order.deleted", json!({ "id": "o-1" })));
        assert_eq!(verdict, Effect::delete("o-1").to("orders").into());
    }

    #[test]
    fn the_cases_hold() {
        testing::cases::<OrderBook>("cases");
    }
}
