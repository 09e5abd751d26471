//! Stamps each customer with a tier by monthly revenue, and with the rule that found it.

use syncline_sdk::prelude::*;

/// The demo swaps the second rule in while events flow.
const RULE_2: bool = cfg!(feature = "rule-2");
const VERSION: &str = if RULE_2 { "2.0.0" } else { "1.0.0" };

plugin! {
    /// Stamps a customer's tier by monthly revenue.
    Tier { accepts: ["crm.customer.*"], version: VERSION, process: stamp }
}

fn stamp(event: &Event) -> Result<Event> {
    let mrr: u64 = event.get("/mrr")?;
    let mut customer: Value = event.json()?;
    customer["tier"] = json!(tier(mrr));
    customer["tier_rule"] = json!(if RULE_2 { "2" } else { "1" });
    event.with_json(&customer)
}

fn tier(mrr: u64) -> &'static str {
    match mrr {
        2000.. if RULE_2 => "platinum",
        1000.. => "gold",
        200.. => "silver",
        _ => "bronze",
    }
}
