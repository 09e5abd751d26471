//! The entities of a kind, page after page.

use super::answer::Entities;
use super::mask::Mask;
use super::path::UNNAMED;
use super::problem::{Problem, Trouble};
use super::reply::{self, Reply};
use crate::target::{LARGEST_PAGE, Listed, Page, Position, ReadError, Wanted};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// How many entities a page has where nothing is said.
const USUAL: usize = 100;

/// What of a list is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What the keys begin with.
    prefix: String,
    cursor: Option<Position>,
    limit: Option<usize>,
    mask: Option<Mask>,
}

#[derive(Serialize)]
struct Told<'a> {
    entities: Vec<One<'a>>,
    /// Where the next page begins; none: there is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct One<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// None: it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Box<RawValue>>,
}

impl Asked {
    /// What the query of a URL asks for. What is not known is refused: a slip of the pen would tell more than was
    /// asked for.
    pub(super) fn of_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut asked = Self::default();
        let mut seen = Vec::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(bad(format!("`{name}` is there twice")));
            }
            seen.push(name);
            match name {
                "prefix" => asked.prefix = decoded(name, value)?,
                "cursor" => asked.cursor = Some(Position::new(decoded(name, value)?)),
                "limit" => asked.limit = Some(read_limit(value)?),
                "fields" => asked.mask = Some(Mask::read(value)?),
                _ => {
                    return Err(bad(
                        "the parameters are `prefix`, `limit`, `cursor` and `fields`",
                    ));
                }
            }
        }
        Ok(asked)
    }
}

fn decoded(name: &str, value: &str) -> Result<String, Problem> {
    let text = percent_decode_str(value).decode_utf8();
    let text = text.map_err(|_| bad(format!("`{name}` holds something that is not UTF-8")))?;
    Ok(text.into_owned())
}

fn read_limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        .ok_or_else(|| bad(format!("`limit` is a number from 1 to {LARGEST_PAGE}")))
}

fn bad(fault: impl Into<String>) -> Problem {
    Problem::new(Trouble::BadRequest, fault)
}

impl Entities<'_> {
    /// A page of the entities.
    pub(super) async fn list(&self, asked: &Asked, path: &str) -> Result<Reply, Problem> {
        let wanted = Wanted {
            entity: self.place.entity.as_deref(),
            prefix: &asked.prefix,
            after: asked.cursor.as_ref(),
            limit: asked.limit.unwrap_or(USUAL),
        };
        let target = &self.place.target;
        let mut page = self.source.list(target, wanted).await.map_err(|error| {
            let kind = self.place.entity.as_deref().unwrap_or(UNNAMED);
            let fault = format!("target `{target}`, entity `{kind}`: {error}");
            match error {
                ReadError::Invalid(_) => Problem::new(Trouble::NotReadable, fault),
                ReadError::Unavailable(_) => Problem::new(Trouble::Unavailable, fault),
            }
        })?;
        if self.adapted.is_some() {
            for listed in &mut page.entities {
                let shown = self.shown(&listed.key, listed.found.clone()).await?;
                listed.found = shown;
            }
        }
        self.told(&page, asked, path)
    }

    fn told(&self, page: &Page, asked: &Asked, path: &str) -> Result<Reply, Problem> {
        let told = Told {
            entities: page
                .entities
                .iter()
                .map(|listed| self.one_of_list(listed, asked.mask.as_ref()))
                .collect(),
            next: page.next.as_ref().map(Position::as_str),
        };
        let body = serde_json::to_vec(&told).map_err(|error| {
            let fault = format!("the answer cannot be written: {error}");
            Problem::new(Trouble::NoFields, fault)
        })?;
        let mut reply = reply::of(StatusCode::OK, "application/json", body.into());
        let link = page.next.as_ref().map(|next| link(asked, path, next));
        if let Some(Ok(link)) = link {
            reply.headers_mut().insert(header::LINK, link);
        }
        Ok(reply)
    }

    fn one_of_list<'a>(&self, listed: &'a Listed, mask: Option<&Mask>) -> One<'a> {
        let found = &listed.found;
        let etag = self.etag(found);
        let entity = match mask {
            Some(mask) => serde_json::from_slice(&found.data)
                .and_then(|value| to_raw_value(&mask.apply(&value))),
            // As the target holds it: digits of large numbers are not lost on the way.
            None => serde_json::from_slice(&found.data),
        };
        One {
            key: &listed.key,
            etag: etag.and_then(|etag| etag.to_str().ok().map(str::to_owned)),
            entity: entity.ok(),
        }
    }
}

/// Where the next page is (RFC 8288).
fn link(
    asked: &Asked,
    path: &str,
    next: &Position,
) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let limit = asked.limit.unwrap_or(USUAL);
    let prefix = match asked.prefix.as_str() {
        "" => String::new(),
        prefix => format!("&prefix={}", text(prefix)),
    };
    let cursor = text(next.as_str());
    HeaderValue::try_from(format!(
        "<{path}?limit={limit}{prefix}&cursor={cursor}>; rel=\"next\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_of_the_list() {
        let asked = Asked::of_query(Some("prefix=a%2Fb&limit=7&cursor=x-1&fields=id")).unwrap();
        assert_eq!((asked.prefix.as_str(), asked.limit), ("a/b", Some(7)));
        assert_eq!(asked.cursor, Some(Position::new("x-1")));
        assert!(asked.mask.is_some());
        assert_eq!(Asked::of_query(None).unwrap().limit, None);
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=",
            "prefix=%ff",
            "page=2",
            "limit=1&limit=2",
            "fields=",
        ] {
            let fault = Asked::of_query(Some(wrong)).unwrap_err();
            assert_eq!(fault.trouble, Trouble::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn the_next_page_is_of_the_same_list() {
        let asked = Asked::of_query(Some("prefix=a%26b&limit=7")).unwrap();
        let link = link(&asked, "/v2/crm/customer", &Position::new("9")).unwrap();
        let expected = "</v2/crm/customer?limit=7&prefix=a%26b&cursor=9>; rel=\"next\"";
        assert_eq!(link, expected);
    }
}
