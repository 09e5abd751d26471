//! Connections that are encrypted, or should be.

use super::answer::{Contracts, Modules, Nobody};
use super::config::{Bearer, Config, Hash, Token};
use super::server::{HEAD_TIME, Server};
use super::{BindError, files};
use crate::contract::AdaptedVersions;
use crate::shutdown::{Shutdown, Tasks};
use crate::target::Targets;
use crate::tls::{Identity, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion, version};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const REQUEST: &[u8] = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
    Authorization: Bearer one\r\n\r\n";

/// A certificate for `localhost` with its key, and the authority that says so.
struct Certified {
    ca: PathBuf,
    identity: Identity,
}

impl Certified {
    /// Writes the files anew.
    fn write(folder: &Path, name: &str) -> Self {
        let file = |kind: &str| folder.join(format!("{kind}.pem"));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = folder.join(format!("{name}.ca.pem"));
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(file("cert"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        let identity = Identity {
            cert: file("cert"),
            key: file("key"),
        };
        Self { ca, identity }
    }

    /// A connection of somebody who trusts that authority and speaks these versions.
    async fn connect(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tls = Tls {
            ca: Some(self.ca.clone()),
            ..Tls::default()
        };
        let whole = tls.client().unwrap();
        let provider = whole.crypto_provider().clone();
        let mut roots = rustls::RootCertStore::empty();
        let pem = rustls::pki_types::pem::PemObject::from_pem_file(&self.ca).unwrap();
        roots.add(pem).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        connector.connect(name, stream).await
    }
}

fn config(tls: Option<Identity>) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls,
        tokens: vec![Token {
            hash: Hash::of(b"one"),
            bearer: Bearer {
                name: "one".to_owned(),
                scopes: Vec::new(),
                rate: None,
            },
        }],
        jwt: None,
        service: None,
    }
}

async fn bind(identity: &Identity) -> Result<Server, BindError> {
    let modules = Modules {
        contracts: Contracts::new(),
        adapted: AdaptedVersions::default(),
        source: Arc::new(Targets::default()),
        changes: Arc::new(Nobody),
    };
    Server::bind(config(Some(identity.clone())), modules).await
}

/// A server with this identity, until the shutdown begins.
async fn serve(identity: &Identity) -> (SocketAddr, Tasks, Shutdown) {
    let server = bind(identity).await.unwrap();
    let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
    let address = server.address();
    tasks.spawn(server.serve(tasks.clone(), shutdown.clone()));
    (address, tasks, shutdown)
}

async fn end(tasks: Tasks, shutdown: Shutdown) {
    shutdown.begin();
    assert!(tasks.finish(Duration::from_secs(20)).await);
}

/// What is there until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // Being reset is closed as well.
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn what_is_asked_and_answered_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let certified = Certified::write(folder.path(), "first");
    let (address, tasks, shutdown) = serve(&certified.identity).await;
    for (spoken, expected) in [
        (&version::TLS13, ProtocolVersion::TLSv1_3),
        (&version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let mut stream = certified.connect(address, &[spoken]).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(REQUEST).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("\"openapi\":\"3.1.0\""), "{answer}");
    }
    end(tasks, shutdown).await;
}

#[tokio::test]
async fn what_is_not_encrypted_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let certified = Certified::write(folder.path(), "first");
    let (address, tasks, shutdown) = serve(&certified.identity).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(REQUEST).await.unwrap();
    let answer = rest(&mut plain).await;
    assert!(!answer.contains("HTTP"), "{answer}");
    let stream = certified.connect(address, &[&version::TLS13]).await;
    assert!(stream.is_ok());
    drop(stream);
    end(tasks, shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_holds_no_connection_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let certified = Certified::write(folder.path(), "first");
    let (address, tasks, shutdown) = serve(&certified.identity).await;
    let begun = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    assert!(begun.elapsed() >= HEAD_TIME);
    end(tasks, shutdown).await;
}

#[tokio::test]
async fn who_says_nothing_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let certified = Certified::write(folder.path(), "first");
    let (address, tasks, shutdown) = serve(&certified.identity).await;
    let silent = TcpStream::connect(address).await.unwrap();
    end(tasks, shutdown).await;
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_is_shown_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = Certified::write(folder.path(), "first");
    let (address, tasks, shutdown) = serve(&first.identity).await;
    let speak = [&version::TLS13];
    assert!(first.connect(address, &speak).await.is_ok());
    let second = Certified::write(folder.path(), "second");
    let shown = async {
        while second.connect(address, &speak).await.is_err() {
            tokio::time::advance(files::LOOK).await;
        }
    };
    let minute = Duration::from_secs(60);
    assert!(tokio::time::timeout(minute, shown).await.is_ok());
    assert!(first.connect(address, &speak).await.is_err());
    end(tasks, shutdown).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = Certified::write(folder.path(), "first").identity;
    let [cert, key, other] = ["a.pem", "b.pem", "c.pem"].map(|name| folder.path().join(name));
    std::fs::copy(&first.cert, &cert).unwrap();
    std::fs::copy(&first.key, &key).unwrap();
    std::fs::write(&other, "nothing").unwrap();
    let second = Certified::write(folder.path(), "second").identity;
    for (cert, key, named) in [
        (&cert, &second.key, vec!["a.pem", "key.pem"]),
        (&other, &key, vec!["`", "c.pem` holds no certificate"]),
        (&cert, &other, vec!["reading the key", "c.pem"]),
        (&cert, &folder.path().join("gone.pem"), vec!["gone.pem"]),
    ] {
        let identity = Identity {
            cert: cert.clone(),
            key: key.clone(),
        };
        let found = files::check(&config(Some(identity.clone())));
        let [fault] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(fault.key, "api.tls");
        let told = bind(&identity).await.err().unwrap().to_string();
        for part in named {
            assert!(fault.to_string().contains(part), "{part}: {fault}");
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
