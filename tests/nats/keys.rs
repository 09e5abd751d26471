//! Keys of every sort, made for one test: certificates, nkeys, JWTs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as TlsKey,
};
use serde_json::{Value, json};
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, TlsKey>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = TlsKey::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Writes its own certificate.
    pub(crate) fn write(&self, file: &Path) {
        std::fs::write(file, &self.pem).unwrap();
    }

    /// Writes a certificate for `name`, good until so long from now, and its key: `STEM.pem`,
    /// `STEM.key`.
    pub(crate) fn sign(&self, name: &str, good_for: Duration, stem: &Path) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = OffsetDateTime::now_utc() - Duration::days(2);
        params.not_after = OffsetDateTime::now_utc() + good_for;
        let key = TlsKey::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(stem.with_extension("pem"), certificate.pem()).unwrap();
        std::fs::write(stem.with_extension("key"), key.serialize_pem()).unwrap();
    }
}

/// An operator with one account: what a server in operator mode trusts.
pub(crate) struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// Lines of a server's configuration: it knows the operator and the account from memory.
    pub(crate) fn settings(&self) -> String {
        let operator = json!({"name": "test", "nats": {"type": "operator", "version": 2}});
        let operator = jwt(&self.operator, &self.operator, operator);
        let (own, system) = (self.account(&self.account), self.account(&self.system));
        format!(
            "operator: \"{operator}\"\nresolver: MEMORY\nsystem_account: {}\n\
             resolver_preload: {{ {}: \"{own}\", {}: \"{system}\" }}\n",
            self.system.public_key(),
            self.account.public_key(),
            self.system.public_key()
        )
    }

    /// An account without limits; the system's has no JetStream, as the server wants it.
    fn account(&self, key: &KeyPair) -> String {
        let stored = if key.public_key() == self.system.public_key() {
            0
        } else {
            -1
        };
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": stored, "disk_storage": stored, "streams": stored, "consumer": stored,
        });
        let claims = json!({
            "name": "app",
            "nats": {"type": "account", "version": 2, "limits": limits},
        });
        jwt(&self.operator, key, claims)
    }

    /// A user's credentials file, good until so long from now.
    pub(crate) fn credentials(&self, good_for: Duration) -> String {
        let user = KeyPair::new_user();
        let claims = json!({
            "name": "syncline",
            "exp": (OffsetDateTime::now_utc() + good_for).unix_timestamp(),
            "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1},
        });
        let token = jwt(&self.account, &user, claims);
        let seed = user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A JWT as NATS wants it: signed by the nkey `issuer`, about `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, mut claims: Value) -> String {
    claims["jti"] = json!("test");
    claims["iat"] = json!(OffsetDateTime::now_utc().unix_timestamp());
    claims["iss"] = json!(issuer.public_key());
    claims["sub"] = json!(subject.public_key());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = [
        part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})),
        part(&claims),
    ]
    .join(".");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
