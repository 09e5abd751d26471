//! Who asks, and what they may.

mod guest;
mod jwt;
mod keys;
mod signature;

pub(super) use guest::Guest;
pub(super) use jwt::Issuer;
pub(super) use keys::Keys;

use super::config::{Bearer, Hash, Token};
use crate::contract::Verb;
use hyper::{HeaderMap, header};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tracing::debug;

/// Where whoever asks shows a token.
pub(super) struct Door {
    tokens: Vec<(Hash, Arc<Guest>)>,
    issuer: Option<Issuer>,
}

impl Door {
    /// A door for whoever shows one of `tokens`, or one of the issuer.
    pub(super) fn new(tokens: Vec<Token>, issuer: Option<Issuer>) -> Self {
        let known = |token: Token| (token.hash, Arc::new(Guest::new(token.bearer)));
        Self {
            tokens: tokens.into_iter().map(known).collect(),
            issuer,
        }
    }

    /// Who shows a request's token, if it is a known one.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Option<Arc<Guest>> {
        let token = shown(headers)?;
        if let Some(guest) = self.known(token) {
            return Some(guest);
        }
        let issuer = self.issuer.as_ref().filter(|_| Issuer::is_meant(token))?;
        match issuer.admit(token) {
            Ok(guest) => Some(Arc::new(guest)),
            Err(fault) => {
                debug!(fault, "a JWT is not let in");
                None
            }
        }
    }

    /// How long it takes says nothing about any of the tokens: all are compared, and hashes are what is compared.
    fn known(&self, token: &[u8]) -> Option<Arc<Guest>> {
        let shown = Hash::of(token);
        let mut found = None;
        for (known, guest) in &self.tokens {
            if bool::from(known.0.ct_eq(&shown.0)) {
                found = Some(guest);
            }
        }
        found.cloned()
    }
}

/// The token that a request shows.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    is_bearer.then(|| token.trim_ascii())
}

impl Bearer {
    /// Whether they may do `verb` to `target`.
    pub(super) fn permits(&self, target: &str, verb: Verb) -> bool {
        self.scopes.iter().any(|scope| {
            let is_meant = scope.target.as_deref().is_none_or(|named| named == target);
            is_meant && scope.permits.includes(verb)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn tokens() -> Vec<Token> {
        let token = |name: &str, scope: &str| Token {
            hash: Hash::of(name.as_bytes()),
            bearer: Bearer {
                name: name.to_owned(),
                scopes: vec![scope.parse().unwrap()],
                rate: None,
            },
        };
        vec![
            token("one", "crm:retrieve"),
            token("all", "*:retrieve"),
            token("writer", "crm:write"),
            token("root", "*:*"),
        ]
    }

    fn known(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let guest = Door::new(tokens(), None).admit(&headers)?;
        Some(guest.bearer.name.clone())
    }

    #[test]
    fn who_shows_a_token_is_known_by_it() {
        assert_eq!(known(&["Bearer one"]).as_deref(), Some("one"));
        assert_eq!(known(&["bearer all"]).as_deref(), Some("all"));
        for other in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer two",
            "Basic one",
            "one",
            "Bearer one all",
        ] {
            assert_eq!(known(&[other]), None, "{other}");
        }
        assert_eq!(known(&[]), None);
        assert_eq!(known(&["Bearer one", "Bearer all"]), None);
    }

    #[test]
    fn a_token_permits_its_scopes_and_no_more() {
        let tokens = tokens();
        assert!(tokens[0].bearer.permits("crm", Verb::Retrieve));
        assert!(!tokens[0].bearer.permits("billing", Verb::Retrieve));
        assert!(!tokens[0].bearer.permits("crm", Verb::Delete));
        assert!(tokens[1].bearer.permits("billing", Verb::Retrieve));
        assert!(!tokens[1].bearer.permits("billing", Verb::Upsert));
        assert!(tokens[2].bearer.permits("crm", Verb::Append));
        assert!(!tokens[2].bearer.permits("crm", Verb::Retrieve));
        assert!(!tokens[2].bearer.permits("billing", Verb::Append));
        assert!(tokens[3].bearer.permits("billing", Verb::Retrieve));
        assert!(tokens[3].bearer.permits("billing", Verb::Delete));
    }
}
