//! The API of the target modules over HTTP: entities are read and changed as their contracts say.
//!
//! `server` is the network, `answer` everything else: a request is let in by its token (`access`),
//! its path is taken apart (`path`), the contract is asked, and the entity read, or a `change` made. `version` leads to
//! versions beside a target's own. What goes wrong is a `problem`. It decides nothing; it asks contracts, targets and whoever makes changes, and translates.

mod access;
mod answer;
mod batch;
mod body;
mod change;
mod condition;
mod config;
mod etag;
mod files;
mod list;
mod mask;
mod openapi;
mod page;
mod path;
mod problem;
mod renewed;
mod reply;
mod server;
mod service;
mod transaction;
mod uses;
mod version;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod server_tests;

pub use answer::{Change, Contracts, Modules, Nobody, Read};
pub use config::{
    Bearer, Config, DEFAULT_LISTEN, Hash, Jwt, Listen, OverNats, Permitted, Scope, Token,
};
pub use files::{FileError, check};
pub use server::{BindError, Server};
pub use service::Endpoints;
pub use uses::{Use, Uses};
