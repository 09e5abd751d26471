//! What goes wrong with a request, as RFC 9457 tells it. The only table of statuses.

use super::reply::{self, Reply};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::json;
use std::time::Duration;

/// Where each type of problem is described, under its name.
const DESCRIBED: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/api.md#");
/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// After how many seconds it makes sense to ask again.
const AGAIN_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A type of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    UnknownTarget,
    UnknownVersion,
    UnknownEntity,
    NoSuchKey,
    MethodNotAllowed,
    OperationNotAllowed,
    TooSlow,
    Conflict,
    PreconditionFailed,
    TooLarge,
    WrongMediaType,
    NotReadable,
    NoFields,
    NotInContract,
    Refused,
    KeyReused,
    PreconditionRequired,
    RateLimited,
    Busy,
    Unavailable,
    UnknownOutcome,
}

use Trouble::{
    BadRequest, Busy, Conflict, Forbidden, KeyReused, MethodNotAllowed, NoFields, NoSuchKey,
    NotFound, NotInContract, NotReadable, OperationNotAllowed, PreconditionFailed,
    PreconditionRequired, RateLimited, Refused, TooLarge, TooSlow, Unauthorized, Unavailable,
    UnknownEntity, UnknownOutcome, UnknownTarget, UnknownVersion, WrongMediaType,
};

/// Each with its status, the name in its `type`, and its title.
pub(super) const ALL: [(Trouble, StatusCode, &str, &str); 25] = [
    (
        BadRequest,
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request cannot be understood",
    ),
    (
        Unauthorized,
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "A token is needed",
    ),
    (
        Forbidden,
        StatusCode::FORBIDDEN,
        "forbidden",
        "The token does not permit this",
    ),
    (
        NotFound,
        StatusCode::NOT_FOUND,
        "not-found",
        "There is nothing at this path",
    ),
    (
        UnknownTarget,
        StatusCode::NOT_FOUND,
        "unknown-target",
        "There is no such target",
    ),
    (
        UnknownVersion,
        StatusCode::NOT_FOUND,
        "unknown-version",
        "The target does not serve this version",
    ),
    (
        UnknownEntity,
        StatusCode::NOT_FOUND,
        "unknown-entity",
        "The contract has no such kind of entity",
    ),
    (
        NoSuchKey,
        StatusCode::NOT_FOUND,
        "no-such-key",
        "There is no entity with this key",
    ),
    (
        MethodNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The method is not served here",
    ),
    (
        OperationNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "operation-not-allowed",
        "The contract does not allow this operation",
    ),
    (
        TooSlow,
        StatusCode::REQUEST_TIMEOUT,
        "too-slow",
        "The request did not come in time",
    ),
    (
        Conflict,
        StatusCode::CONFLICT,
        "conflict",
        "Something else kept changing the entity",
    ),
    (
        PreconditionFailed,
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "The entity is not as the request says",
    ),
    (
        TooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The request is too large",
    ),
    (
        WrongMediaType,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "wrong-media-type",
        "The request has to be JSON",
    ),
    (
        NotReadable,
        StatusCode::UNPROCESSABLE_ENTITY,
        "not-readable",
        "The target cannot read this",
    ),
    (
        NoFields,
        StatusCode::UNPROCESSABLE_ENTITY,
        "no-fields",
        "The entity has no fields",
    ),
    (
        NotInContract,
        StatusCode::UNPROCESSABLE_ENTITY,
        "not-in-contract",
        "The change does not keep to the contract",
    ),
    (
        Refused,
        StatusCode::UNPROCESSABLE_ENTITY,
        "refused",
        "The target does not take the change",
    ),
    (
        KeyReused,
        StatusCode::UNPROCESSABLE_ENTITY,
        "key-reused",
        "The idempotency key was used for something else",
    ),
    (
        PreconditionRequired,
        StatusCode::PRECONDITION_REQUIRED,
        "precondition-required",
        "The change has to say what it rests on",
    ),
    (
        RateLimited,
        StatusCode::TOO_MANY_REQUESTS,
        "rate-limited",
        "The token asks too often",
    ),
    (
        Busy,
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "Too many requests are at work",
    ),
    (
        Unavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The target does not answer",
    ),
    (
        UnknownOutcome,
        StatusCode::GATEWAY_TIMEOUT,
        "unknown-outcome",
        "It is not known yet whether the change is made",
    ),
];

/// A problem with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) trouble: Trouble,
    /// What was attempted, and what to do.
    detail: String,
    /// The methods that are served instead.
    allow: Option<String>,
    /// How long it is until it makes sense to ask again, where that is known.
    wait: Option<Duration>,
}

impl Problem {
    pub(super) fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self {
            trouble,
            detail: detail.into(),
            allow: None,
            wait: None,
        }
    }

    /// The bearer asks too often, and may ask again after `wait`.
    pub(super) fn of_rate(detail: impl Into<String>, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(RateLimited, detail)
        }
    }

    /// The method is none of `allow`.
    pub(super) fn of_method(allow: &str) -> Self {
        Self {
            allow: Some(allow.to_owned()),
            ..Self::new(MethodNotAllowed, format!("use one of: {allow}"))
        }
    }

    /// The contract allows other methods at this path, or none.
    pub(super) fn of_operation(detail: impl Into<String>, allow: String) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(OperationNotAllowed, detail)
        }
    }

    /// The same, of the effect of this number in a transaction.
    pub(super) fn within(self, n: usize) -> Self {
        Self {
            detail: format!("effects[{n}]: {}", self.detail),
            ..self
        }
    }

    /// The same where the client had named no condition.
    pub(super) fn into_conflict(self) -> Self {
        Self {
            trouble: Conflict,
            ..self
        }
    }

    pub(super) fn into_reply(self) -> Reply {
        let (status, name, title) = row(self.trouble);
        let body = json!({
            "type": format!("{DESCRIBED}{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        let mut reply = reply::of(status, MEDIA_TYPE, body.to_string().into());
        let headers = reply.headers_mut();
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_str(&allow);
            headers.insert(header::ALLOW, allow.unwrap_or(HeaderValue::from_static("")));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.wait {
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            let seconds = HeaderValue::from_str(&seconds.to_string());
            headers.insert(header::RETRY_AFTER, seconds.unwrap_or(AGAIN_AFTER));
        }
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&status) {
            headers.insert(header::RETRY_AFTER, AGAIN_AFTER);
        }
        // What of the request was not read must not be taken for the next one.
        if matches!(self.trouble, TooLarge | TooSlow) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

fn row(trouble: Trouble) -> (StatusCode, &'static str, &'static str) {
    let found = ALL.iter().find(|(known, ..)| *known == trouble);
    found.map_or(
        (StatusCode::INTERNAL_SERVER_ERROR, "", ""),
        |(_, status, name, title)| (*status, *name, *title),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `type`s are links into the manual, and do not change.
    #[test]
    fn each_problem_is_in_the_manual_under_its_name() {
        let manual = include_str!("../../../docs/api.md");
        let written: Vec<_> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .collect();
        let names: Vec<_> = ALL.iter().map(|(_, _, name, _)| *name).collect();
        assert_eq!(written, names);
        for (trouble, status, name, _) in ALL {
            assert_eq!(row(trouble).1, name);
            let section = manual.split_once(&format!("### {name}\n\n")).unwrap().1;
            assert!(
                section.starts_with(&format!("{}: ", status.as_u16())),
                "{name}"
            );
        }
    }
}
