//! Tokens that an issuer signs (RFC 7519, as RFC 9068 uses them).

use super::guest::{Guest, Limiters};
use super::keys::Keys;
use crate::api::config::{Bearer, Jwt, Scope};
use crate::api::renewed::Renewed;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use std::sync::Arc;

/// How many seconds the clocks of an issuer may differ from ours.
const LEEWAY: u64 = 30;
/// What the types of such tokens are called, in small letters.
const TYPES: [&str; 4] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];
/// The longest name.
const LONGEST: usize = 255;

/// An issuer, and what may be done with its tokens.
pub(in crate::api) struct Issuer {
    settings: Jwt,
    keys: Arc<Renewed<Keys>>,
    limiters: Limiters,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Checked elsewhere; here it is one text.
    #[serde(rename = "iss")]
    _iss: String,
    scope: Option<String>,
}

impl Issuer {
    pub(in crate::api) fn new(settings: Jwt, keys: Arc<Renewed<Keys>>) -> Self {
        Self {
            limiters: Limiters::new(settings.rate),
            settings,
            keys,
        }
    }

    /// Whether it looks like a token of an issuer.
    pub(super) fn is_meant(token: &[u8]) -> bool {
        token.split(|byte| *byte == b'.').count() == 3
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// Why it is not let in: for the log, and not for whoever shows it.
    pub(super) fn admit(&self, token: &[u8]) -> Result<Guest, String> {
        let claims = self.claims(token)?;
        let named = !claims.sub.is_empty()
            && claims.sub.len() <= LONGEST
            && !claims.sub.chars().any(char::is_control);
        if !named {
            return Err("`sub` is not a name of 1 to 255 bytes".to_owned());
        }
        // What else an issuer permits is not for us.
        let claimed = claims.scope.as_deref().unwrap_or_default().split(' ');
        let claimed: Vec<Scope> = claimed.filter_map(|scope| scope.parse().ok()).collect();
        let bearer = Bearer {
            // No configured name has a colon.
            name: format!("jwt:{}", claims.sub),
            scopes: within(&self.settings.scopes, &claimed),
            rate: self.settings.rate,
        };
        let limiter = self.limiters.of(&bearer.name);
        Ok(Guest::with(bearer, limiter))
    }

    fn claims(&self, token: &[u8]) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|error| format!("the header: {error}"))?;
        if header.crit.is_some() {
            return Err("the header has `crit`, of which nothing is understood here".to_owned());
        }
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !kind.is_none_or(|kind| TYPES.contains(&kind.as_str())) {
            return Err("it is a token for something else: see its `typ`".to_owned());
        }
        let keys = self.keys.now();
        let mut fault = "no key has its `kid` and `alg`".to_owned();
        for key in keys.of(&header) {
            match decode(token, &key.key, &self.validation(&key.algorithms)) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => fault = error.to_string(),
            }
        }
        Err(fault)
    }

    fn validation(&self, algorithms: &[Algorithm]) -> Validation {
        let mut validation = Validation::default();
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation
    }
}

/// What both permit.
fn within(ceiling: &[Scope], claimed: &[Scope]) -> Vec<Scope> {
    let both = |one: &Scope| {
        let one = one.clone();
        claimed.iter().filter_map(move |other| one.and(other))
    };
    ceiling.iter().flat_map(both).collect()
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
