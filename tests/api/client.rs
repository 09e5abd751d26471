//! A client of the API that sends just what it is told.

use super::TOKEN;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    /// The body.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends a request of these lines over a connection of its own.
pub(super) async fn send(address: SocketAddr, lines: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(lines.as_bytes()).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A refused request is not read to its end, which resets the connection behind the answer.
    while matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {}
    answer(bytes)
}

fn answer(bytes: Vec<u8>) -> Answer {
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.parse().unwrap(),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// A request with these headers, as lines.
pub(super) fn lines(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {TOKEN}\r\n{more}\r\n"
    )
}

/// Reads what is at `path`.
pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &lines("GET", path, "")).await
}

/// Asks for `line`, as in `PUT /v2/crm/customer/a`; none: there is no whole answer.
pub(super) async fn try_ask(
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut more = format!("Content-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Content-Type") {
        more += "Content-Type: application/json\r\n";
    }
    for (name, value) in headers {
        more += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all((lines(method, path, &more) + body).as_bytes())
        .await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    match bytes.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer(bytes)),
    }
}

/// Asks for `line`, as in `PUT /v2/crm/customer/a`.
pub(super) async fn ask(
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    try_ask(address, line, headers, body).await.unwrap()
}

/// A client that encrypts what it sends.
pub(super) struct Encrypted {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Encrypted {
    /// It trusts this certificate, in PEM, of `localhost`.
    pub(super) fn new(address: SocketAddr, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        roots.add(certificate.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Self { address, connector }
    }

    /// Asks for `line` with this token.
    pub(super) async fn ask(
        &self,
        token: &str,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut more = format!(
            "Content-Length: {}\r\nContent-Type: application/json\r\n",
            body.len()
        );
        for (name, value) in headers {
            more += &format!("{name}: {value}\r\n");
        }
        let lines = lines(method, path, &more).replace(TOKEN, token);
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(name, stream).await.unwrap();
        stream.write_all((lines + body).as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        answer(bytes)
    }
}
