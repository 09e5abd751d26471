//! The API of the target modules over HTTP: entities are read as their contracts describe them.
//!
//! `server` is the network, `answer` everything else: a request is let in by its token (`access`),
//! its path is taken apart (`path`), the contract is asked, and the entity read. What goes wrong is
//! a `problem`. It decides nothing; it asks contracts and targets, and translates.

mod access;
mod answer;
mod batch;
mod config;
mod etag;
mod mask;
mod openapi;
mod path;
mod problem;
mod reply;
mod server;

#[cfg(test)]
mod answer_tests;

pub use answer::{Contracts, Read};
pub use config::{Config, DEFAULT_LISTEN, Hash, Listen, Scope, Token};
pub use server::{BindError, Server};
