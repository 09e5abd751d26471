//! What a plugin may reach, and how.

use super::address::{Network, is_public};
use super::origin::{Origin, Pattern};
use crate::tls::Tls;
use http::{HeaderName, HeaderValue, Method};
use std::fmt;
use std::net::IpAddr;

/// The methods that change nothing: permitted where nothing else is said.
pub const READING: [Method; 2] = [Method::GET, Method::HEAD];

/// Every method that can be permitted.
pub const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A place that a plugin may send requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub pattern: Pattern,
    /// How.
    pub settings: Settings,
}

/// How a granted place is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The methods that may be used.
    pub methods: Vec<Method>,
    /// Headers that the plugin does not see.
    pub headers: Vec<Placed>,
    /// Networks that its name may lie in, besides the public internet.
    pub networks: Vec<Network>,
    /// Whom we trust there, and who we are.
    pub tls: Tls,
}

/// A header that the host sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: HeaderName,
    /// Its value; not shown.
    value: HeaderValue,
    /// The parts of the value that are secret.
    secrets: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            methods: READING.to_vec(),
            headers: Vec::new(),
            networks: Vec::new(),
            tls: Tls::default(),
        }
    }
}

impl Grant {
    /// The place, reached as it is by default.
    #[must_use]
    pub fn of(pattern: Pattern) -> Self {
        Self {
            pattern,
            settings: Settings::default(),
        }
    }

    /// Whether the address may be reached, which the host of `origin` stands for.
    pub(super) fn permits(&self, origin: &Origin, address: IpAddr) -> bool {
        let is_named = self.pattern.address() == Some(address) && self.pattern.covers(origin);
        let networks = &self.settings.networks;
        is_named || is_public(address) || networks.iter().any(|network| network.contains(address))
    }

    /// Whether it holds something that the plugin must not see.
    pub(super) fn has_secrets(&self) -> bool {
        let headers = &self.settings.headers;
        headers.iter().any(|placed| !placed.secrets.is_empty())
    }
}

impl Placed {
    /// A header; `secrets` are the parts of `value` that nobody may see.
    ///
    /// # Errors
    /// When a header cannot hold the value.
    pub fn new(name: HeaderName, value: &str, secrets: Vec<String>) -> Result<Self, &'static str> {
        let mut value =
            HeaderValue::from_str(value).map_err(|_| "a header cannot hold this value")?;
        value.set_sensitive(true);
        Ok(Self {
            name,
            value,
            secrets,
        })
    }

    pub(super) fn value(&self) -> HeaderValue {
        self.value.clone()
    }

    /// Whether `bytes` hold a secret of it.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        // A shorter one stands in ordinary answers.
        const SHORTEST: usize = 8;
        let long = self.secrets.iter().filter(|s| s.len() >= SHORTEST);
        let mut long = long.map(String::as_bytes);
        long.any(|secret| bytes.windows(secret.len()).any(|window| window == secret))
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Placed").field(&self.name).finish()
    }
}
