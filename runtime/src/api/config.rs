//! What is asked of the API: where it listens, and whom it lets in.

use crate::contract::Verb;
use crate::rate::Rate;
use crate::tls::Identity;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the API listens where nothing else is said.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Settings of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Who it is to those who connect; none: nothing is encrypted.
    pub tls: Option<Identity>,
    /// Who is let in.
    pub tokens: Vec<Token>,
    /// Who else is let in: whoever an issuer says.
    pub jwt: Option<Jwt>,
    /// How it is reached over NATS; none: not.
    pub service: Option<OverNats>,
}

/// The API as a micro service of NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverNats {
    /// Its name, under which clients discover it.
    pub name: String,
    /// What its subjects begin with.
    pub prefix: String,
    /// Whoever may publish there.
    pub bearer: Bearer,
}

/// An issuer of tokens (RFC 7519).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The file with its public keys, a JWK Set (RFC 7517).
    pub keys: PathBuf,
    /// What it is called.
    pub issuer: String,
    /// What we are called.
    pub audience: String,
    /// What its tokens permit at most.
    pub scopes: Vec<Scope>,
    /// How often each bearer may ask; none: as often as they like.
    pub rate: Option<Rate>,
}

impl Config {
    /// Whether anybody may change anything.
    #[must_use]
    pub fn permits_changes(&self) -> bool {
        let tokens = self.tokens.iter().map(|token| &token.bearer);
        let service = self.service.iter().map(|service| &service.bearer);
        let scopes = tokens.chain(service).flat_map(|bearer| &bearer.scopes);
        let mut scopes = scopes.chain(self.jwt.iter().flat_map(|jwt| &jwt.scopes));
        scopes.any(|scope| scope.permits != Permitted::One(Verb::Retrieve))
    }
}

/// Where the API listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    pub(super) fn address(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(self) -> bool {
        self.0.ip().is_loopback()
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse().map_err(|_| {
            format!(
                "`{text}` is no address: write an IP address and a port, as in \"{DEFAULT_LISTEN}\""
            )
        })?;
        Ok(Self(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token, known by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it hashes to.
    pub hash: Hash,
    /// Who shows it.
    pub bearer: Bearer,
}

/// Somebody who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// How logs name them.
    pub name: String,
    /// What they may do.
    pub scopes: Vec<Scope>,
    /// How often they may ask; none: as often as they like.
    pub rate: Option<Rate>,
}

/// SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub(super) [u8; 32]);

impl Hash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl FromStr for Hash {
    type Err = String;

    /// What stands there is not shown: it could be the token itself.
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            "a SHA-256 has 64 hexadecimal digits: write what `sha256sum` says of the token"
                .to_owned()
        };
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let mut hash = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(fault());
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let (high, low) = digit(*high).zip(digit(*low)).ok_or_else(fault)?;
            *byte = high << 4 | low;
        }
        Ok(Self(hash))
    }
}

/// As `sha256sum` writes it.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An operation on one target, or on all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The target; none: every one that the API serves.
    pub target: Option<String>,
    /// What may be done.
    pub permits: Permitted,
}

/// What a scope permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permitted {
    /// One operation.
    One(Verb),
    /// Every operation that changes something: `write`.
    Changes,
    /// Every operation: `*`.
    All,
}

impl Permitted {
    /// Whether `verb` is among it.
    pub(super) fn includes(self, verb: Verb) -> bool {
        match self {
            Self::One(known) => known == verb,
            Self::Changes => verb != Verb::Retrieve,
            Self::All => true,
        }
    }

    /// What both permit.
    fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::All, both) | (both, Self::All) => Some(both),
            (Self::Changes, Self::Changes) => Some(Self::Changes),
            (several, Self::One(verb)) | (Self::One(verb), several) => {
                several.includes(verb).then_some(Self::One(verb))
            }
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "write" => Some(Self::Changes),
            "*" => Some(Self::All),
            word => Verb::read(word).map(Self::One),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::One(verb) => verb.as_str(),
            Self::Changes => "write",
            Self::All => "*",
        }
    }
}

impl Scope {
    /// What both permit.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let target = match (&self.target, &other.target) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        };
        let permits = self.permits.and(other.permits)?;
        Some(Self { target, permits })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice =
            "write a target, or `*` for all of them, and what may be done, as in \"crm:retrieve\"";
        let (target, verb) = text
            .split_once(':')
            .filter(|(target, _)| !target.is_empty())
            .ok_or_else(|| format!("`{text}` is no scope: {advice}"))?;
        let permits = Permitted::read(verb).ok_or_else(|| {
            format!(
                "`{verb}` cannot be permitted: write `retrieve`, `upsert`, `merge`, `delete`, `append`, \
                 `write` for all that changes something, or `*`"
            )
        })?;
        Ok(Self {
            target: (target != "*").then(|| target.to_owned()),
            permits,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_deref().unwrap_or("*");
        write!(f, "{target}:{}", self.permits.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_who_reaches_it() {
        for local in ["127.0.0.1:8080", "127.9.9.9:0", "[::1]:80"] {
            assert!(local.parse::<Listen>().unwrap().is_local(), "{local}");
        }
        for open in [
            "0.0.0.0:80",
            "[::]:80",
            "10.0.0.1:80",
            "[::ffff:10.0.0.1]:80",
        ] {
            assert!(!open.parse::<Listen>().unwrap().is_local(), "{open}");
        }
        for wrong in ["localhost:80", "127.0.0.1", "80"] {
            let fault = wrong.parse::<Listen>().unwrap_err();
            assert!(fault.contains("is no address"), "{fault}");
        }
    }

    #[test]
    fn what_both_permit_is_what_each_permits() {
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        for (one, other, both) in [
            ("*:*", "crm:retrieve", Some("crm:retrieve")),
            ("crm:*", "*:write", Some("crm:write")),
            ("crm:write", "*:merge", Some("crm:merge")),
            ("*:write", "crm:retrieve", None),
            ("crm:merge", "crm:merge", Some("crm:merge")),
            ("crm:merge", "crm:delete", None),
            ("crm:*", "billing:*", None),
            ("*:write", "*:write", Some("*:write")),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let found = scope(one).and(&scope(other));
                assert_eq!(found, both.map(scope), "{one}, {other}");
            }
        }
    }

    #[test]
    fn a_hash_is_what_sha256sum_says() {
        let told = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(told.parse(), Ok(Hash::of(b"abc")));
        assert_eq!(Hash::of(b"abc").to_string(), told);
        assert_eq!(told.to_uppercase().parse(), Ok(Hash::of(b"abc")));
        for wrong in [
            "",
            "abc",
            &told[1..],
            &format!("{told}0"),
            &told.replace('b', "g"),
        ] {
            let fault = wrong.parse::<Hash>().unwrap_err();
            assert!(wrong.is_empty() || !fault.contains(wrong), "{fault}");
        }
    }

    #[test]
    fn a_scope_is_a_target_and_an_operation() {
        for text in [
            "crm:retrieve",
            "*:retrieve",
            "crm:write",
            "*:*",
            "crm:merge",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for wrong in ["crm", ":retrieve", "crm:", "crm:read", "crm:*:*"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
