//! What stands in the first line of a record about each of its payloads.

use super::Decided;
use crate::dead_letter::Draft;
use crate::event::{Effect, Headers, Operation, PlannedEffect};
use crate::target::Image;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EffectHead {
    target: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    entity: Option<String>,
    operation: Operation,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "no_headers", default)]
    headers: Headers,
    id: String,
    message_id: Arc<str>,
    pub(super) length: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) image: Option<ImageHead>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageHead {
    etag: String,
    #[serde(skip_serializing_if = "no_headers", default)]
    headers: Headers,
    /// None: there was no entity.
    pub(super) length: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LetterHead {
    id: String,
    message_id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hold: Option<String>,
    pub(super) length: usize,
}

fn no_headers(headers: &Headers) -> bool {
    headers.0.is_empty()
}

impl ImageHead {
    pub(super) fn of(image: &Image) -> Self {
        Self {
            etag: image.etag.clone(),
            headers: image.headers.clone(),
            length: image.data.as_ref().map(Bytes::len),
        }
    }

    pub(super) fn with(&self, data: Option<Bytes>) -> Image {
        Image {
            etag: self.etag.clone(),
            headers: self.headers.clone(),
            data,
        }
    }
}

impl LetterHead {
    pub(super) fn of(draft: &Draft) -> Self {
        Self {
            id: draft.id.clone(),
            message_id: draft.message_id.clone(),
            hold: draft.hold.clone(),
            length: draft.body.len(),
        }
    }

    pub(super) fn with(&self, body: Bytes) -> Draft {
        Draft {
            id: self.id.clone(),
            message_id: self.message_id.clone(),
            hold: self.hold.clone(),
            body,
        }
    }
}

impl EffectHead {
    pub(super) fn of(decided: &Decided) -> Self {
        let PlannedEffect { target, effect, id } = &decided.planned;
        Self {
            target: target.clone(),
            entity: effect.entity.clone(),
            operation: effect.operation,
            key: effect.key.clone(),
            content_type: effect.content_type.clone(),
            headers: effect.headers.clone(),
            id: id.clone(),
            message_id: decided.message_id.clone(),
            length: effect.payload.len(),
            image: decided.image.as_ref().map(ImageHead::of),
        }
    }

    pub(super) fn with(&self, payload: Bytes, image: Option<Image>) -> Decided {
        Decided {
            planned: PlannedEffect {
                target: self.target.clone(),
                effect: Effect {
                    target: None,
                    entity: self.entity.clone(),
                    operation: self.operation,
                    key: self.key.clone(),
                    precondition: None,
                    content_type: self.content_type.clone(),
                    headers: self.headers.clone(),
                    payload,
                },
                id: self.id.clone(),
            },
            message_id: self.message_id.clone(),
            image,
        }
    }
}
