//! `If-Match` and `If-None-Match` of a change (RFC 9110, section 13.1).

use super::etag;
use super::problem::{Problem, Trouble};
use crate::event::Precondition;
use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

/// What a change says must hold of its entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// One of these versions is there.
    matches: Option<Tags>,
    /// None of these is.
    none_match: Option<Tags>,
}

/// The versions that a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`.
    Any,
    These(Vec<String>),
}

impl Conditions {
    /// Those of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let of = |name: HeaderName| {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            let texts = values.iter().filter_map(|value| value.to_str().ok());
            let tags: Vec<_> = texts.flat_map(etag::tags).map(str::to_owned).collect();
            (!values.is_empty()).then(|| Tags::of(tags))
        };
        Self {
            matches: of(header::IF_MATCH),
            none_match: of(header::IF_NONE_MATCH),
        }
    }

    /// Those that a member of a transaction names, as headers would.
    pub(super) fn named(matches: Option<&str>, none_match: Option<&str>) -> Self {
        let of = |text: &str| Tags::of(etag::tags(text).into_iter().map(str::to_owned).collect());
        Self {
            matches: matches.map(of),
            none_match: none_match.map(of),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What has to hold when the change is made, so that they do: `current` is the etag of the entity that is there
    /// now.
    pub(super) fn precondition(
        &self,
        current: Option<&str>,
    ) -> Result<Option<Precondition>, Problem> {
        let exact = |current: &str| Precondition::Etag(current.to_owned());
        let mut precondition = match (&self.matches, current) {
            (None, _) => None,
            (Some(Tags::Any), Some(_)) => Some(Precondition::Present),
            (Some(Tags::These(tags)), Some(current)) if is_one_of(current, tags, strongly) => {
                Some(exact(current))
            }
            (Some(_), Some(_)) => return Err(failed("it is another version")),
            (Some(_), None) => return Err(failed("there is none")),
        };
        match (&self.none_match, current) {
            (None, _) => {}
            (Some(_), None) => precondition = Some(Precondition::Absent),
            (Some(Tags::Any), Some(_)) => return Err(failed("there is one")),
            (Some(Tags::These(tags)), Some(current)) => {
                if is_one_of(current, tags, weakly) {
                    return Err(failed("it is that version"));
                }
                precondition = Some(exact(current));
            }
        }
        Ok(precondition)
    }
}

impl Tags {
    fn of(tags: Vec<String>) -> Self {
        match tags.as_slice() {
            [any] if any == "*" => Self::Any,
            _ => Self::These(tags),
        }
    }
}

fn is_one_of(current: &str, tags: &[String], same: fn(&str, &str) -> bool) -> bool {
    let Some(current) = etag::header_of(current) else {
        return false;
    };
    let current = current.to_str().unwrap_or_default();
    tags.iter().any(|tag| same(tag, current))
}

fn strongly(one: &str, other: &str) -> bool {
    one == other && !one.starts_with("W/")
}

fn weakly(one: &str, other: &str) -> bool {
    etag::opaque(one) == etag::opaque(other)
}

fn failed(found: &str) -> Problem {
    let fault = format!(
        "{found}, so that If-Match or If-None-Match does not hold: read the entity again and \
         decide anew"
    );
    Problem::new(Trouble::PreconditionFailed, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        matches: Option<&str>,
        none_match: Option<&str>,
        current: Option<&str>,
    ) -> Result<Option<Precondition>, Trouble> {
        let conditions = Conditions::named(matches, none_match);
        conditions
            .precondition(current)
            .map_err(|problem| problem.trouble)
    }

    #[test]
    fn conditions_become_what_has_to_hold_when_the_change_is_made() {
        let failed = Err(Trouble::PreconditionFailed);
        let etag = |etag: &str| Ok(Some(Precondition::Etag(etag.to_owned())));
        for (matches, none_match, current, expected) in [
            (None, None, Some("7"), Ok(None)),
            (None, None, None, Ok(None)),
            (Some("*"), None, Some("7"), Ok(Some(Precondition::Present))),
            (Some("*"), None, None, failed.clone()),
            (Some("\"7\""), None, Some("7"), etag("7")),
            (Some("\"6\", \"7\""), None, Some("7"), etag("7")),
            (Some("\"6\""), None, Some("7"), failed.clone()),
            (Some("\"7\""), None, None, failed.clone()),
            (Some("W/\"7\""), None, Some("W/\"7\""), failed.clone()),
            (Some("7"), None, Some("7"), failed.clone()),
            (Some(""), None, Some("7"), failed.clone()),
            (None, Some("*"), None, Ok(Some(Precondition::Absent))),
            (None, Some("*"), Some("7"), failed.clone()),
            (None, Some("\"7\""), Some("7"), failed.clone()),
            (None, Some("W/\"7\""), Some("7"), failed.clone()),
            (None, Some("\"6\""), Some("7"), etag("7")),
            (None, Some("\"6\""), None, Ok(Some(Precondition::Absent))),
            (Some("\"7\""), Some("\"6\""), Some("7"), etag("7")),
            (Some("\"7\""), Some("*"), Some("7"), failed.clone()),
        ] {
            let given = format!("{matches:?} {none_match:?} {current:?}");
            assert_eq!(told(matches, none_match, current), expected, "{given}");
        }
    }

    #[test]
    fn a_condition_that_is_no_text_never_holds() {
        let mut headers = HeaderMap::new();
        let odd = hyper::header::HeaderValue::from_bytes(b"\"\xff\"").unwrap();
        headers.insert(header::IF_MATCH, odd);
        let conditions = Conditions::of(&headers);
        assert!(!conditions.is_empty());
        assert!(conditions.precondition(Some("7")).is_err());
    }
}
