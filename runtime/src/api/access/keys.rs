//! The keys of an issuer: a JWK Set (RFC 7517).

use super::signature;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Header};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The least and the most bytes that the modulus of an RSA key has.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;

/// Keys that signatures are checked with.
pub(in crate::api) struct Keys(Vec<Key>);

/// A public key, and what may be signed how with it.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// The keys in a file.
    ///
    /// # Errors
    /// What is wrong with it, with its name.
    pub(in crate::api) fn load(file: &Path) -> Result<Self, String> {
        let text = std::fs::read(file);
        let text = text.map_err(|error| format!("reading `{}`: {error}", file.display()))?;
        Self::read(&text).map_err(|fault| format!("`{}`: {fault}", file.display()))
    }

    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        signature::install();
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("it is no JWK Set, {{\"keys\": [..]}}: {error}"))?;
        let mut keys = Vec::new();
        for (n, key) in set.keys.into_iter().enumerate() {
            let read = Key::read(key).map_err(|fault| format!("keys[{n}]: {fault}"))?;
            keys.extend(read);
        }
        match keys.is_empty() {
            true => Err(
                "it has no public key for signatures of the kinds RSA, EC (P-256, P-384) or OKP (Ed25519)"
                    .to_owned(),
            ),
            false => Ok(Self(keys)),
        }
    }

    /// Those that a token with this header may be signed by.
    pub(super) fn of<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        let is_meant = |key: &&Key| header.kid.is_none() || key.id == header.kid;
        let fits = |key: &&Key| key.algorithms.contains(&header.alg);
        self.0.iter().filter(is_meant).filter(fits)
    }
}

impl Key {
    /// A key of a set; none: it is for something else, or of a kind that is not known here.
    fn read(value: Value) -> Result<Option<Self>, String> {
        let has = |member: &str| value.get(member).is_some();
        if value.get("kty").and_then(Value::as_str) == Some("oct") || has("k") {
            return Err(
                "it is a symmetric key, with which whoever reads this file could make tokens: use a pair of \
                 keys, and write the public one"
                    .to_owned(),
            );
        }
        if has("d") {
            return Err("it is a private key: write the public one, without `d`".to_owned());
        }
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            return Ok(None);
        };
        let is_for_signatures = matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        );
        let algorithms = algorithms(&jwk);
        if !is_for_signatures || algorithms.is_empty() {
            return Ok(None);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        check(&key, &algorithms)?;
        Ok(Some(Self {
            id: jwk.common.key_id,
            algorithms,
            key,
        }))
    }
}

/// What a key may be used with: what it says, of what its kind can do. Never what a token says alone.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    let able: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => &[],
    };
    let said = jwk.common.key_algorithm;
    // That of Ed25519 has two names: RFC 8037 and RFC 9864.
    let is_said = |algorithm: &&Algorithm| match said {
        None => true,
        Some(KeyAlgorithm::UNKNOWN_ALGORITHM) => **algorithm == Algorithm::EdDSA,
        Some(said) => said.to_string() == format!("{algorithm:?}"),
    };
    able.iter().filter(is_said).copied().collect()
}

/// Whether it is a whole key: with another one nothing would ever be let in.
fn check(key: &DecodingKey, algorithms: &[Algorithm]) -> Result<(), String> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            let is_sound = MODULUS.contains(&n.len()) && n.first() != Some(&0);
            let fault = || {
                format!(
                    "the RSA key has {} bits: 2048 to 8192 are used",
                    n.len() * 8
                )
            };
            is_sound.then_some(()).ok_or_else(fault)
        }
        DecodingKeyKind::SecretOrDer(key) => {
            let expected = match algorithms.first() {
                Some(Algorithm::ES256) => 65,
                Some(Algorithm::ES384) => 97,
                _ => 32,
            };
            let fault = || "`x` or `y` is not as long as the curve wants it".to_owned();
            (key.len() == expected).then_some(()).ok_or_else(fault)
        }
    }
}
