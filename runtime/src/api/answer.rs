//! From a request to its answer.

use super::access::{Door, Guest};
use super::batch;
use super::config::Bearer;
use super::etag;
use super::list;
use super::mask::Mask;
use super::openapi;
use super::page;
use super::path::{self, Path, Place};
use super::problem::{Problem, Trouble};
use super::reply::{self, Reply};
use super::uses::Uses;
use crate::change::{Asked, Changed, Name, Relay};
use crate::contract::{Adapted, AdaptedVersions, Contract, Entity, EtagPolicy, Verb};
use crate::target::{Found, Page, ReadError, Targets, Wanted};
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

    /// A part of what target `target` holds.
    fn list<'a>(
        &'a self,
        target: &'a str,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Page, ReadError>>;
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
                None => Err(no_target(target)),
            }
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        target: &'a str,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Page, ReadError>> {
        async move {
            match self.get(target) {
                Some(target) => target.list(&wanted).await,
                None => Err(no_target(target)),
            }
        }
        .boxed()
    }
}

fn no_target(name: &str) -> ReadError {
    ReadError::Invalid(format!("there is no target `{name}`"))
}

/// Makes changes.
pub trait Change: Send + Sync {
    /// What became of a change that was asked for before under this name; none: there was none.
    fn find<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Option<Changed>>;

    /// Makes one, all of it or nothing.
    fn make(&self, asked: Asked) -> BoxFuture<'_, Changed>;
}

impl Change for Relay {
    fn find<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Option<Changed>> {
        Self::find(self, name).boxed()
    }

    fn make(&self, asked: Asked) -> BoxFuture<'_, Changed> {
        Self::make(self, asked).boxed()
    }
}

/// Where nobody may change anything.
pub struct Nobody;

impl Change for Nobody {
    fn find<'a>(&'a self, _name: &'a Name) -> BoxFuture<'a, Option<Changed>> {
        futures::future::ready(None).boxed()
    }

    fn make(&self, _asked: Asked) -> BoxFuture<'_, Changed> {
        let why = "no token permits a change here".to_owned();
        futures::future::ready(Changed::Refused(why)).boxed()
    }
}

/// The modules behind the API.
pub struct Modules {
    /// What they take and give.
    pub contracts: Contracts,
    /// Other versions of these.
    pub adapted: AdaptedVersions,
    /// Where they are read.
    pub source: Arc<dyn Read>,
    /// Who changes them.
    pub changes: Arc<dyn Change>,
}

/// Answers requests, wherever they come from.
pub(super) struct Desk {
    pub(super) door: Door,
    pub(super) modules: Modules,
    pub(super) uses: Arc<Uses>,
    turns: Semaphore,
}

/// Entities of a kind, with which the token permits and the contract allows something.
pub(super) struct Entities<'a> {
    pub(super) place: &'a Place,
    /// As the contract calls it.
    pub(super) kind: &'a str,
    /// In the version that was asked for.
    pub(super) contract: &'a Contract,
    pub(super) entity: &'a Entity,
    /// What the target holds.
    pub(super) own: &'a Contract,
    /// The way there and back; none: it is what was asked for.
    pub(super) adapted: Option<&'a Adapted>,
    pub(super) source: &'a dyn Read,
}

/// What is served at the path of one entity, and at that of all of a kind.
const OF_ONE: &[(Verb, &str)] = &[
    (Verb::Retrieve, "GET, HEAD"),
    (Verb::Upsert, "PUT"),
    (Verb::Merge, "PATCH"),
    (Verb::Delete, "DELETE"),
];
const OF_ALL: &[(Verb, &str)] = &[(Verb::Retrieve, "GET, HEAD"), (Verb::Append, "POST")];

impl Desk {
    pub(super) fn new(door: Door, modules: Modules) -> Self {
        Self {
            door,
            modules,
            uses: Arc::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        if let Some(reply) = page::answer(&parts) {
            return reply;
        }
        match self.door.admit(&parts.headers) {
            Some(guest) => self.answer_to(&guest, &parts, body).await,
            None => {
                let advice = "send one that the configuration knows: Authorization: Bearer TOKEN";
                Problem::new(Trouble::Unauthorized, advice).into_reply()
            }
        }
    }

    /// Answers somebody who was let in.
    pub(super) async fn answer_to<B>(&self, guest: &Guest, parts: &Parts, body: B) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let bearer = &guest.bearer;
        let answered = match guest.take_turn() {
            Ok(()) => self.attempt(bearer, parts, body).await,
            Err(problem) => Err(problem),
        };
        let mut reply = answered.unwrap_or_else(Problem::into_reply);
        self.modules.note_retirement(parts, &mut reply);
        let (method, path, status) = (&parts.method, parts.uri.path(), reply.status());
        debug!(%method, path, status = status.as_u16(), bearer = bearer.name, "answered");
        reply
    }

    async fn attempt<B>(&self, bearer: &Bearer, parts: &Parts, body: B) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let _turn = self.turns.try_acquire().map_err(|_| {
            let fault = format!("{AT_ONCE} requests are at work: try again soon");
            Problem::new(Trouble::Busy, fault)
        })?;
        match path::read(parts.uri.path())? {
            Path::Document => {
                check_method(parts, &[Method::GET, Method::HEAD], "GET, HEAD")?;
                let permitted = |target: &str, verb| bearer.permits(target, verb);
                let document = openapi::document(&self.modules, permitted);
                Ok(json(&document))
            }
            Path::One(place, key) => match of_method(&parts.method) {
                Some(Verb::Retrieve) => {
                    let mask = Mask::of_query(parts.uri.query())?;
                    let entities = self.find(bearer, &place, Verb::Retrieve)?;
                    entities.one(&key, mask.as_ref(), parts).await
                }
                Some(verb) => {
                    let entities = self.find(bearer, &place, verb)?;
                    Box::pin(self.change(bearer, (&entities, verb, &key), parts, body)).await
                }
                None => Err(self.not_served(bearer, &place, OF_ONE)),
            },
            Path::Several(place) => {
                check_method(parts, &[Method::POST], "POST")?;
                let mask = Mask::of_query(parts.uri.query())?;
                let entities = self.find(bearer, &place, Verb::Retrieve)?;
                let keys = batch::keys(&parts.headers, body).await?;
                batch::answer(&entities, &keys, mask.as_ref()).await
            }
            Path::All(place) if parts.method == Method::POST => {
                let entities = self.find(bearer, &place, Verb::Append)?;
                let all = (&entities, Verb::Append, "");
                Box::pin(self.change(bearer, all, parts, body)).await
            }
            Path::All(place) if [Method::GET, Method::HEAD].contains(&parts.method) => {
                let asked = list::Asked::of_query(parts.uri.query())?;
                let entities = self.find(bearer, &place, Verb::Retrieve)?;
                Box::pin(entities.list(&asked, parts.uri.path())).await
            }
            Path::All(place) => Err(self.not_served(bearer, &place, OF_ALL)),
            Path::Transactions => {
                check_method(parts, &[Method::POST], "POST")?;
                Box::pin(self.transact(bearer, parts, body)).await
            }
        }
    }

    /// The entities that a path means, where the token permits and the contract allows `verb`.
    ///
    /// Whoever may do nothing with a target does not learn whether there is one.
    pub(super) fn find<'a>(
        &'a self,
        bearer: &Bearer,
        place: &'a Place,
        verb: Verb,
    ) -> Result<Entities<'a>, Problem> {
        let target = &place.target;
        if !bearer.permits(target, verb) {
            let fault = format!(
                "`{}` has no scope `{target}:{}`: add it where the API is configured, or ask for a \
                 token that has it",
                bearer.name,
                verb.as_str()
            );
            return Err(Problem::new(Trouble::Forbidden, fault));
        }
        let own = self.modules.contracts.get(target).ok_or_else(|| {
            let fault = format!("no target `{target}` with a contract is served here");
            Problem::new(Trouble::UnknownTarget, fault)
        })?;
        let contract = self.modules.version(place).ok_or_else(|| {
            let (serves, asked) = (self.modules.versions(target), place.version);
            let fault = format!("target `{target}` serves version {serves}, not {asked}");
            Problem::new(Trouble::UnknownVersion, fault)
        })?;
        self.uses.note(&bearer.name, target, place.version);
        let found = contract.entity(place.entity.as_deref());
        let (kind, entity) = found.map_err(|fault| {
            Problem::new(
                Trouble::UnknownEntity,
                format!("target `{target}`: {fault}"),
            )
        })?;
        if let Some(fault) = entity.forbids(verb) {
            let fault = format!("target `{target}`: {contract}, entity `{kind}`: {fault}");
            let served = if verb == Verb::Append { OF_ALL } else { OF_ONE };
            let allow = methods_of(entity, served, |verb| bearer.permits(target, verb));
            return Err(Problem::of_operation(fault, allow));
        }
        Ok(Entities {
            place,
            kind,
            contract,
            entity,
            own,
            adapted: self
                .modules
                .adapted
                .get(target, place.version)
                .map(Arc::as_ref),
            source: &*self.modules.source,
        })
    }
}

impl Desk {
    /// The method is none of those that are served at the path of a kind, or of one of its entities.
    fn not_served(&self, bearer: &Bearer, place: &Place, served: &[(Verb, &str)]) -> Problem {
        let contract = self.modules.version(place);
        let entity = contract.and_then(|it| it.entity(place.entity.as_deref()).ok());
        let permitted = |verb| bearer.permits(&place.target, verb);
        match entity {
            Some((_, entity)) => Problem::of_method(&methods_of(entity, served, permitted)),
            None => {
                let all: Vec<_> = served.iter().map(|(_, methods)| *methods).collect();
                Problem::of_method(&all.join(", "))
            }
        }
    }
}

/// What a method does with one entity.
fn of_method(method: &Method) -> Option<Verb> {
    match *method {
        Method::GET | Method::HEAD => Some(Verb::Retrieve),
        Method::PUT => Some(Verb::Upsert),
        Method::PATCH => Some(Verb::Merge),
        Method::DELETE => Some(Verb::Delete),
        _ => None,
    }
}

/// The methods of these that the contract allows, for whoever may do what is permitted.
fn methods_of(
    entity: &Entity,
    served: &[(Verb, &str)],
    permitted: impl Fn(Verb) -> bool,
) -> String {
    let is_allowed = |verb: Verb| entity.operations.contains(&verb) && permitted(verb);
    let allowed = served.iter().filter(|(verb, _)| is_allowed(*verb));
    let names: Vec<_> = allowed.map(|(_, methods)| *methods).collect();
    names.join(", ")
}

impl Entities<'_> {
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
        let found = self.shown(key, found).await?;
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

    pub(super) fn nothing(&self, key: &str) -> Problem {
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

pub(super) fn check_method(
    parts: &Parts,
    served: &[Method],
    allow: &'static str,
) -> Result<(), Problem> {
    match served.contains(&parts.method) {
        true => Ok(()),
        false => Err(Problem::of_method(allow)),
    }
}
