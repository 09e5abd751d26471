//! Syncline keeps the modules of a platform in step.
//!
//! It consumes events from NATS, passes each through sandboxed WebAssembly plugins, and applies the
//! resulting effects to target modules. One event is owned by one async function from pull to
//! settlement: [`pipeline`]'s `handle`. Plugins and routes only *think* (they make a plan); `txn`
//! alone *acts*. `ARCHITECTURE.md` has the map and the invariants.

pub mod atomic_batch;
pub mod event;
pub mod fault;
mod key_locks;
pub mod last_message;
pub mod next_messages;
pub mod provision;
pub mod rate;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

pub mod contract;
pub mod control;
pub mod dead_letter;
pub mod feed;
pub mod intake;
pub mod outbound;
pub mod plugin;
pub mod target;

pub mod txn;

pub mod change;

pub mod api;

pub mod drift;
pub mod pipeline;

pub mod config;

pub mod app;
