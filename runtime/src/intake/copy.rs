//! A message of the source as it lies in the stream of the partitions: what it was is kept in one
//! header, so that none of its own headers means anything to the server a second time.

use crate::event::{Headers, Original, reserved};
use async_nats::{HeaderMap, Message};
use serde::{Deserialize, Serialize};

/// What a message was before it was copied.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Was {
    stream: String,
    created: u64,
    sequence: u64,
    subject: String,
    headers: Headers,
}

/// The headers of a copy of `original`.
///
/// # Errors
/// None that a message of a stream can lead to.
pub(super) fn headers(original: &Original) -> Result<HeaderMap, serde_json::Error> {
    let was = Was {
        stream: original.stream.to_string(),
        created: original.stream_created,
        sequence: original.sequence,
        subject: original.subject.clone(),
        headers: original.headers.clone(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(reserved::ORIGINAL, serde_json::to_string(&was)?);
    Ok(headers)
}

/// The message that `copy` is a copy of; none: it is none.
pub(super) fn original(copy: Message) -> Option<Original> {
    let header = copy.headers.as_ref()?.get(reserved::ORIGINAL)?;
    let was: Was = serde_json::from_str(header.as_str()).ok()?;
    Some(Original {
        subject: was.subject,
        headers: was.headers,
        payload: copy.payload,
        stream: was.stream.into(),
        stream_created: was.created,
        sequence: was.sequence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_copy_is_the_original_again(
            subject in "[a-zé.]{1,20}",
            pairs in prop::collection::vec(("[A-Za-z-]{1,8}", "[ -~äß\"]{0,12}"), 0..4),
            payload in prop::collection::vec(any::<u8>(), 0..32),
            sequence: u64,
        ) {
            let original = Original {
                subject,
                headers: Headers(pairs),
                payload: Bytes::from(payload),
                stream: "SRC".into(),
                stream_created: 7,
                sequence,
            };
            let copied = headers(&original).unwrap();
            let line = copied.get(reserved::ORIGINAL).unwrap().as_str();
            prop_assert!(!line.contains(['\r', '\n']));
            let copy = Message {
                subject: "syncline.partitions.p.0".into(),
                reply: None,
                payload: original.payload.clone(),
                headers: Some(copied),
                status: None,
                description: None,
                length: 0,
            };
            prop_assert_eq!(super::original(copy), Some(original));
        }
    }
}
