//! Where it is measured: a NATS server with file streams, and a folder for what lies around.

use super::super::connection;
use super::super::failure::Failure;
use super::super::server::{self, Address, Server};
use async_nats::Client;
use async_nats::jetstream::{self, Context};
use std::net::TcpListener;
use std::path::Path;
use syncline::config::Nats;
use tempfile::TempDir;

/// The server at `url`, and the folder.
pub(super) struct Place {
    pub(super) url: String,
    client: Client,
    server: Option<Server>,
    folder: TempDir,
}

impl Place {
    /// The server at `url`, or one of our own on a free port of this machine.
    ///
    /// # Errors
    /// When none answers and none can be started.
    pub(super) async fn open(url: Option<&str>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-bench-")
            .tempdir()
            .map_err(|error| Failure::new("cannot make a temporary folder").because(error))?;
        let (url, server) = match url {
            Some(url) => (url.to_owned(), None),
            None => {
                let (url, server) = start(&folder.path().join("nats")).await?;
                (url, Some(server))
            }
        };
        let client = connect(&url).await?;
        Ok(Self {
            url,
            client,
            server,
            folder,
        })
    }

    /// A folder that is gone when the place is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// JetStream, for making streams and for asking about them.
    pub(super) fn jetstream(&self) -> Context {
        jetstream::new(self.client.clone())
    }

    /// The server's version.
    pub(super) fn version(&self) -> String {
        self.client.server_info().version
    }

    /// Ends the server if it is our own.
    pub(super) async fn close(self) {
        if let Some(server) = self.server {
            server.end().await;
        }
    }
}

/// A connection of its own, so that the sides share nothing but the server.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    let urls = vec![url.to_owned()];
    connection::connect(&Nats {
        urls,
        ..Nats::default()
    })
    .await
}

async fn start(store: &Path) -> anyhow::Result<(String, Server)> {
    let program = server::find(None)?;
    // The port is free again when the listener is dropped, and nobody else asks for it so soon.
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let free = free.map_err(|error| Failure::new("cannot find a free port").because(error))?;
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port: free.port(),
    };
    let server = Server::start(program, &address, store).await?;
    Ok((format!("nats://{address}"), server))
}
