//! Who asks, and what they may.

use super::config::{Bearer, Hash, Token};
use crate::contract::Verb;
use hyper::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

/// Who shows a request's token, if it is one of `tokens`.
///
/// How long it takes says nothing about any of them: all are compared, and hashes are what is
/// compared.
pub(super) fn bearer<'a>(tokens: &'a [Token], headers: &HeaderMap) -> Option<&'a Bearer> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    let shown = Hash::of(token.trim_ascii());
    let mut found = None;
    for known in tokens {
        if bool::from(known.hash.0.ct_eq(&shown.0)) {
            found = Some(&known.bearer);
        }
    }
    found
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
        bearer(&tokens(), &headers).map(|bearer| bearer.name.clone())
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
