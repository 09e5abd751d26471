//! Write plugins for Syncline in Rust.
//!
//! A plugin looks at one event and answers with a [`Verdict`]: pass it on, drop it, change it, or
//! say which target modules should change and how. The host runs it as a sandboxed WebAssembly
//! component; the same code runs natively in `cargo test`.
//!
//! ```
//! use serde::Deserialize;
//! use syncline_sdk::prelude::*;
//!
//! plugin! {
//!     /// Keeps the CRM's contacts in step with the customers of one region.
//!     Contacts { accepts: ["customer.*"], targets: ["crm"], config: Config, process: sync }
//! }
//!
//! #[derive(Deserialize)]
//! struct Config { region: String }
//!
//! #[derive(Deserialize)]
//! struct Customer { id: String, name: String, region: String }
//!
//! fn sync(event: &Event, config: &Config) -> Result<Verdict> {
//!     let customer: Customer = event.json()?; // something else: a dead letter that says why
//!     if customer.region != config.region {
//!         return Ok(Verdict::drop(format!("region {}", customer.region)));
//!     }
//!     let contact = json!({ "name": customer.name });
//!     Ok(Effect::upsert(customer.id).to("crm").json(&contact)?.into())
//! }
//! #
//! # let mut harness = syncline_sdk::testing::Harness::<Contacts>::new(json!({ "region": "eu" }));
//! # let ada = json!({ "id": "7", "name": "Ada", "region": "eu" });
//! # let verdict = harness.send(&syncline_sdk::testing::event("customer.created", ada));
//! # assert_eq!(verdict.effects()[0].key, "7");
//! # let bob = json!({ "id": "8", "name": "Bob", "region": "us" });
//! # let verdict = harness.send(&syncline_sdk::testing::event("customer.created", bob));
//! # assert_eq!(verdict, Verdict::drop("region us"));
//! # let verdict = harness.send(&syncline_sdk::testing::event("customer.created", json!({})));
//! # assert_eq!(verdict, Verdict::reject("data: missing field `id` at line 1 column 2"));
//! ```
//!
//! A plugin crate depends on `syncline-sdk` and, for typed data, on `serde`; it is a `cdylib` built
//! for `wasm32-wasip2`, and the resulting `.wasm` is what the host loads.
//!
//! - Which form: [`plugin!`] around a function for most plugins; the [`Plugin`] trait where `new`
//!   has work to do (a regex to compile) or memory serves as a cache.
//! - What to answer with: a [`Verdict`], or anything that turns into one.
//! - Errors: `?` never traps. Bad data rejects the event, a back end that is away retries it; see
//!   [`Error`].
//! - What a plugin may ask of the host: [`state`], [`lookup`], [`secrets`], [`metrics`] and
//!   [`mod@log`]. All but the last two must be named in the [`Manifest`].
//! - Of hosts elsewhere: [`http`], with the feature of that name.
//! - Tests without a server or WebAssembly: [`testing`].

// The generated code names the SDK by its crate name, also from inside it.
extern crate self as syncline_sdk;

#[doc(hidden)]
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::too_many_arguments,
    clippy::excessive_nesting,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::semicolon_if_nothing_returned,
    reason = "generated from wit/: the lints are for code that people write"
)]
pub mod bindings;

mod component;
mod effect;
mod error;
mod event;
mod host;
#[cfg(any(feature = "http", not(target_family = "wasm")))]
pub mod http;
pub mod log;
pub mod lookup;
mod manifest;
pub mod metrics;
mod plugin;
pub mod secrets;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod verdict;

#[doc(hidden)]
pub use component::{Component, assert_plugin};
pub use effect::{Effect, Operation, Precondition};
pub use error::{Classify, Error, Result};
pub use event::{Delivery, Event};
pub use manifest::Manifest;
pub use plugin::{NoConfig, Plugin};
pub use verdict::{Next, Verdict};

pub use serde;
pub use serde_json;
#[doc(hidden)]
pub use wit_bindgen;

/// Everything most plugins name, for `use syncline_sdk::prelude::*`.
pub mod prelude {
    pub use crate::{
        Classify, Delivery, Effect, Error, Event, Manifest, Next, NoConfig, Operation, Plugin,
        Precondition, Result, Verdict,
    };
    pub use crate::{debug, error, info, manifest, plugin, trace, warn};
    pub use crate::{lookup, metrics, secrets, state};
    pub use serde_json::{Value, json};
}
