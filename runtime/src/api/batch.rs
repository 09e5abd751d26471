//! Several entities of a kind in one request.

use super::answer::Entities;
use super::body;
use super::mask::Mask;
use super::problem::{Problem, Trouble};
use super::reply::{self, Reply};
use crate::target::Found;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use hyper::body::Body;
use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::error::Error;

/// How many entities may be asked for.
pub(super) const MOST: usize = 100;
/// How many bytes of entities an answer may hold.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
/// How many entities are read at a time.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Told<'a> {
    entities: Vec<One<'a>>,
    missing: Vec<&'a str>,
}

#[derive(Serialize)]
struct One<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    entity: Box<RawValue>,
}

/// A key, and what was found there.
type Read<'a> = (&'a str, Option<Found>);

/// The keys that a request asks for.
pub(super) async fn keys<B>(headers: &HeaderMap, body: B) -> Result<Vec<String>, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = body::read(headers, body, body::JSON).await?;
    let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
        let fault = format!("the request is not of the form {{\"keys\": [\"KEY\"]}}: {error}");
        Problem::new(Trouble::BadRequest, fault)
    })?;
    if asked.keys.iter().any(String::is_empty) {
        let fault = "the request names an empty key: no entity has one";
        return Err(Problem::new(Trouble::BadRequest, fault));
    }
    match asked.keys.len() {
        1..=MOST => Ok(asked.keys),
        n => {
            let fault = format!("the request names {n} keys: ask for 1 to {MOST}");
            Err(Problem::new(Trouble::BadRequest, fault))
        }
    }
}

fn read<'a>(entities: &'a Entities<'_>, key: &'a str) -> BoxFuture<'a, Result<Read<'a>, Problem>> {
    let read = async move {
        let found = match entities.read(key).await? {
            Some(found) => Some(entities.shown(key, found).await?),
            None => None,
        };
        Ok((key, found))
    };
    read.boxed()
}

/// What of these there is, in the order in which it was asked for.
pub(super) async fn answer(
    entities: &Entities<'_>,
    keys: &[String],
    mask: Option<&Mask>,
) -> Result<Reply, Problem> {
    let mut told = Told {
        entities: Vec::new(),
        missing: Vec::new(),
    };
    let reads: Vec<_> = keys.iter().map(|key| read(entities, key)).collect();
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    let mut n_bytes = 0;
    while let Some((key, found)) = reads.try_next().await? {
        let Some(found) = found else {
            told.missing.push(key);
            continue;
        };
        n_bytes += found.data.len();
        if n_bytes > LARGEST_ANSWER {
            let fault =
                format!("the entities have more than {LARGEST_ANSWER} bytes: ask for fewer");
            return Err(Problem::new(Trouble::TooLarge, fault));
        }
        let etag = entities.etag(&found);
        let entity = match mask {
            Some(mask) => to_raw_value(&mask.apply(&entities.value(key, &found)?)),
            // As the target holds it: digits of large numbers are not lost on the way.
            None => serde_json::from_slice(&found.data),
        };
        told.entities.push(One {
            key,
            etag: etag.and_then(|etag| etag.to_str().ok().map(str::to_owned)),
            entity: entity.map_err(|_| entities.no_json(key, &found))?,
        });
    }
    let body = serde_json::to_vec(&told).map_err(|error| {
        Problem::new(
            Trouble::NoFields,
            format!("the answer cannot be written: {error}"),
        )
    })?;
    Ok(reply::of(StatusCode::OK, "application/json", body.into()))
}
