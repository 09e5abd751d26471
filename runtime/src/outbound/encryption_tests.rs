//! Hosts with certificates: who is trusted, and for which name.

use crate::outbound::{Client, Grant, Limits, Refusal, Resolver, Settings, Transport};
use crate::tls::Tls;
use bytes::Bytes;
use http_body_util::Full;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A host called `localhost`, and the file with the authority that says so.
async fn host(folder: &Path) -> (u16, PathBuf, JoinSet<()>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (
        TlsAcceptor::from(Arc::new(config)),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let port = listener.local_addr().unwrap().port();
    let mut work = JoinSet::new();
    work.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let Ok(mut client) = acceptor.accept(client).await else {
                continue;
            };
            let _n = client.read(&mut [0; 1_024]).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-length: 4\r\n\r\nsafe";
            client.write_all(answer).await.unwrap();
        }
    });
    (port, ca, work)
}

async fn get(host: &str, ca: Option<&Path>) -> Result<Bytes, Refusal> {
    let grant = Grant {
        pattern: host.parse().unwrap(),
        settings: Settings {
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            tls: Tls {
                ca: ca.map(Path::to_owned),
                ..Tls::default()
            },
            ..Settings::default()
        },
    };
    let limits = Limits {
        time: Duration::from_secs(20),
        request: 0,
        response: 100,
        connections: 1,
    };
    let client = Client::new(&[grant], limits, Transport::Network(Resolver::system())).unwrap();
    let mut request = http::Request::new(Full::<Bytes>::default());
    *request.uri_mut() = format!("https://{host}/").parse().unwrap();
    let answer = client.send(request, None, 100).await?;
    Ok(answer.into_body())
}

#[tokio::test]
async fn a_host_is_who_its_certificate_says_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (port, ca, _work) = host(folder.path()).await;
    let named = format!("localhost:{port}");
    assert_eq!(get(&named, Some(&ca)).await, Ok(Bytes::from("safe")));
    let unknown = get(&named, None).await;
    assert!(
        matches!(unknown, Err(Refusal::Encryption(_))),
        "{unknown:?}"
    );
    let other = get(&format!("127.0.0.1:{port}"), Some(&ca)).await;
    assert!(matches!(other, Err(Refusal::Encryption(_))), "{other:?}");
}

#[test]
fn an_authority_that_cannot_be_read_is_said_before_anything_is_sent() {
    let grant = Grant {
        pattern: "api.example.com".parse().unwrap(),
        settings: Settings {
            tls: Tls {
                ca: Some("nowhere.pem".into()),
                ..Tls::default()
            },
            ..Settings::default()
        },
    };
    let limits = Limits {
        time: Duration::from_secs(1),
        request: 0,
        response: 0,
        connections: 1,
    };
    let transport = Transport::Network(Resolver::system());
    let fault = Client::new(&[grant], limits, transport).unwrap_err();
    assert!(fault.contains("nowhere.pem"), "{fault}");
}
