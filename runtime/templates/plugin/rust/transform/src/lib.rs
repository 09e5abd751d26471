//! Gives orders the shape that others want.

use serde::Deserialize;
use syncline_sdk::prelude::*;

plugin! {
    /// Turns an order into its summary.
    Summary {
        accepts: ["order.*"],
        config: Config,
        process: summarize,
    }
}

/// What `config = { .. }` of this plugin may say in syncline.toml.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    currency: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            currency: "EUR".into(),
        }
    }
}

#[derive(Deserialize)]
struct Order {
    id: String,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    price: f64,
    quantity: f64,
}

fn summarize(event: &Event, config: &Config) -> Result<Event> {
    let order: Order = event.json()?; // anything else becomes a dead letter that says why
    let total: f64 = order
        .lines
        .iter()
        .map(|line| line.price * line.quantity)
        .sum();
    event.with_json(&json!({
        "id": order.id,
        "total": total,
        "currency": config.currency,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sdk::testing::{self, Harness, event};

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        let mut harness = Harness::<Summary>::new(json!({ "currency": "USD" }));
        let lines = json!([{ "price": 2.5, "quantity": 4 }, { "price": 1, "quantity": 1 }]);
        let verdict = harness.send(&event(
            "order.created",
            json!({ "id": "o-1", "lines": lines }),
        ));
        let summary: Value = verdict.forwarded()[0].json().unwrap();
        assert_eq!(
            summary,
            json!({ "id": "o-1", "total": 11.0, "currency": "USD" })
        );
    }

    #[test]
    fn what_is_no_order_is_rejected() {
        let mut harness = Harness::<Summary>::new(json!({}));
        let verdict = harness.send(&event("order.created", json!({ "id": "o-1" })));
        assert!(matches!(verdict, Verdict::Reject(_)));
    }

    #[test]
    fn the_cases_hold() {
        testing::cases::<Summary>("cases");
    }
}
