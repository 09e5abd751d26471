//! Runs a plugin natively, with fake capabilities, as the host would run it.
//!
//! ```
//! use syncline_sdk::prelude::*;
//! use syncline_sdk::testing::{Harness, event};
//!
//! plugin! {
//!     /// Passes the first event of each key.
//!     Firsts { capabilities: ["state"], process: is_first }
//! }
//!
//! fn is_first(event: &Event) -> Result<bool> {
//!     state::put_new(&event.delivery.key, [], None)
//! }
//!
//! let mut harness = Harness::<Firsts>::new(json!({}));
//! let viewed = event("page.viewed", json!({ "page": "/" }));
//! assert_eq!(harness.send(&viewed), Verdict::pass());
//! assert_eq!(harness.send(&viewed), Verdict::drop("filtered"));
//!
//! harness.host().fail_state("no quorum");
//! assert_eq!(harness.send(&viewed), Verdict::retry("state: unavailable: no quorum"));
//! ```
//!
//! What the manifest does not ask for fails the test: an effect for another target, a lookup, a
//! secret, state. State follows the event: a retry or a reject takes its writes back. Like the host,
//! the harness passes events that `accepts` does not name without asking the plugin.
//!
//! [`cases`] runs the files in `cases/` natively that `syncline test` runs in the component.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a check that does not hold fails the author's test"
)]

pub(crate) mod capabilities;
mod case;
mod fake;
mod grants;
mod harness;
mod json;

use serde::Serialize;

use crate::bindings::syncline::plugin::types;
use crate::{Delivery, Event};

pub use case::cases;
pub use fake::{FakeHost, Line};
pub use harness::Harness;

/// An event of that type with JSON data; id, source and delivery are made up and can be set.
pub fn event(type_: &str, data: impl Serialize) -> Event {
    Event::from_wit(types::Incoming {
        event: types::Event {
            id: "1".into(),
            source: "/test".into(),
            type_: type_.into(),
            subject: None,
            time: None,
            data_content_type: Some("application/json".into()),
            data_schema: None,
            attributes: Vec::new(),
            headers: Vec::new(),
        },
        data: serde_json::to_vec(&data).expect("the data of a test event is JSON"),
        delivery: delivery(),
    })
}

fn delivery() -> Delivery {
    Delivery {
        address: "test".into(),
        sequence: 1,
        attempt: 1,
        key: "1".into(),
    }
}
