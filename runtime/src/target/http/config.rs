//! How a module's API is reached, and what it is said to keep to.

use super::template::{TransactionUrl, UrlTemplate};
use crate::tls::Tls;
use std::fmt;

/// The settings of an `http` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where an entity is.
    pub url: UrlTemplate,
    /// Where records are appended; none: nowhere.
    pub collection: Option<UrlTemplate>,
    /// Headers of each request, such as those that say who we are.
    pub headers: Vec<(String, Hidden)>,
    /// What the module keeps to.
    pub level: Level,
    /// Where its part of a transaction is, at level M3.
    pub transactions: Option<TransactionUrl>,
    /// Whom we trust and who we are, where the URL is `https`.
    pub tls: Tls,
}

/// What a module keeps to, beyond taking requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing.
    M0,
    /// Each version of an entity has an `ETag` that never comes again, and writes can depend on it.
    M1,
    /// And it knows a request again by its key: it takes it once, and answers the same again.
    M2,
    /// It reserves what an event needs, unseen, and makes it or gives it up later.
    M3,
}

impl Level {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::M0 => "M0",
            Self::M1 => "M1",
            Self::M2 => "M2",
            Self::M3 => "M3",
        }
    }
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// A value for a header.
    ///
    /// # Errors
    /// When a header cannot hold it.
    pub fn header(text: &str) -> Result<Self, &'static str> {
        match reqwest::header::HeaderValue::from_str(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("a header cannot hold this value"),
        }
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// Whether a header can be set: what steers the connection or the effect is ours.
#[must_use]
pub fn is_free_header(name: &str) -> bool {
    const OURS: [&str; 11] = [
        "host",
        "connection",
        "transfer-encoding",
        "content-length",
        "content-type",
        "if-match",
        "if-none-match",
        "idempotency-key",
        "traceparent",
        "upgrade",
        "te",
    ];
    let name = name.to_ascii_lowercase();
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && !OURS.contains(&name.as_str())
        && !name.starts_with("syncline-")
}
