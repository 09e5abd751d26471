//! Who is let in over connections that are encrypted: bearers of an issuer's tokens, and how often they may ask.

use super::TOKEN;
use super::client::{Answer, Encrypted};
use crate::harness::{TestEnv, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};
use std::time::SystemTime;
use syncline::api::Hash;

const CONFIG: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = true
contract = { version = 2, schema = "crm.v2.json" }

[api]
listen = "127.0.0.1:0"
[api.tls]
cert = "cert.pem"
key = "key.pem"
[api.jwt]
keys = "jwks.json"
issuer = "https://id.example"
audience = "syncline"
scopes = ["crm:*"]
rate_limit = "1/h burst 20"
"#;

/// A runtime's folder with a certificate and a contract, and an issuer.
struct Issued {
    env: TestEnv,
    certificate: String,
    key: KeyPair,
}

impl Issued {
    async fn start() -> Self {
        let env = TestEnv::start().await;
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let operations = ["retrieve", "upsert"];
        let contract = json!({
            "name": "crm",
            "version": 2,
            "entities": { "customer": { "operations": operations, "schema": true } },
        });
        for (file, text) in [
            ("cert.pem", certificate.clone()),
            ("key.pem", key.serialize_pem()),
            ("crm.v2.json", contract.to_string()),
        ] {
            std::fs::write(env.folder().join(file), text).unwrap();
        }
        let issued = Self {
            env,
            certificate,
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        };
        issued.publish();
        issued
    }

    /// Writes the issuer's public key where the runtime reads it.
    fn publish(&self) {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key_raw());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x }] });
        let file = self.env.folder().join("jwks.json");
        std::fs::write(file, keys.to_string()).unwrap();
    }

    fn config(&self) -> String {
        let hash = Hash::of(TOKEN.as_bytes());
        let scopes = "scopes = [\"crm:*\"]\nrate_limit = \"1/h burst 3\"";
        let service = "[api.service]\nscopes = [\"crm:*\"]\nrate_limit = \"1/h\"";
        format!("{CONFIG}\n[api.tokens.ada]\nsha256 = \"{hash}\"\n{scopes}\n{service}\n")
    }

    /// A token for this subject, for another minute.
    fn token(&self, subject: &str, scope: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let claims = json!({
            "iss": "https://id.example",
            "aud": ["syncline"],
            "sub": subject,
            "scope": scope,
            "exp": now.unwrap().as_secs() + 60,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "EdDSA", "kid": "one", "typ": "at+jwt" });
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn problem(answer: &Answer) -> (u16, String) {
    let link = answer.json()["type"].as_str().unwrap().to_owned();
    let name = link.rsplit_once('#').unwrap().1.to_owned();
    (answer.status, name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_the_issuer_names_may_do_what_the_issuer_and_the_configuration_permit() {
    let mut issued = Issued::start().await;
    let runtime = issued.env.run(&issued.config()).await;
    let api = Encrypted::new(runtime.api(), &issued.certificate);
    let key = [("Idempotency-Key", "k")];
    let put = "PUT /v2/crm/customer/a";
    let both = "crm:retrieve crm:upsert billing:retrieve";
    let (ada, bob) = (issued.token("ada", both), issued.token("bob", both));
    let made = api.ask(&ada, put, &key, r#"{"n":1}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let again = api.ask(&ada, put, &key, r#"{"n":1}"#).await;
    assert_eq!(again.headers["idempotent-replayed"], "true", "{again:?}");
    // The keys of others are others, also of a configured token of that name.
    for (token, body) in [(bob.as_str(), r#"{"n":2}"#), (TOKEN, r#"{"n":3}"#)] {
        let made = api.ask(token, put, &key, body).await;
        assert_eq!(made.status, 204, "{made:?}");
        assert!(
            !made.headers.contains_key("idempotent-replayed"),
            "{made:?}"
        );
    }
    let found = api.ask(&ada, "GET /v2/crm/customer/a", &[], "").await;
    assert_eq!((found.status, found.json()), (200, json!({ "n": 3 })));

    let narrow = issued.token("ada", "crm:retrieve");
    let refused = api.ask(&narrow, put, &[], r#"{"n":4}"#).await;
    assert_eq!(problem(&refused), (403, "forbidden".to_owned()));
    let other = api.ask(&ada, "GET /v1/billing/account/a", &[], "").await;
    assert_eq!(problem(&other), (403, "forbidden".to_owned()));

    // Whatever is wrong, the same is told.
    let (signed, _) = ada.rsplit_once('.').unwrap();
    let unknown = api.ask("unknown", put, &[], "{}").await;
    assert_eq!(problem(&unknown), (401, "unauthorized".to_owned()));
    for wrong in [
        format!("{signed}.AAAA"),
        format!("{signed}."),
        "a.b.c".to_owned(),
    ] {
        let refused = api.ask(&wrong, put, &[], "{}").await;
        assert_eq!((refused.status, refused.body), (401, unknown.body.clone()));
    }

    // The issuer changes its key.
    issued.key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    issued.publish();
    let carol = issued.token("carol", both);
    eventually("the new key is known", async || {
        let found = api.ask(&carol, "GET /v2/crm/customer/a", &[], "").await;
        found.status == 200
    })
    .await;
    let late = api.ask(&ada, "GET /v2/crm/customer/a", &[], "").await;
    assert_eq!(late.status, 401, "{late:?}");
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_to_wait() {
    let issued = Issued::start().await;
    let runtime = issued.env.run(&issued.config()).await;
    let api = Encrypted::new(runtime.api(), &issued.certificate);
    let get = "GET /v2/crm/customer/none";
    for _ in 0..3 {
        assert_eq!(api.ask(TOKEN, get, &[], "").await.status, 404);
    }
    let late = api.ask(TOKEN, get, &[], "").await;
    assert_eq!(problem(&late), (429, "rate-limited".to_owned()));
    let wait: u32 = late.headers["retry-after"].parse().unwrap();
    assert!((3_000..=3_600).contains(&wait), "{late:?}");
    let ada = issued.token("ada", "crm:retrieve");
    assert_eq!(api.ask(&ada, get, &[], "").await.status, 404);

    // Over NATS all who ask are one.
    let client = async_nats::connect(issued.env.nats.url()).await.unwrap();
    let ask = async || {
        let subject = "syncline.api.v2.crm.customer.retrieve";
        let answer = client.request(subject, r#"{"key":"none"}"#.into()).await;
        let headers = answer.ok()?.headers?;
        Some(headers.get("Status")?.to_string())
    };
    eventually("the service answers", async || {
        ask().await.as_deref() == Some("404")
    })
    .await;
    assert_eq!(ask().await.as_deref(), Some("429"));
    assert!(runtime.drain().await.drained);
}
