//! From a request to its answer.

use super::access;
use super::batch;
use super::config::Token;
use super::etag;
use super::mask::Mask;
use super::openapi;
use super::path::{self, Path, Place};
use super::problem::{Problem, Trouble};
use super::reply::{self, Reply};
use crate::contract::{Contract, Entity, EtagPolicy, Verb};
use crate::target::{Found, ReadError, Targets};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, header};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::debug;

/// How many requests are answered at a time.
pub(super) const AT_ONCE: usize = 64;

/// The contracts that are served, by target.
pub type Contracts = BTreeMap<String, Arc<Contract>>;

/// Where entities are read.
pub trait Read: Send + Sync {
    /// What target `target` holds.
    fn read<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadError>>;
}

impl Read for Targets {
    fn read<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, ReadError>> {
        async move {
            match self.get(target) {
                Some(target) => target.read(entity, key).await,
                None => Err(ReadError::Invalid(format!("there is no target `{target}`"))),
            }
        }
        .boxed()
    }
}

/// Answers requests, wherever they come from.
pub(super) struct Desk {
    tokens: Vec<Token>,
    contracts: Contracts,
    source: Arc<dyn Read>,
    turns: Semaphore,
}

/// Entities of a kind that may be read.
pub(super) struct Readable<'a> {
    pub(super) place: &'a Place,
    /// As the contract calls it.
    pub(super) kind: &'a str,
    entity: &'a Entity,
    source: &'a dyn Read,
}

impl Desk {
    pub(super) fn new(tokens: Vec<Token>, contracts: Contracts, source: Arc<dyn Read>) -> Self {
        Self {
            tokens,
            contracts,
            source,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let answered = self.attempt(&parts, body).await;
        let reply = answered.unwrap_or_else(Problem::into_reply);
        let (method, path, status) = (&parts.method, parts.uri.path(), reply.status());
        debug!(%method, path, status = status.as_u16(), "answered");
        reply
    }

    async fn attempt<B>(&self, parts: &Parts, body: B) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let token = access::token(&self.tokens, &parts.headers).ok_or_else(|| {
            let advice = "send one that the configuration knows: Authorization: Bearer TOKEN";
            Problem::new(Trouble::Unauthorized, advice)
        })?;
        let _turn = self.turns.try_acquire().map_err(|_| {
            let fault = format!("{AT_ONCE} requests are at work: try again soon");
            Problem::new(Trouble::Busy, fault)
        })?;
        match path::read(parts.uri.path())? {
            Path::Document => {
                check_method(parts, &[Method::GET, Method::HEAD], "GET, HEAD")?;
                let permitted = |target: &str| token.permits(target, Verb::Retrieve);
                let document = openapi::document(&self.contracts, permitted);
                Ok(json(&document))
            }
            Path::One(place, key) => {
                check_method(parts, &[Method::GET, Method::HEAD], "GET, HEAD")?;
                let mask = Mask::of_query(parts.uri.query())?;
                self.find(token, &place)?
                    .one(&key, mask.as_ref(), parts)
                    .await
            }
            Path::Several(place) => {
                check_method(parts, &[Method::POST], "POST")?;
                let mask = Mask::of_query(parts.uri.query())?;
                let readable = self.find(token, &place)?;
                let keys = batch::keys(&parts.headers, body).await?;
                batch::answer(&readable, &keys, mask.as_ref()).await
            }
        }
    }

    /// The entities that a path means, where the token permits and the contract allows reading.
    ///
    /// Whoever may not read a target does not learn whether there is one.
    fn find<'a>(&'a self, token: &Token, place: &'a Place) -> Result<Readable<'a>, Problem> {
        let target = &place.target;
        if !token.permits(target, Verb::Retrieve) {
            let fault = format!(
                "token `{}` has no scope `{target}:retrieve`: add it where the API is configured",
                token.name
            );
            return Err(Problem::new(Trouble::Forbidden, fault));
        }
        let contract = self.contracts.get(target).ok_or_else(|| {
            let fault = format!("no target `{target}` with a contract can be read here");
            Problem::new(Trouble::UnknownTarget, fault)
        })?;
        if contract.version() != place.version {
            let (serves, asked) = (contract.version(), place.version);
            let fault = format!("target `{target}` serves version {serves}, not {asked}");
            return Err(Problem::new(Trouble::UnknownVersion, fault));
        }
        let found = contract.entity(place.entity.as_deref());
        let (kind, entity) = found.map_err(|fault| {
            Problem::new(
                Trouble::UnknownEntity,
                format!("target `{target}`: {fault}"),
            )
        })?;
        if let Some(fault) = entity.forbids(Verb::Retrieve) {
            let fault = format!("target `{target}`: {contract}, entity `{kind}`: {fault}");
            return Err(Problem::of_operation(fault));
        }
        Ok(Readable {
            place,
            kind,
            entity,
            source: &*self.source,
        })
    }
}

impl Readable<'_> {
    /// The entity with this key, as the target holds it.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Found>, Problem> {
        let target = &self.place.target;
        let read = self.source.read(target, self.place.entity.as_deref(), key);
        read.await.map_err(|error| {
            let fault = format!(
                "target `{target}`, entity `{}`, key `{key}`: {error}",
                self.kind
            );
            match error {
                ReadError::Invalid(_) => Problem::new(Trouble::NotReadable, fault),
                ReadError::Unavailable(_) => Problem::new(Trouble::Unavailable, fault),
            }
        })
    }

    /// Its etag, where the contract says that there are any.
    pub(super) fn etag(&self, found: &Found) -> Option<header::HeaderValue> {
        let has_etags = self.entity.etag != EtagPolicy::None;
        has_etags.then(|| etag::header_of(&found.etag)).flatten()
    }

    async fn one(&self, key: &str, mask: Option<&Mask>, parts: &Parts) -> Result<Reply, Problem> {
        let Some(found) = self.read(key).await? else {
            return Err(self.nothing(key));
        };
        let tag = self.etag(&found);
        let mut reply = match (etag::is_known(&parts.headers, tag.as_ref()), mask) {
            (true, _) => reply::not_modified(),
            (false, None) => reply::of(StatusCode::OK, &found.content_type, found.data),
            (false, Some(mask)) => json(&mask.apply(&self.value(key, &found)?)),
        };
        if let Some(tag) = tag {
            reply.headers_mut().insert(header::ETAG, tag);
        }
        Ok(reply)
    }

    /// The entity as JSON.
    pub(super) fn value(&self, key: &str, found: &Found) -> Result<Value, Problem> {
        serde_json::from_slice(&found.data).map_err(|_| self.no_json(key, found))
    }

    pub(super) fn no_json(&self, key: &str, found: &Found) -> Problem {
        let fault = format!(
            "entity `{}`, key `{key}` is no JSON but {}: read it alone and as a whole",
            self.kind, found.content_type
        );
        Problem::new(Trouble::NoFields, fault)
    }

    fn nothing(&self, key: &str) -> Problem {
        let (target, kind) = (&self.place.target, self.kind);
        let elsewhere = match self.place.entity {
            Some(_) => "; what was written without naming its kind is under `_` in its place",
            None => "; what was written with the name of its kind is under that name",
        };
        let fault = format!("target `{target}` has no `{kind}` with key `{key}`{elsewhere}");
        Problem::new(Trouble::NoSuchKey, fault)
    }
}

pub(super) fn json(value: &Value) -> Reply {
    reply::of(StatusCode::OK, "application/json", value.to_string().into())
}

fn check_method(parts: &Parts, served: &[Method], allow: &'static str) -> Result<(), Problem> {
    match served.contains(&parts.method) {
        true => Ok(()),
        false => Err(Problem::of_method(allow)),
    }
}
