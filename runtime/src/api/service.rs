//! The same verbs over NATS: a micro service, as clients discover and ask it (ADR 32 of NATS).
//!
//! An endpoint is one verb of one kind of entity. What it is asked becomes the request that HTTP would bring, and
//! goes to the same desk.

use super::access::Guest;
use super::answer::Desk;
use super::config;
use super::openapi::segment;
use super::path::{TRANSACTIONS, UNNAMED};
use super::reply::Reply;
use crate::contract::{Contract, Verb};
use crate::event::{KeyAlphabet, escape_key};
use crate::shutdown::{Shutdown, Tasks};
use async_nats::service::endpoint::Endpoint;
use async_nats::service::{self, Request, ServiceExt as _};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::http::request;
use hyper::{Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use tracing::{debug, info, warn};

/// What clients see of it.
const DESCRIPTION: &str = "Entities of target modules, as their contracts describe them";

/// The endpoints of the service, which are not there yet.
pub struct Endpoints {
    pub(super) desk: Arc<Desk>,
    pub(super) settings: config::OverNats,
    pub(super) client: Client,
}

/// What an endpoint does.
#[derive(Debug, Clone)]
struct Does {
    /// How the endpoint is called.
    name: String,
    /// Its subject, behind the prefix.
    subject: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// This verb, with an entity below this path.
    Verb(Verb, String),
    /// A list of those below this path.
    List(String),
    /// Several changes at once.
    Transaction,
}

/// What a request may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Asked<'a> {
    key: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    fields: Option<String>,
    prefix: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
    if_match: Option<String>,
    if_none_match: Option<String>,
}

impl Endpoints {
    /// Serves until the shutdown begins.
    pub async fn serve(self, tasks: Tasks, shutdown: Shutdown) {
        let name = self.settings.name.clone();
        match self.begin(&tasks, &shutdown).await {
            Ok((service, n_endpoints)) => {
                info!(
                    name,
                    prefix = self.settings.prefix,
                    n_endpoints,
                    "the service answers over NATS"
                );
                shutdown.begun().await;
                drop(service.stop().await);
            }
            Err(error) => warn!(name, %error, "the service cannot be offered over NATS"),
        }
    }

    async fn begin(
        &self,
        tasks: &Tasks,
        shutdown: &Shutdown,
    ) -> Result<(service::Service, usize), async_nats::Error> {
        let builder = self.client.service_builder().description(DESCRIPTION);
        let builder = builder.queue_group(&self.settings.name);
        let service = builder
            .start(&self.settings.name, env!("CARGO_PKG_VERSION"))
            .await?;
        let group = service.group(&self.settings.prefix);
        let endpoints = self.endpoints();
        let n_endpoints = endpoints.len();
        // One for all endpoints, as there is one limit for them.
        let guest = Arc::new(Guest::new(self.settings.bearer.clone()));
        for does in endpoints {
            let builder = group.endpoint_builder().name(&does.name);
            let endpoint = builder.add(&does.subject).await?;
            let asked = (self.desk.clone(), guest.clone());
            let answering = answer_all(endpoint, does, asked, tasks.clone());
            let until = shutdown.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = answering => {}
                    () = until.begun() => {}
                }
            });
        }
        Ok((service, n_endpoints))
    }

    /// One for each thing that may be done.
    fn endpoints(&self) -> Vec<Does> {
        let mut endpoints = Vec::new();
        let bearer = &self.settings.bearer;
        let mut may_change = false;
        for (target, contract, _) in self.desk.modules.all() {
            let permits = |verb: &Verb| bearer.permits(target, *verb);
            may_change |= Verb::ALL
                .iter()
                .any(|verb| *verb != Verb::Retrieve && permits(verb));
            let base = format!("v{}.{target}", contract.version());
            for (kind, path) in kinds(target, contract) {
                let Ok((_, entity)) = contract.entity(kind) else {
                    continue;
                };
                let token = kind.map_or(UNNAMED.to_owned(), |kind| {
                    escape_key(kind, KeyAlphabet::Token).into_owned()
                });
                let does = |word: &str, what: What| Does {
                    name: plain(&format!("{word}-{target}-v{}-{token}", contract.version())),
                    subject: format!("{base}.{token}.{word}"),
                    what,
                };
                let verbs = Verb::ALL.iter().filter(|verb| permits(verb));
                for verb in verbs.filter(|verb| entity.forbids(**verb).is_none()) {
                    endpoints.push(does(verb.as_str(), What::Verb(*verb, path.clone())));
                    if *verb == Verb::Retrieve {
                        endpoints.push(does("list", What::List(path.clone())));
                    }
                }
            }
        }
        if may_change {
            endpoints.push(Does {
                name: "transactions".to_owned(),
                subject: "transactions".to_owned(),
                what: What::Transaction,
            });
        }
        endpoints
    }
}

/// The kinds of entity as effects name them, each with its path. One that is called as no kind is has none.
fn kinds<'a>(target: &str, contract: &'a Contract) -> Vec<(Option<&'a str>, String)> {
    let path = |segment: &str| format!("/v{}/{target}/{segment}", contract.version());
    let named = contract.entities().filter(|(kind, _)| *kind != UNNAMED);
    let mut kinds: Vec<_> = named
        .map(|(kind, _)| (Some(kind), path(&segment(kind))))
        .collect();
    if contract.entity(None).is_ok() {
        kinds.push((None, path(UNNAMED)));
    }
    kinds
}

/// As names of endpoints are made.
fn plain(name: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
    name.chars()
        .map(|letter| if is_plain(&letter) { letter } else { '_' })
        .collect()
}

/// Answers what comes to an endpoint; each request by itself, so that a slow one holds no other up.
async fn answer_all(
    mut endpoint: Endpoint,
    does: Does,
    (desk, guest): (Arc<Desk>, Arc<Guest>),
    tasks: Tasks,
) {
    let does = Arc::new(does);
    while let Some(request) = endpoint.next().await {
        let (does, desk, guest) = (does.clone(), desk.clone(), guest.clone());
        tasks.spawn(async move {
            let (answer, headers) = match does.request(&request.message) {
                Ok(asked) => {
                    let (parts, body) = asked.into_parts();
                    told(desk.answer_to(&guest, &parts, body).await).await
                }
                Err(fault) => (Err(failure(400, &fault)), HeaderMap::new()),
            };
            respond(&request, answer, headers).await;
        });
    }
}

async fn respond(
    request: &Request,
    answer: Result<Bytes, service::error::Error>,
    headers: HeaderMap,
) {
    if request.message.reply.is_none() {
        return;
    }
    if let Err(error) = request.respond_with_headers(answer, headers).await {
        debug!(%error, "an answer of the service was not sent");
    }
}

impl Does {
    /// The request that HTTP would bring.
    fn request(
        &self,
        message: &async_nats::Message,
    ) -> Result<hyper::Request<Full<Bytes>>, String> {
        if let What::Transaction = self.what {
            let builder = self.begin(Method::POST, TRANSACTIONS, message);
            return finish(builder, message.payload.clone());
        }
        let asked: Asked<'_> = match message.payload.is_empty() {
            true => Asked::default(),
            false => serde_json::from_slice(&message.payload)
                .map_err(|error| format!("the request is not understood: {error}"))?,
        };
        let (method, path) = match &self.what {
            What::Verb(Verb::Append, path) => (Method::POST, path.clone()),
            What::Verb(verb, path) => (method_of(*verb), format!("{path}/{}", asked.key()?)),
            What::List(path) => (Method::GET, path.clone()),
            What::Transaction => (Method::POST, TRANSACTIONS.to_owned()),
        };
        let mut builder = self.begin(method, &format!("{path}{}", asked.query()), message);
        for (name, value) in [
            (header::IF_MATCH, &asked.if_match),
            (header::IF_NONE_MATCH, &asked.if_none_match),
        ] {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        let payload = asked.payload.map_or("", RawValue::get).as_bytes();
        finish(builder, Bytes::copy_from_slice(payload))
    }

    fn begin(&self, method: Method, uri: &str, message: &async_nats::Message) -> request::Builder {
        let mut builder = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json");
        for name in ["idempotency-key", "traceparent"] {
            let values = message.headers.iter().flat_map(|headers| headers.iter());
            let values = values.filter(|(known, _)| known.to_string().eq_ignore_ascii_case(name));
            for value in values.flat_map(|(_, values)| values) {
                builder = builder.header(name, value.as_str());
            }
        }
        builder
    }
}

fn finish(builder: request::Builder, body: Bytes) -> Result<hyper::Request<Full<Bytes>>, String> {
    let request = builder.body(Full::new(body));
    request.map_err(|error| format!("the request is not understood: {error}"))
}

fn method_of(verb: Verb) -> Method {
    match verb {
        Verb::Retrieve => Method::GET,
        Verb::Upsert => Method::PUT,
        Verb::Merge => Method::PATCH,
        Verb::Delete => Method::DELETE,
        Verb::Append => Method::POST,
    }
}

impl Asked<'_> {
    fn key(&self) -> Result<String, String> {
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        let key = key.ok_or("`key` is missing: send {\"key\": \"KEY\"}")?;
        Ok(encoded(key))
    }

    /// The part of a URL that says which fields, or what of a list.
    fn query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let pairs = [
            ("fields", &self.fields),
            ("prefix", &self.prefix),
            ("limit", &limit),
            ("cursor", &self.cursor),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
        let pairs: Vec<_> = pairs.collect();
        match pairs.is_empty() {
            true => String::new(),
            false => format!("?{}", pairs.join("&")),
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An answer as the service gives it.
async fn told(reply: Reply) -> (Result<Bytes, service::error::Error>, HeaderMap) {
    let (parts, body) = reply.into_parts();
    let status = parts.status;
    // What is held in memory cannot fail to be read.
    let body = body
        .collect()
        .await
        .map(|it| it.to_bytes())
        .unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert("Status", status.as_u16().to_string());
    for name in [
        "etag",
        "content-type",
        "idempotent-replayed",
        "retry-after",
        "deprecation",
        "sunset",
    ] {
        if let Some(value) = parts.headers.get(name).and_then(|it| it.to_str().ok()) {
            headers.insert(name, value);
        }
    }
    if status.is_success() || status.as_u16() == 304 {
        return (Ok(body), headers);
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| {
        problem
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    headers.insert("Problem-Type", text("type"));
    (Err(failure(status.as_u16(), text("detail"))), headers)
}

fn failure(code: u16, fault: &str) -> service::error::Error {
    service::error::Error {
        status: fault.replace(['\r', '\n'], " "),
        code: code.into(),
    }
}
