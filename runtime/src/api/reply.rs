//! What is sent back.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer to a request.
pub(super) type Reply = Response<Full<Bytes>>;

/// An answer. What it holds is for whoever asked, and is what its type says and nothing else.
pub(super) fn of(status: StatusCode, media_type: &str, body: Bytes) -> Reply {
    let length = body.len();
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    let media_type = HeaderValue::from_str(media_type).unwrap_or(octets);
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_LENGTH, length.into());
    let private = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, private);
    let as_is = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, as_is);
    reply
}

/// An answer that says nothing but how it went.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = of(status, "", Bytes::new());
    reply.headers_mut().remove(header::CONTENT_TYPE);
    if status == StatusCode::NO_CONTENT {
        reply.headers_mut().remove(header::CONTENT_LENGTH);
    }
    reply
}

/// The asker has it already.
pub(super) fn not_modified() -> Reply {
    let mut reply = of(StatusCode::NOT_MODIFIED, "", Bytes::new());
    reply.headers_mut().remove(header::CONTENT_TYPE);
    reply.headers_mut().remove(header::CONTENT_LENGTH);
    reply
}
