//! Bodies, read whole: up to a limit, or not at all.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use std::fmt::Display;
use std::pin::pin;

/// What is sent.
pub(super) type Body = Full<Bytes>;

/// Why a body is not whole.
pub(super) enum Fault {
    /// It is longer than it may be.
    TooLong,
    /// It ended before its end.
    Cut(String),
}

/// A whole body. What says of itself that it is too long is not read.
pub(super) async fn whole<B>(body: B, longest: u64) -> Result<Bytes, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    if body.size_hint().lower() > longest {
        return Err(Fault::TooLong);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::Cut(error.to_string()))?;
        // Trailers are nothing that anybody asked for.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let length = u64::try_from(read.len() + piece.len()).unwrap_or(u64::MAX);
        if length > longest {
            return Err(Fault::TooLong);
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.freeze())
}
