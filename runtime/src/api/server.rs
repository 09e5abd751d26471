//! The network: who is listened to, for how long, and how it ends.

use super::access::Door;
use super::answer::{Desk, Modules};
use super::config::{self, Config};
use super::files::{FileError, Files};
use super::service::Endpoints;
use super::uses::Uses;
use crate::shutdown::{Shutdown, Tasks};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

/// How many connections there are at a time; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How many bytes the head of a request may have.
const HEAD: usize = 16 * 1024;
/// How many headers.
const HEADERS: usize = 64;
/// How long a head may take to come, and a handshake before it, and how long a connection may lie idle.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// After how long a connection is closed behind the request at work.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long that request may still take.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be used.
    #[error(
        "the API cannot listen at {address}: {cause}: write another address as `api.listen`, or end what \
         listens there"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// A file cannot be used.
    #[error("the API cannot be served: `{}`: {_0}", _0.key)]
    File(#[from] FileError),
}

/// The API, which listens already and answers nobody yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
    files: Files,
    service: Option<config::OverNats>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where it cannot, and why.
    pub async fn bind(config: Config, modules: Modules) -> Result<Self, BindError> {
        let address = config.listen.address();
        let error = |cause| BindError::Address { address, cause };
        let files = Files::open(&config)?;
        let door = Door::new(config.tokens, files.issuer(config.jwt));
        let listener = TcpListener::bind(address).await.map_err(error)?;
        Ok(Self {
            address: listener.local_addr().map_err(error)?,
            listener,
            desk: Arc::new(Desk::new(door, modules)),
            files,
            service: config.service,
        })
    }

    /// The same over NATS, where that is asked for.
    #[must_use]
    pub fn service(&self, client: &async_nats::Client) -> Option<Endpoints> {
        Some(Endpoints {
            desk: self.desk.clone(),
            settings: self.service.clone()?,
            client: client.clone(),
        })
    }

    /// Who asks for which version of which contract.
    #[must_use]
    pub fn uses(&self) -> Arc<Uses> {
        self.desk.uses.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the shutdown begins. Requests at work then are answered first.
    pub async fn serve(self, tasks: Tasks, shutdown: Shutdown) {
        let is_encrypted = self.files.tls.is_some();
        info!(address = %self.address, is_encrypted, "the API listens");
        tasks.spawn(self.files.clone().follow(shutdown.clone()));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let place = room.clone().acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let accepted = tokio::select! {
                () = shutdown.begun() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let tls = self.files.tls.as_ref().map(|tls| tls.now());
                    let attended =
                        attend((stream, tls), self.desk.clone(), shutdown.clone(), place);
                    tasks.spawn(attended);
                }
                (_, Err(error)) => {
                    warn!(%error, "the API cannot accept a connection");
                    shutdown.pause(PAUSE).await;
                }
                // Nobody closes the semaphore.
                (Err(_), _) => return,
            }
        }
    }
}

/// Answers what comes over one connection, encrypted or not.
async fn attend(
    (stream, tls): (TcpStream, Option<Arc<TlsAcceptor>>),
    desk: Arc<Desk>,
    shutdown: Shutdown,
    _place: OwnedSemaphorePermit,
) {
    // Only a matter of speed: an answer does not wait until the one before is acknowledged.
    let _set = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return converse(stream, desk, shutdown).await;
    };
    let shaken = tokio::select! {
        () = shutdown.begun() => return,
        shaken = tokio::time::timeout(HEAD_TIME, tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Box::pin(converse(stream, desk, shutdown)).await,
        Ok(Err(error)) => debug!(%error, "a connection to the API was not encrypted"),
        Err(_) => debug!("a connection to the API was not encrypted in time"),
    }
}

/// Answers the requests of one connection.
async fn converse<S>(stream: S, desk: Arc<Desk>, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        _ = shutdown.pause(LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the API broke"),
        Err(_) => debug!("a connection to the API was cut"),
    }
}
