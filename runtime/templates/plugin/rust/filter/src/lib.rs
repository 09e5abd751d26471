//! Keeps the orders that are worth it.

use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin! {
    /// Keeps orders of at least a given amount.
    BigOrders {
        accepts: ["order.*"],
        config: Config,
        process: keep,
    }
}

/// What `config = { .. }` of this plugin may say in syncline.toml.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    min_amount: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_amount: 100.0 }
    }
}

#[derive(Deserialize)]
struct Order {
    amount: f64,
}

fn keep(event: &Event, config: &Config) -> Result<Verdict> {
    let order: Order = event.json()?; // anything else becomes a dead letter that says why
    if order.amount < config.min_amount {
        return Ok(Verdict::drop("small order"));
    }
    Ok(Verdict::pass())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sdk::testing::{self, Harness, event};

    #[test]
    fn only_big_orders_pass() {
        let mut harness = Harness::<BigOrders>::new(json!({ "min_amount": 10 }));
        let mut verdict = |data| harness.send(&event("order.created", data));
        assert_eq!(verdict(json!({ "amount": 50 })), Verdict::pass());
        assert_eq!(
            verdict(json!({ "amount": 5 })),
            Verdict::drop("small order")
        );
        assert!(matches!(
            verdict(json!({ "amount": "a lot" })),
            Verdict::Reject(_)
        ));
    }

    #[test]
    fn the_cases_hold() {
        testing::cases::<BigOrders>("cases");
    }
}
