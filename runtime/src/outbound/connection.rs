//! A connection to an address that was looked at, and one request over it.

use super::answer::{self, Body};
use super::grant::Grant;
use super::origin::{Host, Origin};
use super::refusal::Refusal;
use super::resolver::Resolver;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one of several addresses is tried.
const TRY: Duration = Duration::from_secs(2);
/// The longest head of an answer.
const LONGEST_HEAD: usize = 32 * 1024;

/// Bytes to and from a host.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Http = http1::Connection<TokioIo<Box<dyn Wire>>, Body>;

/// A connection that takes one request after the other.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// Moves on only while somebody waits for an answer: it has no task of its own.
    http: Http,
}

/// Why a request over a connection failed.
pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// Whether the connection was closed before anything of an answer came.
    pub(super) was_closed: bool,
}

impl Connection {
    /// Resolves the host, and connects to the first of its addresses that may be reached and answers.
    /// What was looked at is what is connected to: the name is not resolved again.
    pub(super) async fn open(
        origin: &Origin,
        grant: &Grant,
        tls: Option<&Arc<ClientConfig>>,
        resolver: &Resolver,
    ) -> Result<Self, Refusal> {
        let addresses = permitted(origin, grant, resolver).await?;
        let tcp = connect(origin, &addresses).await?;
        let wire: Box<dyn Wire> = match (origin.is_encrypted, tls) {
            (false, _) => Box::new(tcp),
            (true, Some(tls)) => Box::new(encrypt(origin, tls, tcp).await?),
            (true, None) => {
                let why = format!("{origin}: there is nothing to encrypt with");
                return Err(Refusal::Encryption(why));
            }
        };
        let opened = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(TokioIo::new(wire))
            .await;
        let (sender, http) = opened.map_err(|error| protocol(origin, &error))?;
        Ok(Self { sender, http })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn ask(
        &mut self,
        origin: &Origin,
        request: http::Request<Body>,
        longest: u64,
    ) -> Result<http::Response<bytes::Bytes>, Failure> {
        let failed = |error: &hyper::Error| Failure {
            refusal: protocol(origin, error),
            was_closed: error.is_canceled() || error.is_incomplete_message(),
        };
        let Self { sender, http } = self;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
            let (head, body) = response.into_parts();
            let body = answer::whole(body, longest).await;
            let body = body.map_err(|fault| Failure {
                refusal: match fault {
                    answer::Fault::TooLong => Refusal::AnswerSize(longest),
                    answer::Fault::Cut(why) => {
                        Refusal::Protocol(format!("the answer of {origin} was cut: {why}"))
                    }
                },
                was_closed: false,
            })?;
            Ok(http::Response::from_parts(head, body))
        };
        along(http, asked).await
    }

    /// Whether it can take another request.
    pub(super) async fn is_open(&mut self) -> bool {
        // What has come meanwhile is looked at: a connection that was closed says so now.
        let ended = futures::poll!(&mut self.http).is_ready();
        !ended && self.sender.is_ready()
    }
}

/// The addresses of the host that may be reached.
async fn permitted(
    origin: &Origin,
    grant: &Grant,
    resolver: &Resolver,
) -> Result<Vec<IpAddr>, Refusal> {
    let found = match &origin.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolver.resolve(name).await.map_err(|error| {
            Refusal::Name(format!("the name `{name}` is not resolved: {error}"))
        })?,
    };
    if found.is_empty() {
        return Err(Refusal::Name(format!("{origin} has no address")));
    }
    let (good, bad): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| grant.permits(origin, *address));
    match (good.is_empty(), bad.first()) {
        (true, Some(address)) => Err(Refusal::Address(format!(
            "{origin} is at {address}, which is not of the public internet: where that is meant, \
             name its network in `networks` of this host, or grant the address itself"
        ))),
        _ => Ok(good),
    }
}

async fn connect(origin: &Origin, addresses: &[IpAddr]) -> Result<TcpStream, Refusal> {
    let mut last = String::new();
    for address in addresses {
        let address = SocketAddr::new(*address, origin.port);
        let connected = tokio::time::timeout(TRY, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(tcp)) => {
                // Only a matter of speed.
                let _set = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {TRY:?}"),
        }
    }
    let why = format!("no connection to {origin}: {last}");
    Err(Refusal::Connect(why))
}

async fn encrypt(
    origin: &Origin,
    tls: &Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<impl Wire + use<>, Refusal> {
    let fault = |why: String| Refusal::Encryption(format!("no TLS with {origin}: {why}"));
    let name = match &origin.host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| fault("a certificate cannot name it".to_owned()))?,
    };
    let connector = TlsConnector::from(tls.clone());
    let connected = connector.connect(name, tcp).await;
    connected.map_err(|error| fault(error.to_string()))
}

/// Does `work`, and moves the connection on meanwhile.
async fn along<T>(http: &mut Http, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut has_ended = false;
    poll_fn(|context| {
        // How it ended is told to whoever waits for the answer.
        has_ended = has_ended || Pin::new(&mut *http).poll(context).is_ready();
        match work.as_mut().poll(context) {
            Poll::Pending if !has_ended => {
                // What the work has asked for just now is sent at once.
                has_ended = Pin::new(&mut *http).poll(context).is_ready();
                Poll::Pending
            }
            polled => polled,
        }
    })
    .await
}

fn protocol(origin: &Origin, error: &hyper::Error) -> Refusal {
    let mut text = format!("no answer of {origin}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Refusal::Protocol(text)
}

#[cfg(test)]
#[path = "encryption_tests.rs"]
mod tests;
