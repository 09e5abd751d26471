//! `POST /v1/transactions`: changes of several entities, of any targets, of which all are made or none.

use super::answer::{self, Desk, Entities};
use super::body;
use super::change::{self, Done};
use super::condition::Conditions;
use super::config::Bearer;
use super::path::Place;
use super::problem::{Problem, Trouble};
use super::reply::Reply;
use crate::change::{Asked, Edit, Name};
use crate::contract::Verb;
use crate::event::{Effect, Operation};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use hyper::body::Body;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::error::Error;

/// How many changes one transaction makes.
pub(super) const MOST: usize = 100;
/// How many entities are looked at at a time.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    #[serde(borrow)]
    effects: Vec<One<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One<'a> {
    target: String,
    version: u32,
    /// None: what effects change that name no kind.
    entity: Option<String>,
    operation: Operation,
    #[serde(default)]
    key: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    if_match: Option<String>,
    if_none_match: Option<String>,
}

/// One of the changes, and where it is made.
struct Step<'a> {
    entities: Entities<'a>,
    effect: Effect,
    conditions: Conditions,
}

impl Desk {
    /// Makes changes, all or none, unless that was done before under the name that the request has.
    pub(super) async fn transact<B>(
        &self,
        bearer: &Bearer,
        parts: &Parts,
        body: B,
    ) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let body = body::read(&parts.headers, body, body::JSON).await?;
        let wanted: Wanted<'_> = serde_json::from_slice(&body).map_err(|error| {
            let fault = format!("the request is no transaction: {error}");
            Problem::new(Trouble::BadRequest, fault)
        })?;
        let n = wanted.effects.len();
        if !(1..=MOST).contains(&n) {
            let fault = format!("the transaction has {n} effects: send 1 to {MOST}");
            return Err(Problem::new(Trouble::BadRequest, fault));
        }
        let places: Vec<_> = wanted.effects.iter().map(One::place).collect();
        let both = wanted.effects.iter().zip(&places).enumerate();
        let steps = both.map(|(n, (one, place))| {
            let step = self.step(bearer, one, place);
            step.map_err(|problem| problem.within(n))
        });
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let name = change::name_of(bearer, parts, &body)?;
        if let Some(done) = self.found(&name).await? {
            return Ok(told(&steps, done));
        }
        match self.attempt_all(&steps, &name, parts).await {
            Ok(done) => Ok(told(&steps, done)),
            Err(problem) => match self.found(&name).await {
                Ok(Some(done)) => Ok(told(&steps, done)),
                _ => Err(problem),
            },
        }
    }

    fn step<'a>(
        &'a self,
        bearer: &Bearer,
        one: &One<'_>,
        place: &'a Place,
    ) -> Result<Step<'a>, Problem> {
        let entities = self.find(bearer, place, Verb::of(one.operation))?;
        let bad = |fault: &str| Err(Problem::new(Trouble::BadRequest, fault));
        match (one.operation, one.payload) {
            (Operation::Delete, Some(_)) => return bad("`delete` takes no `payload`"),
            (Operation::Delete, None) | (_, Some(_)) => {}
            (_, None) => return bad("`payload` is missing"),
        }
        if one.key.is_empty() && one.operation != Operation::Append {
            return bad("`key` is missing");
        }
        let payload = one.payload.map_or("", RawValue::get).as_bytes();
        let payload = Bytes::copy_from_slice(payload);
        Ok(Step {
            effect: change::effect(&entities, one.operation, (&one.key, payload)),
            conditions: Conditions::named(one.if_match.as_deref(), one.if_none_match.as_deref()),
            entities,
        })
    }

    async fn attempt_all(
        &self,
        steps: &[Step<'_>],
        name: &Name,
        parts: &Parts,
    ) -> Result<Done, Problem> {
        let conditioned = steps.iter().enumerate().map(|(n, step)| {
            let conditioned = step.conditioned();
            conditioned
                .map(move |found| found.map_err(|problem| problem.within(n)))
                .boxed()
        });
        let conditioned: Vec<_> = conditioned.collect();
        let effects = stream::iter(conditioned).buffered(AT_ONCE);
        let effects: Vec<Edit> = effects.try_collect().await?;
        let asked = Asked {
            name: name.clone(),
            effects,
            traceparent: change::traceparent(&parts.headers),
        };
        match change::settled(self.modules.changes.make(asked).await)? {
            true => Ok(Done::Changed),
            false => Ok(Done::Replayed),
        }
    }
}

impl Step<'_> {
    async fn conditioned(&self) -> Result<Edit, Problem> {
        self.entities.check_content(&self.effect)?;
        let effect = self.entities.up(&self.effect).await?;
        let before = self.entities.before(&effect, &self.conditions).await?;
        let effect = self
            .entities
            .conditioned(&effect, &self.conditions, &before)?;
        let target = self.entities.place.target.as_str().into();
        Ok(before.edit(target, effect))
    }
}

impl One<'_> {
    fn place(&self) -> Place {
        Place {
            version: self.version,
            target: self.target.clone(),
            entity: self.entity.clone(),
        }
    }
}

fn told(steps: &[Step<'_>], done: Done) -> Reply {
    let effects = steps.iter().map(|step| {
        json!({
            "target": step.entities.place.target,
            "entity": step.entities.kind,
            "operation": step.effect.operation.as_str(),
            "key": step.effect.key,
        })
    });
    let effects: Vec<_> = effects.collect();
    let mut reply = answer::json(&json!({ "effects": effects }));
    change::mark(&mut reply, done);
    reply
}
