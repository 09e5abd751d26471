//! Tokens of an issuer: which are let in, and for what.

use super::{Issuer, Keys};
use crate::api::access::Door;
use crate::api::config::{Bearer, Hash, Jwt, Token};
use crate::api::renewed::Renewed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

fn edwards() -> Ed25519KeyPair {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()
}

/// An issuer with two keys, and another one that nobody knows.
struct Lab {
    edwards: Ed25519KeyPair,
    curve: EcdsaKeyPair,
    other: Ed25519KeyPair,
}

impl Lab {
    fn new() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let curve = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self {
            edwards: edwards(),
            curve: EcdsaKeyPair::from_pkcs8(kind, curve.as_ref(), &random).unwrap(),
            other: edwards(),
        }
    }

    fn set(&self) -> Value {
        let point = self.curve.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "use": "enc", "n": encoded([1; 256]), "e": "AQAB" },
            { "kty": "something new" },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encoded(self.edwards.public_key()) },
            {
                "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
                "x": encoded(&point[1..33]), "y": encoded(&point[33..]),
            },
        ] })
    }

    fn door(&self) -> Door {
        let text = self.set().to_string();
        let keys = Renewed::open("keys", Vec::new(), move || Keys::read(text.as_bytes()));
        let settings = Jwt {
            keys: "jwks.json".into(),
            issuer: "https://id.example".to_owned(),
            audience: "syncline".to_owned(),
            scopes: ["crm:*", "*:retrieve"]
                .map(|it| it.parse().unwrap())
                .to_vec(),
            rate: "1/h burst 3".parse().ok(),
        };
        let token = Token {
            hash: Hash::of(b"a.b.c"),
            bearer: Bearer {
                name: "ada".to_owned(),
                scopes: Vec::new(),
                rate: None,
            },
        };
        let issuer = Issuer::new(settings, Arc::new(keys.unwrap()));
        Door::new(vec![token], Some(issuer))
    }

    /// A sound header, and sound claims.
    fn parts() -> (Value, Value) {
        let header = json!({ "alg": "EdDSA", "kid": "ed", "typ": "at+jwt" });
        let claims = json!({
            "iss": "https://id.example",
            "aud": "syncline",
            "sub": "ada",
            "exp": now() + 60,
            "scope": "openid crm:write billing:* other:thing",
        });
        (header, claims)
    }

    /// A token in which something is otherwise; `null`: it is not there.
    fn token(&self, more_header: &Value, more_claims: &Value) -> String {
        let (mut header, mut claims) = Self::parts();
        for (all, more) in [(&mut header, more_header), (&mut claims, more_claims)] {
            let all = all.as_object_mut().unwrap();
            all.extend(more.as_object().unwrap().clone());
            all.retain(|_, value| !value.is_null());
        }
        let message = message(&header, &claims);
        let signature = match header["alg"].as_str().unwrap() {
            "ES256" => {
                let signed = self.curve.sign(&SystemRandom::new(), message.as_bytes());
                encoded(signed.unwrap())
            }
            _ => encoded(self.edwards.sign(message.as_bytes())),
        };
        format!("{message}.{signature}")
    }
}

fn message(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        encoded(header.to_string()),
        encoded(claims.to_string())
    )
}

/// The name and the scopes of whoever shows a token.
fn shown(door: &Door, token: &str) -> Option<(String, String)> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, value);
    let guest = door.admit(&headers)?;
    let scopes = guest.bearer.scopes.iter().map(ToString::to_string);
    let scopes: Vec<_> = scopes.collect();
    Some((guest.bearer.name.clone(), scopes.join(" ")))
}

#[test]
fn a_sound_token_is_let_in_for_what_both_it_and_the_configuration_permit() {
    let (lab, same) = (Lab::new(), json!({}));
    let door = lab.door();
    let granted = "crm:write billing:retrieve";
    for (header, claims, scopes) in [
        (json!({}), json!({}), granted),
        (json!({ "kid": null, "typ": null }), json!({}), granted),
        (
            json!({ "typ": "JWT", "alg": "ES256", "kid": "ec" }),
            json!({}),
            granted,
        ),
        (json!({}), json!({ "aud": ["other", "syncline"] }), granted),
        (json!({}), json!({ "nbf": now() + 20 }), granted),
        (json!({}), json!({ "exp": now() - 20 }), granted),
        (json!({}), json!({ "scope": "*:*" }), "crm:* *:retrieve"),
        (json!({}), json!({ "scope": "billing:write" }), ""),
        (json!({}), json!({ "scope": null }), ""),
    ] {
        let token = lab.token(&header, &claims);
        let (name, found) = shown(&door, &token).unwrap_or_else(|| panic!("{header} {claims}"));
        assert_eq!(
            (name.as_str(), found.as_str()),
            ("jwt:ada", scopes),
            "{claims}"
        );
    }
    // A configured token is known by its hash, whatever it looks like, and is somebody else.
    assert_eq!(
        shown(&door, "a.b.c"),
        Some(("ada".to_owned(), String::new()))
    );
    assert!(shown(&Door::new(Vec::new(), None), &lab.token(&same, &same)).is_none());
}

#[test]
fn who_claims_what_is_not_so_is_not_let_in() {
    let lab = Lab::new();
    let door = lab.door();
    for (what, claims) in [
        ("another issuer", json!({ "iss": "https://other.example" })),
        (
            "several issuers",
            json!({ "iss": ["https://id.example", "x"] }),
        ),
        ("no issuer", json!({ "iss": null })),
        ("another audience", json!({ "aud": "other" })),
        ("other audiences", json!({ "aud": ["other", "another"] })),
        ("no audience", json!({ "aud": null })),
        ("expired", json!({ "exp": now() - 40 })),
        ("never expires", json!({ "exp": null })),
        ("expires as a text", json!({ "exp": "9999999999" })),
        ("not yet valid", json!({ "nbf": now() + 40 })),
        ("valid as a text", json!({ "nbf": "1" })),
        ("no subject", json!({ "sub": null })),
        ("an empty subject", json!({ "sub": "" })),
        ("a subject of several lines", json!({ "sub": "a\nb" })),
        ("a long subject", json!({ "sub": "a".repeat(256) })),
        ("scopes in a list", json!({ "scope": ["crm:write"] })),
    ] {
        let token = lab.token(&json!({}), &claims);
        assert_eq!(shown(&door, &token), None, "{what}");
    }
}

#[test]
fn what_is_not_signed_by_a_key_of_the_issuer_is_not_let_in() {
    let lab = Lab::new();
    let door = lab.door();
    let same = json!({});
    let header = |header: Value| lab.token(&header, &same);
    let (head, body) = Lab::parts();
    let sound = lab.token(&same, &same);
    let (signed, signature) = sound.rsplit_once('.').unwrap();
    let by_other = encoded(lab.other.sign(signed.as_bytes()));
    let saying = |member: &str, value: &str| {
        let (mut head, mut body) = (head.clone(), body.clone());
        let part = if member == "alg" {
            &mut head
        } else {
            &mut body
        };
        part[member] = value.into();
        message(&head, &body)
    };
    let hashed = saying("alg", "HS256");
    let public = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, lab.edwards.public_key().as_ref());
    let tag = encoded(ring::hmac::sign(&public, hashed.as_bytes()));
    let no_json = message(&"x".into(), &body);
    for (what, token) in [
        ("an unknown key", header(json!({ "kid": "other" }))),
        (
            "the key of another algorithm",
            header(json!({ "kid": "ec" })),
        ),
        ("another algorithm", header(json!({ "alg": "RS256" }))),
        ("for something else", header(json!({ "typ": "logout+jwt" }))),
        (
            "critical",
            header(json!({ "crit": ["b64"], "b64": "false" })),
        ),
        ("signed by another key", format!("{signed}.{by_other}")),
        ("not signed", format!("{signed}.")),
        ("cut", format!("{signed}.{}", &signature[..40])),
        (
            "another body",
            format!("{}.{signature}", saying("sub", "root")),
        ),
        ("algorithm none", format!("{}.", saying("alg", "none"))),
        ("the public key as a secret", format!("{hashed}.{tag}")),
        ("no JSON", format!("{no_json}.{signature}")),
        ("nothing", "..".to_owned()),
        ("more parts", format!("{sound}.x.y")),
    ] {
        assert_eq!(shown(&door, &token), None, "{what}");
    }
    assert!(shown(&door, &sound).is_some());
}

#[tokio::test(start_paused = true)]
async fn each_bearer_has_a_limit_whichever_token_they_show() {
    let lab = Lab::new();
    let door = lab.door();
    let ask = |claims: Value| {
        let mut headers = HeaderMap::new();
        let value = format!("Bearer {}", lab.token(&json!({}), &claims));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        door.admit(&headers).unwrap().take_turn().is_ok()
    };
    assert!((0..3).all(|n| ask(json!({ "jti": n }))));
    assert!(!ask(json!({ "jti": 4 })));
    assert!(ask(json!({ "sub": "bob" })));
}

#[test]
fn a_set_of_keys_holds_public_ones_that_are_whole() {
    let lab = Lab::new();
    let set = lab.set();
    let keys = |keys: Value| Keys::read(json!({ "keys": keys }).to_string().as_bytes());
    assert!(Keys::read(set.to_string().as_bytes()).is_ok());
    let rsa = |n: &[u8]| json!([{ "kty": "RSA", "n": encoded(n), "e": "AQAB" }]);
    assert!(keys(rsa(&[129; 256])).is_ok());
    let (edwards, curve) = (set["keys"][2].clone(), set["keys"][3].clone());
    let but = |key: &Value, member: &str, value: &str| {
        let mut key = key.clone();
        key[member] = value.into();
        json!([key])
    };
    for (faulty, expected) in [
        (json!([]), "no public key for signatures"),
        (
            json!([set["keys"][0], set["keys"][1]]),
            "no public key for signatures",
        ),
        (
            but(&edwards, "crv", "Ed448"),
            "no public key for signatures",
        ),
        (
            but(&edwards, "alg", "ES256"),
            "no public key for signatures",
        ),
        (
            json!([edwards, { "kty": "oct", "k": "c2VjcmV0" }]),
            "keys[1]: it is a symmetric key",
        ),
        (
            but(&edwards, "d", "c2VjcmV0"),
            "keys[0]: it is a private key",
        ),
        (but(&edwards, "x", "c2VjcmV0"), "not as long as the curve"),
        (but(&curve, "y", "c2VjcmV0"), "not as long as the curve"),
        (rsa(&[129; 128]), "the RSA key has 1024 bits"),
    ] {
        let fault = keys(faulty.clone()).err().unwrap_or_default();
        assert!(fault.contains(expected), "{faulty}: {fault}");
        assert!(!fault.contains("c2VjcmV0"), "{fault}");
    }
    for text in ["", "[]", "{}", "{\"keys\": 1}"] {
        let fault = Keys::read(text.as_bytes()).err().unwrap();
        assert!(fault.contains("it is no JWK Set"), "{text}: {fault}");
    }
}
