//! Headers of requests: which are the plugin's, which the host's, which go along with a connection.

use super::grant::Grant;
use super::origin::Origin;
use super::refusal::Refusal;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
    USER_AGENT,
};

/// What steers a connection, or is the host's to say.
const RESERVED: [&str; 14] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Whether a plugin may neither send nor see such a header.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    RESERVED.contains(&name) || name.starts_with("syncline-")
}

/// Whether a configuration may set such a header.
#[must_use]
pub fn is_placeable(name: &HeaderName) -> bool {
    !is_reserved(name) && *name != CONTENT_LENGTH
}

/// The headers of a request: the plugin's, and what the host adds.
///
/// # Errors
/// When the plugin sets what is the host's.
pub(super) fn prepare(
    mut headers: HeaderMap,
    origin: &Origin,
    grant: &Grant,
) -> Result<HeaderMap, Refusal> {
    headers.remove(HOST);
    // Told by the body, which is whole.
    headers.remove(CONTENT_LENGTH);
    if let Some(name) = headers.keys().find(|name| is_reserved(name)) {
        return Err(Refusal::Denied(format!(
            "the header `{name}` is not a plugin's to set"
        )));
    }
    for placed in &grant.settings.headers {
        if headers.contains_key(&placed.name) {
            return Err(Refusal::Denied(format!(
                "the header `{}` of requests to {origin} is set by the configuration: do not set it",
                placed.name
            )));
        }
    }
    if grant.has_secrets() {
        // An answer in pieces, or packed, could hold a secret that nobody recognises.
        for name in [ACCEPT_ENCODING, RANGE, IF_RANGE] {
            headers.remove(name);
        }
    }
    for placed in &grant.settings.headers {
        headers.insert(placed.name.clone(), placed.value());
    }
    if !headers.contains_key(USER_AGENT) {
        let agent = concat!("syncline/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    }
    let host = HeaderValue::from_str(&origin.authority());
    let host = host.map_err(|_| Refusal::Denied(format!("{origin} is no place")))?;
    headers.insert(HOST, host);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::grant::{Placed, Settings};

    fn grant() -> Grant {
        let name = HeaderName::from_static("authorization");
        let placed = Placed::new(name, "Bearer s3cret-token", vec!["s3cret-token".to_owned()]);
        Grant {
            pattern: "api.example.com:8443".parse().unwrap(),
            settings: Settings {
                headers: vec![placed.unwrap()],
                ..Settings::default()
            },
        }
    }

    fn prepared(pairs: &[(&str, &str)]) -> Result<HeaderMap, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append::<HeaderName>(name.parse().unwrap(), value.parse().unwrap());
        }
        let uri = "https://api.example.com:8443/x".parse().unwrap();
        prepare(headers, &Origin::of(&uri).unwrap(), &grant())
    }

    #[test]
    fn the_host_says_where_and_who() {
        let given = [
            ("x-mine", "1"),
            ("host", "evil.test"),
            ("content-length", "7"),
            ("range", "bytes=0-3"),
            ("accept-encoding", "gzip"),
        ];
        let headers = prepared(&given).unwrap();
        let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("host"), Some("api.example.com:8443"));
        assert_eq!(value("authorization"), Some("Bearer s3cret-token"));
        assert_eq!(value("x-mine"), Some("1"));
        assert!(value("user-agent").unwrap().starts_with("syncline/"));
        for gone in ["content-length", "range", "accept-encoding"] {
            assert_eq!(value(gone), None, "{gone}");
        }
        assert!(headers["authorization"].is_sensitive());
    }

    #[test]
    fn what_is_the_hosts_is_refused() {
        for name in [
            "Authorization",
            "Syncline-Event-Id",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "Proxy-Authorization",
            "Expect",
        ] {
            let refused = prepared(&[(name, "x")]);
            assert!(matches!(refused, Err(Refusal::Denied(_))), "{name}");
        }
    }
}
