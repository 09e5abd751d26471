//! A change of one entity: `PUT`, `PATCH`, `DELETE`, and `POST` of a record.

use super::answer::{Desk, Entities};
use super::body;
use super::condition::Conditions;
use super::config::Bearer;
use super::problem::{Problem, Trouble};
use super::reply::{self, Reply};
use crate::change::{Asked, Changed, Edit, Name};
use crate::contract::{Contract, EtagPolicy, Verb};
use crate::event::{Effect, Headers, Operation, Precondition};
use crate::target::Found;
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;

/// What a client calls its request, so that sending it again changes nothing more.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the request had been carried out before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest of these names.
const LONGEST: usize = 255;

/// What is done with which entity.
type Target<'a> = (&'a Entities<'a>, Verb, &'a str);

/// How an entity was found before a change of it.
pub(super) struct Before {
    /// None: there was none, or it is not known.
    found: Option<Found>,
    is_known: bool,
}

impl Desk {
    /// Changes an entity, unless that was done before under the name that the request has.
    pub(super) async fn change<B>(
        &self,
        bearer: &Bearer,
        (entities, verb, key): Target<'_>,
        parts: &Parts,
        body: B,
    ) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let headers = &parts.headers;
        let payload = match verb {
            Verb::Delete => Bytes::new(),
            Verb::Merge => body::read(headers, body, body::PATCH).await?,
            _ => body::read(headers, body, body::JSON).await?,
        };
        let name = name_of(bearer, parts, &payload)?;
        let effect = effect(entities, operation(verb), (key, payload));
        let shows = bearer.permits(&entities.place.target, Verb::Retrieve);
        let reply = |done| entities.changed(done, &effect, shows);
        if let Some(done) = self.found(&name).await? {
            return reply(done).await;
        }
        match self.attempt_change(entities, &effect, &name, parts).await {
            Ok(done) => reply(done).await,
            // It may have been made by another copy of the request, after which nothing is as that one found it.
            Err(problem) => match self.found(&name).await {
                Ok(Some(done)) => reply(done).await,
                _ => Err(problem),
            },
        }
    }

    async fn attempt_change(
        &self,
        entities: &Entities<'_>,
        effect: &Effect,
        name: &Name,
        parts: &Parts,
    ) -> Result<Done, Problem> {
        let conditions = Conditions::of(&parts.headers);
        entities.check_content(effect)?;
        let effect = &entities.up(effect).await?;
        let before = entities.before(effect, &conditions).await?;
        let effect = entities.conditioned(effect, &conditions, &before)?;
        let target: Arc<str> = entities.place.target.as_str().into();
        let asked = Asked {
            name: name.clone(),
            effects: vec![before.edit(target, effect.clone())],
            traceparent: traceparent(&parts.headers),
        };
        let changed = self.modules.changes.make(asked).await;
        match settled(changed) {
            Ok(false) => Ok(Done::Replayed),
            Ok(true) if before.is_known && before.found.is_none() => Ok(Done::Created),
            Ok(true) => Ok(Done::Changed),
            Err(problem) if problem.trouble != Trouble::PreconditionFailed => Err(problem),
            Err(problem) if !conditions.is_empty() => Err(problem),
            // The client named no condition: what does not hold is that it is there.
            Err(problem) => match entities.read(&effect.key).await? {
                None => Err(entities.nothing(&effect.key)),
                Some(_) => Err(problem.into_conflict()),
            },
        }
    }

    /// Whether the request was carried out before.
    pub(super) async fn found(&self, name: &Name) -> Result<Option<Done>, Problem> {
        match self.modules.changes.find(name).await {
            None => Ok(None),
            Some(changed) => settled(changed).map(|_| Some(Done::Replayed)),
        }
    }
}

/// How a change ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Created,
    Changed,
    Replayed,
}

impl Entities<'_> {
    /// What is there before `effect`, as far as the request needs it.
    pub(super) async fn before(
        &self,
        effect: &Effect,
        conditions: &Conditions,
    ) -> Result<Before, Problem> {
        let is_record = effect.operation == Operation::Append;
        let is_readable = self.entity.forbids(Verb::Retrieve).is_none();
        let is_known = !is_record && (is_readable || !conditions.is_empty());
        let found = match is_known {
            true => self.read(&effect.key).await?,
            false => None,
        };
        Ok(Before { found, is_known })
    }

    /// `effect` on the condition that what the request says of the entity still holds then.
    pub(super) fn conditioned(
        &self,
        effect: &Effect,
        conditions: &Conditions,
        before: &Before,
    ) -> Result<Effect, Problem> {
        let operation = effect.operation;
        let rests_on_it = matches!(operation, Operation::Merge | Operation::Delete);
        if before.is_known && rests_on_it && before.found.is_none() && conditions.is_empty() {
            return Err(self.nothing(&effect.key));
        }
        let etag = before.found.as_ref().map(|found| found.etag.as_str());
        let precondition = match (operation, before.is_known) {
            (Operation::Append, _) => None,
            _ => conditions.precondition(etag)?,
        };
        let is_bare = matches!(precondition, None | Some(Precondition::Present));
        if let (true, Some(why)) = (is_bare, self.entity.needs_precondition(operation)) {
            let fault = format!(
                "target `{}`, entity `{}`: {why}: send If-Match with its ETag, or If-None-Match: *",
                self.place.target, self.kind
            );
            return Err(Problem::new(Trouble::PreconditionRequired, fault));
        }
        // A patch of nothing would be an entity that lacks what nobody has patched.
        let present =
            (operation == Operation::Merge && before.is_known).then_some(Precondition::Present);
        let effect = Effect {
            precondition: precondition.or(present),
            ..effect.clone()
        };
        self.check(self.own, &effect)?;
        Ok(effect)
    }

    /// Whether `effect` would keep to the contract on some condition: what cannot is told before anything is read.
    pub(super) fn check_content(&self, effect: &Effect) -> Result<(), Problem> {
        let precondition = match (effect.operation, self.entity.etag) {
            (Operation::Append, _) => None,
            (Operation::Merge, EtagPolicy::None) => Some(Precondition::Present),
            (Operation::Merge, _) => Some(Precondition::Etag(String::new())),
            (Operation::Upsert | Operation::Delete, _) => Some(Precondition::Absent),
        };
        let effect = Effect {
            precondition,
            ..effect.clone()
        };
        self.check(self.contract, &effect)
    }

    fn check(&self, contract: &Contract, effect: &Effect) -> Result<(), Problem> {
        contract.check(effect).map_err(|violation| {
            let fault = format!("target `{}`: {violation}", self.place.target);
            Problem::new(Trouble::NotInContract, fault)
        })
    }

    /// The answer to a change that holds.
    async fn changed(&self, done: Done, effect: &Effect, shows: bool) -> Result<Reply, Problem> {
        let is_readable = self.entity.forbids(Verb::Retrieve).is_none();
        let is_there = !matches!(effect.operation, Operation::Delete | Operation::Append);
        // It holds, whether the target can be read now or not.
        let now = match is_readable && is_there {
            true => self.read(&effect.key).await.ok().flatten(),
            false => None,
        };
        let now = match now {
            Some(now) => self.shown(&effect.key, now).await.ok(),
            None => None,
        };
        let mut reply = match (effect.operation, now.as_ref()) {
            (Operation::Merge, Some(now)) if shows => {
                reply::of(StatusCode::OK, &now.content_type, now.data.clone())
            }
            (Operation::Upsert, _) if done == Done::Created => reply::empty(StatusCode::CREATED),
            _ => reply::empty(StatusCode::NO_CONTENT),
        };
        // Of an entity that somebody changed since, the etag would say that this client has seen it.
        let is_seen = |now: &&Found| match effect.operation {
            Operation::Merge => shows,
            _ => is_same(&now.data, &effect.payload),
        };
        let tag = now.as_ref().filter(is_seen).and_then(|now| self.etag(now));
        if let Some(tag) = tag {
            reply.headers_mut().insert(header::ETAG, tag);
        }
        mark(&mut reply, done);
        Ok(reply)
    }
}

impl Before {
    /// The change, with what it is known to replace.
    pub(super) fn edit(&self, target: Arc<str>, effect: Effect) -> Edit {
        let is_exact = matches!(effect.precondition, Some(Precondition::Etag(_)));
        let found = self.found.as_ref().filter(|_| is_exact);
        Edit {
            target,
            effect,
            before: found.map(|found| found.data.clone()),
        }
    }
}

/// Says where it was carried out before.
pub(super) fn mark(reply: &mut Reply, done: Done) {
    if done == Done::Replayed {
        let yes = HeaderValue::from_static("true");
        reply.headers_mut().insert(REPLAYED, yes);
    }
}

/// The change that a request asks for.
pub(super) fn effect(
    entities: &Entities<'_>,
    operation: Operation,
    (key, payload): (&str, Bytes),
) -> Effect {
    Effect {
        target: None,
        entity: entities.place.entity.clone(),
        operation,
        key: key.to_owned(),
        precondition: None,
        content_type: (operation != Operation::Delete).then(|| "application/json".to_owned()),
        headers: Headers::default(),
        payload,
    }
}

fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Merge => Operation::Merge,
        Verb::Delete => Operation::Delete,
        Verb::Append => Operation::Append,
        Verb::Upsert | Verb::Retrieve => Operation::Upsert,
    }
}

/// Whether a change was made just now; false: before.
pub(super) fn settled(changed: Changed) -> Result<bool, Problem> {
    let (trouble, fault) = match changed {
        Changed::Done => return Ok(true),
        Changed::Before => return Ok(false),
        Changed::Reused => (
            Trouble::KeyReused,
            "another request was carried out under this Idempotency-Key: give this one another"
                .to_owned(),
        ),
        Changed::Conflict(why) => (
            Trouble::PreconditionFailed,
            format!("{why}: read the entity again and decide anew"),
        ),
        Changed::Refused(why) => (Trouble::Refused, why),
        Changed::NotNow(why) => (
            Trouble::Unavailable,
            format!("nothing was changed, and it may be tried again: {why}"),
        ),
        Changed::Unknown(why) => (
            Trouble::UnknownOutcome,
            format!(
                "{why}: send the request again with the same Idempotency-Key to learn what became of \
                 it; without one, read the entity"
            ),
        ),
    };
    Err(Problem::new(trouble, fault))
}

/// What the request is known by.
pub(super) fn name_of(bearer: &Bearer, parts: &Parts, body: &[u8]) -> Result<Name, Problem> {
    let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, None) = (values.next(), values.next()) else {
        let fault = "the request has several Idempotency-Keys: send one";
        return Err(Problem::new(Trouble::BadRequest, fault));
    };
    let Some(key) = key else {
        return Ok(Name::default());
    };
    let is_plain = |key: &&str| key.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = |key: &&str| (1..=LONGEST).contains(&key.len());
    let key = key.to_str().ok().filter(is_plain).filter(fits);
    let key = key.ok_or_else(|| {
        let fault = format!(
            "the Idempotency-Key is not 1 to {LONGEST} visible ASCII characters: make it, say, a UUID"
        );
        Problem::new(Trouble::BadRequest, fault)
    })?;
    let path = parts.uri.path().as_bytes();
    let request = [parts.method.as_str().as_bytes(), path, body];
    Ok(Name::given(&bearer.name, key, &request))
}

/// The trace that the request belongs to.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    (text.len() <= LONGEST).then(|| text.to_owned())
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}
