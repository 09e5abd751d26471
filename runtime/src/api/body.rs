//! What a request sends along.

use super::problem::{Problem, Trouble};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::{HeaderMap, header};
use std::error::Error;
use std::time::Duration;

/// How many bytes a request may have.
pub(super) const LARGEST: usize = 768 * 1024;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The media types of what is sent: JSON, or a patch of it (RFC 7396).
pub(super) const JSON: &[&str] = &["application/json"];
pub(super) const PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

/// The whole body, which is of one of these types.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, types: &[&str]) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|it| it.to_str().ok());
    let essence = media_type.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim();
    if !types
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
    {
        let advice = format!("send it with Content-Type: {}", types.join(" or "));
        return Err(Problem::new(Trouble::WrongMediaType, advice));
    }
    whole(body).await
}

async fn whole<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = Limited::new(body, LARGEST).collect();
    let body = tokio::time::timeout(PATIENCE, body).await.map_err(|_| {
        let fault = format!("the whole request did not come within {PATIENCE:?}");
        Problem::new(Trouble::TooSlow, fault)
    })?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let fault = format!("the request has more than {LARGEST} bytes: ask for less at once");
            Problem::new(Trouble::TooLarge, fault)
        }
        false => Problem::new(
            Trouble::BadRequest,
            format!("the request breaks off: {error}"),
        ),
    })?;
    Ok(body.to_bytes())
}
