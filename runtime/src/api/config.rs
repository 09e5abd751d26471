//! What is asked of the API: where it listens, and whom it lets in.

use crate::contract::Verb;
use crate::rate::Rate;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Where the API listens where nothing else is said.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Settings of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Who is let in.
    pub tokens: Vec<Token>,
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

impl Config {
    /// Whether anybody may change anything.
    #[must_use]
    pub fn permits_changes(&self) -> bool {
        let tokens = self.tokens.iter().map(|token| &token.bearer);
        let service = self.service.iter().map(|service| &service.bearer);
        let mut scopes = tokens.chain(service).flat_map(|bearer| &bearer.scopes);
        scopes.any(|scope| scope.permits != Permitted::One(Verb::Retrieve))
    }
}

/// An address of this machine alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    pub(super) fn address(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.parse().map_err(|_| {
            format!(
                "`{text}` is no address: write an IP address and a port, as in \"{DEFAULT_LISTEN}\""
            )
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "`{text}` can be reached from other machines, and without TLS, which the API does \
                 not have yet, tokens would be sent in the open: write 127.0.0.1 or [::1], and let a \
                 proxy with TLS stand before it"
            ));
        }
        Ok(Self(address))
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
    fn only_this_machine_is_listened_to() {
        for sound in ["127.0.0.1:8080", "127.9.9.9:0", "[::1]:80"] {
            assert!(sound.parse::<Listen>().is_ok(), "{sound}");
        }
        for open in [
            "0.0.0.0:80",
            "[::]:80",
            "10.0.0.1:80",
            "[::ffff:10.0.0.1]:80",
        ] {
            let fault = open.parse::<Listen>().unwrap_err();
            assert!(fault.contains("without TLS"), "{fault}");
        }
        for wrong in ["localhost:80", "127.0.0.1", "80"] {
            let fault = wrong.parse::<Listen>().unwrap_err();
            assert!(fault.contains("is no address"), "{fault}");
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
