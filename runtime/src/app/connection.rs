//! The one NATS client.

use super::AppError;
use super::permissions::{self, Denials, Notes};
use super::refusal::Refusal;
use crate::config::{Auth, JetStreamApi, Nats, without_user};
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};

/// Effects that may wait for their acknowledgement at once, over all pipelines.
const ACKS_IN_FLIGHT: usize = 16_384;

/// Connects. Once connected it reconnects for ever, and says so.
///
/// # Errors
/// [`AppError::Unreachable`] naming the servers where none answers, [`AppError::Refused`] where one
/// does and we do not come together.
pub async fn connect(nats: &Nats) -> Result<Client, AppError> {
    open(nats).await.map(|(client, _)| client)
}

/// Connects; what the server does not permit is told apart.
pub(super) async fn open(nats: &Nats) -> Result<(Client, Denials), AppError> {
    let (notes, denials) = permissions::notes();
    let notes = Arc::new(notes);
    let connected = encrypted(authenticated(nats).await?, nats)
        .name(&nats.name)
        .connection_timeout(Duration::from_secs(5))
        .event_callback(move |event| {
            let notes = notes.clone();
            async move { report(&event, &notes) }
        })
        .connect(nats.urls.as_slice())
        .await;
    match connected {
        Ok(client) => Ok((client, denials)),
        Err(error) => Err(match Refusal::of(&error, nats) {
            Some(refusal) => refused(nats, refusal),
            None => AppError::Unreachable {
                urls: urls(nats),
                cause: with_source(&error),
            },
        }),
    }
}

fn refused(nats: &Nats, refusal: Refusal) -> AppError {
    let Refusal { fault, key, remedy } = refusal;
    AppError::Refused {
        urls: urls(nats),
        fault,
        key,
        remedy,
    }
}

/// The servers, without users.
pub(super) fn urls(nats: &Nats) -> String {
    let urls = nats.urls.iter().map(|url| without_user(url));
    urls.collect::<Vec<_>>().join(", ")
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

async fn authenticated(nats: &Nats) -> Result<ConnectOptions, AppError> {
    let options = ConnectOptions::new();
    Ok(match &nats.auth {
        Auth::None => options,
        Auth::Credentials(path) => options.credentials_file(path).await.map_err(|error| {
            let fault = format!(
                "the credentials `{}` cannot be used: {error}",
                path.display()
            );
            let remedy = "check `credentials` under [nats]: the file holds a user's JWT and seed";
            refused(nats, Refusal::new("nats.credentials", fault, remedy))
        })?,
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

fn report(event: &Event, notes: &Notes) {
    match event {
        Event::Connected => info!("connected to NATS"),
        Event::Disconnected => warn!("disconnected from NATS, reconnecting for ever"),
        Event::LameDuckMode => warn!("the NATS server is shutting down, moving to another"),
        Event::Draining | Event::Closed => debug!(%event, "NATS connection"),
        other => {
            let said = other.to_string();
            warn!(event = %said, "NATS connection");
            notes.take(&said);
        }
    }
}

/// An error and its source, unless it quotes that already.
pub(super) fn with_source(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(source) if !text.contains(&source) => format!("{text}: {source}"),
        _ => text,
    }
}
