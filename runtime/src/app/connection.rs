//! The one NATS client.

use super::AppError;
use crate::config::{Auth, JetStreamApi, Nats, without_user};
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use std::time::Duration;
use tracing::{debug, info, warn};

/// Effects that may wait for their acknowledgement at once, over all pipelines.
const ACKS_IN_FLIGHT: usize = 16_384;

/// Connects. Once connected it reconnects for ever, and says so.
///
/// # Errors
/// [`AppError::Unreachable`] naming the servers.
pub async fn connect(nats: &Nats) -> Result<Client, AppError> {
    let urls = nats
        .urls
        .iter()
        .map(|url| without_user(url))
        .collect::<Vec<_>>()
        .join(", ");
    let unreachable = |cause: String| AppError::Unreachable {
        urls: urls.clone(),
        cause,
    };
    let options = authenticated(nats).await.map_err(&unreachable)?;
    encrypted(options, nats)
        .name(&nats.name)
        .connection_timeout(Duration::from_secs(5))
        .event_callback(|event| async move { report(&event) })
        .connect(nats.urls.as_slice())
        .await
        .map_err(|error| unreachable(with_source(&error)))
}

/// JetStream as the configuration reaches it.
#[must_use]
pub fn jetstream(nats: &Nats, client: Client) -> jetstream::Context {
    let builder = ContextBuilder::new().max_ack_inflight(ACKS_IN_FLIGHT);
    match &nats.jetstream {
        JetStreamApi::Default => builder.build(client),
        JetStreamApi::Domain(domain) => builder.domain(domain).build(client),
        JetStreamApi::Prefix(prefix) => builder.api_prefix(prefix).build(client),
    }
}

async fn authenticated(nats: &Nats) -> Result<ConnectOptions, String> {
    let options = ConnectOptions::new();
    Ok(match &nats.auth {
        Auth::None => options,
        Auth::Credentials(path) => options
            .credentials_file(path)
            .await
            .map_err(|error| format!("reading credentials {}: {error}", path.display()))?,
        Auth::Nkey(seed) => options.nkey(seed.expose().to_owned()),
        Auth::User { user, password } => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        Auth::Token(token) => options.token(token.expose().to_owned()),
    })
}

fn encrypted(mut options: ConnectOptions, nats: &Nats) -> ConnectOptions {
    if let Some(ca) = &nats.tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = nats.tls.cert.clone().zip(nats.tls.key.clone()) {
        options = options.add_client_certificate(cert, key);
    }
    options.require_tls(nats.tls.required)
}

fn report(event: &Event) {
    match event {
        Event::Connected => info!("connected to NATS"),
        Event::Disconnected => warn!("disconnected from NATS, reconnecting for ever"),
        Event::LameDuckMode => warn!("the NATS server is shutting down, moving to another"),
        Event::Draining | Event::Closed => debug!(%event, "NATS connection"),
        other => warn!(event = %other, "NATS connection"),
    }
}

/// An error and its source, unless it quotes that already.
fn with_source(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(source) if !text.contains(&source) => format!("{text}: {source}"),
        _ => text,
    }
}
