//! The page on which people read the description. It holds nothing of any target: it asks for the description with the
//! token that is entered on it.

use super::answer;
use super::problem::Problem;
use super::reply::{self, Reply};
use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, header};

/// What is served, by path.
const FILES: [(&str, &str, &str); 3] = [
    (
        "/docs",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/docs/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    (
        "/docs/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
];
/// Nothing comes from elsewhere or goes there, and no other page shows this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to a request for the page, which needs no token; none: it is for something else.
pub(super) fn answer(parts: &Parts) -> Option<Reply> {
    let path = parts.uri.path();
    let (_, media_type, text) = FILES.iter().find(|(known, ..)| *known == path)?;
    if let Err(problem) = answer::check_method(parts, &[Method::GET, Method::HEAD], "GET, HEAD") {
        return Some(Problem::into_reply(problem));
    }
    let mut reply = reply::of(
        StatusCode::OK,
        media_type,
        Bytes::from_static(text.as_bytes()),
    );
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        reply
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    Some(reply)
}
