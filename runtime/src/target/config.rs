//! How one target is reached.

use super::breaker::BreakerPolicy;
use super::promise::JOINED;
use super::template::SubjectTemplate;
use super::{http, postgres};
use crate::contract::{Beside, Contract};
use crate::provision::{Create, Provision};
use crate::rate::Rate;
use std::sync::Arc;
use std::time::Duration;

/// The settings of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What becomes of a missing stream or bucket.
    pub create: Create,
    /// How it is made and written.
    pub provision: Provision,
    /// How long one effect or lookup may take.
    pub timeout: Duration,
    /// How often it may be written; none: as often as effects come.
    pub rate: Option<Rate>,
    /// When it is left alone; none: never.
    pub breaker: Option<BreakerPolicy>,
    /// What it takes and gives; none: nothing is said.
    pub contract: Option<Arc<Contract>>,
    /// Other versions of that, which it serves by way of adapters.
    pub versions: Vec<Beside>,
    /// The target of kind subject on which its changes are published; none: nowhere.
    pub feed: Option<String>,
}

impl Config {
    /// Whether its effects lie on the stream of decisions, and are written together with them.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        matches!(&self.kind, Kind::Subject { stream: Some(name), .. } if name == JOINED)
    }
}

/// The kinds of target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Messages on a subject.
    Subject {
        /// Which subject, made from the effect.
        subject: SubjectTemplate,
        /// The stream that must take them; none: whichever does.
        stream: Option<String>,
        /// Published without JetStream: nobody says that it arrived.
        core: bool,
    },
    /// A JetStream key-value bucket.
    Kv {
        /// The bucket.
        bucket: String,
    },
    /// A table of a PostgreSQL database.
    Postgres(Box<postgres::Settings>),
    /// The HTTP API of a module.
    Http(Box<http::Settings>),
}
