//! HTTP requests to hosts that were granted, on behalf of plugins.
//!
//! Nothing is reached that no grant names, and no address that was not looked at after its name was
//! resolved. Requests and answers are whole: an answer that is too long, late or cut is none.

mod address;
mod answer;
mod client;
mod connection;
mod grant;
mod header;
mod idle;
mod origin;
mod recorded;
mod refusal;
mod resolver;

pub use address::Network;
pub use client::{Client, Limits, Transport};
pub use grant::{Grant, METHODS, Placed, READING, Settings};
pub use header::{is_placeable, is_reserved};
pub use origin::Pattern;
pub use recorded::Recorded;
pub use refusal::Refusal;
pub use resolver::Resolver;
