//! Where a request goes, and which places a grant means.

use http::Uri;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of a host.
const LONGEST_NAME: usize = 253;

/// Scheme, host and port: what a grant is about, and what connections are kept for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) is_encrypted: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// A name, in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

/// The places that a grant means: one host with its port, or every host below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Whether the hosts below the name are meant, and not the name itself.
    is_below: bool,
    origin: Origin,
}

impl Origin {
    /// Where a request for `uri` goes.
    pub(super) fn of(uri: &Uri) -> Result<Self, String> {
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("its URL is neither https:// nor http://".to_owned()),
        };
        let authority = uri.authority().map(http::uri::Authority::as_str);
        Self::read(is_encrypted, authority.unwrap_or_default())
    }

    /// `HOST` or `HOST:PORT`.
    fn read(is_encrypted: bool, text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            // The last colon of a bare address in brackets.
            Some(_) if text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port = match port {
            None if is_encrypted => 443,
            None => 80,
            Some(port) => number(port).ok_or_else(|| format!("`{port}` is no port"))?,
        };
        let host = host.parse()?;
        Ok(Self {
            is_encrypted,
            host,
            port,
        })
    }

    /// What stands in the header `Host`.
    pub(super) fn authority(&self) -> String {
        let default = if self.is_encrypted { 443 } else { 80 };
        match self.port == default {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A port above 0, in digits alone.
fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port > 0)
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').unwrap_or_default();
            let address: Result<Ipv6Addr, _> = inner.parse();
            let address = address.map_err(|_| format!("`{text}` is no address"))?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let labels: Vec<_> = text.split('.').collect();
        let is_label = |label: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
        };
        if text.len() > LONGEST_NAME || !labels.iter().all(is_label) {
            return Err(format!("`{}` is no host", text.escape_debug()));
        }
        // What ends in a number is an address to some: `127.1`, `0x7f000001`.
        let last = labels.last().copied().unwrap_or_default();
        if last.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "`{text}` is neither a name nor an address with four numbers"
            ));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl Pattern {
    /// Whether a request may go there.
    pub(super) fn covers(&self, origin: &Origin) -> bool {
        let granted = &self.origin;
        if (granted.is_encrypted, granted.port) != (origin.is_encrypted, origin.port) {
            return false;
        }
        match (&granted.host, &origin.host) {
            (Host::Name(above), Host::Name(name)) if self.is_below => name
                .strip_suffix(above.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (granted, host) => granted == host,
        }
    }

    /// Whether it means one place.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.is_below
    }

    /// Whether everything that `other` means is meant.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (&other.origin.host, other.is_below) {
            (Host::Name(above), true) => {
                let below = Host::Name(format!("x.{above}"));
                let host = Origin {
                    host: below,
                    ..other.origin.clone()
                };
                self.is_below && self.covers(&host)
            }
            _ => self.covers(&other.origin),
        }
    }

    /// The one address that is meant, where it is named by its numbers.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.origin.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        }
    }

    /// Whether what goes there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.origin.is_encrypted
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_encrypted, rest) = match text.split_once("://") {
            None => (true, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => {
                return Err(format!("`{scheme}://` is not available: https or http"));
            }
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(format!(
                "`{text}` is more than a host: name the host, and its port where it is not 443, as \
                 in \"api.example.com:8443\""
            ));
        }
        let (is_below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.contains('*') {
            return Err(format!(
                "`{text}`: a `*` stands for what is in front of a name, as in \"*.example.com\""
            ));
        }
        let origin = Origin::read(is_encrypted, rest)?;
        let is_wide = match &origin.host {
            Host::Name(name) => !name.contains('.'),
            Host::Address(_) => true,
        };
        if is_below && is_wide {
            return Err(format!(
                "`{text}` means too much: write at least two labels after the `*`, as in \
                 \"*.example.com\""
            ));
        }
        Ok(Self { is_below, origin })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.is_encrypted {
            ""
        } else {
            "http://"
        };
        let star = if self.is_below { "*." } else { "" };
        write!(f, "{scheme}{star}{}", self.origin.authority())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(grant: &str, url: &str) -> bool {
        let grant: Pattern = grant.parse().unwrap();
        let origin = url.parse().ok().and_then(|uri| Origin::of(&uri).ok());
        origin.is_some_and(|origin| grant.covers(&origin))
    }

    #[test]
    fn a_grant_means_one_scheme_host_and_port() {
        for (grant, url, expected) in [
            ("api.example.com", "https://api.example.com/x", true),
            ("api.example.com", "https://API.Example.COM/x", true),
            ("api.example.com", "https://api.example.com:443/", true),
            ("https://api.example.com", "https://api.example.com", true),
            ("api.example.com", "http://api.example.com/", false),
            ("api.example.com", "http://api.example.com:443/", false),
            ("api.example.com", "https://api.example.com:8443/", false),
            ("api.example.com", "https://api.example.com./", false),
            (
                "api.example.com",
                "https://api.example.com.evil.test/",
                false,
            ),
            ("api.example.com", "https://evil-api.example.com/", false),
            (
                "api.example.com",
                "https://api.example.com@evil.test/",
                false,
            ),
            ("api.example.com", "https://user@api.example.com/", false),
            (
                "api.example.com",
                "https://evil.test:80@api.example.com/",
                false,
            ),
            (
                "api.example.com:8443",
                "https://api.example.com:8443/",
                true,
            ),
            ("api.example.com:8443", "https://api.example.com/", false),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/x", true),
            ("http://127.0.0.1:9000", "https://127.0.0.1:9000/x", false),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9001/x", false),
            ("http://127.0.0.1:9000", "http://127.1:9000/x", false),
            ("http://127.0.0.1:9000", "http://0x7f.0.0.1:9000/x", false),
            ("http://127.0.0.1:9000", "http://2130706433:9000/x", false),
            (
                "http://127.0.0.1:9000",
                "http://[::ffff:127.0.0.1]:9000/",
                false,
            ),
            ("[::1]:8443", "https://[::1]:8443/", true),
            ("[::1]:8443", "https://[0:0::0:1]:8443/", true),
            ("*.example.com", "https://a.example.com/", true),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://.example.com/", false),
            ("*.example.com", "https://evilexample.com/", false),
            ("*.example.com", "https://example.com.evil.test/", false),
        ] {
            assert_eq!(covers(grant, url), expected, "{grant} {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_grant() {
        for (text, expected) in [
            ("*", "as in \"*.example.com\""),
            ("*.com", "means too much"),
            ("*.127.0.0.1", "means too much"),
            ("a.*.example.com", "as in \"*.example.com\""),
            ("api.example.com/v1", "more than a host"),
            ("me@api.example.com", "more than a host"),
            ("ftp://api.example.com", "is not available"),
            ("api.example.com:0", "is no port"),
            ("api.example.com:+80", "is no port"),
            ("api.example.com:65536", "is no port"),
            ("127.1", "neither a name nor an address"),
            ("api.example.com.", "is no host"),
            ("exämple.com", "is no host"),
            ("::1", "is no host"),
            ("[::1", "is no address"),
            ("", "is no host"),
        ] {
            let parsed: Result<Pattern, _> = text.parse();
            let fault = parsed.expect_err(text);
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn a_grant_is_shown_as_it_would_be_written() {
        for text in [
            "api.example.com",
            "api.example.com:8443",
            "*.example.com",
            "http://127.0.0.1:9000",
            "http://[::1]",
        ] {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_wish_is_met_by_a_grant_that_means_as_much() {
        let includes = |grant: &str, wish: &str| {
            let grant: Pattern = grant.parse().unwrap();
            grant.includes(&wish.parse().unwrap())
        };
        assert!(includes("*.example.com", "a.example.com"));
        assert!(includes("*.example.com", "*.a.example.com"));
        assert!(includes("a.example.com", "https://a.example.com:443"));
        assert!(!includes("a.example.com", "*.a.example.com"));
        assert!(!includes("x.example.com", "*.example.com"));
        assert!(!includes("*.example.com", "http://a.example.com"));
    }
}
