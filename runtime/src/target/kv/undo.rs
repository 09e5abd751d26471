//! Entries that are changed on condition, and changed back.

use super::{Change, Current, Kv, broken, new_value};
use crate::event::{Effect, Headers, reserved};
use crate::target::answer::{is_answer, of_publish_to};
use crate::target::undo::{Changed, Image, NoImage, Undone};
use crate::target::{Answer, Cause};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;

/// What an entry says of its cause, and what goes back with it.
const KEPT: [&str; 7] = [
    reserved::EVENT_ID,
    reserved::SOURCE_STREAM,
    reserved::SOURCE_CREATED,
    reserved::SOURCE_SEQUENCE,
    reserved::SOURCE_KEY,
    reserved::CONTENT_TYPE,
    "KV-Operation",
];

impl Kv {
    pub(in crate::target) async fn image(&self, effect: &Effect) -> Result<Image, NoImage> {
        let subject = self.subject(effect.entity.as_deref(), &effect.key);
        let message = self.stream.last_message(&subject).await?;
        let mut headers = Headers::default();
        for name in KEPT {
            if let Some(value) = message.as_ref().and_then(|m| m.headers.get(name)) {
                headers.push(name, value.as_str());
            }
        }
        let current = message.map_or_else(Current::none, Current::of);
        if let Some(fault) = broken(effect.precondition.as_ref(), &current) {
            return Err(NoImage::Conflict(fault));
        }
        // Whether it can be made at all is known now.
        new_value(effect, &current).map_err(NoImage::Refused)?;
        Ok(Image {
            etag: current.revision.to_string(),
            headers,
            data: current.value,
        })
    }

    pub(in crate::target) async fn change(
        &self,
        effect: &Effect,
        image: &Image,
        cause: &Cause,
    ) -> Changed {
        let subject = self.subject(effect.entity.as_deref(), &effect.key);
        let before = Current {
            revision: revision_of(image),
            value: image.data.clone(),
            ..Current::none()
        };
        let payload = match new_value(effect, &before) {
            Ok(payload) => payload,
            Err(fault) => return Changed::No(Answer::Refused(fault)),
        };
        let change = Change {
            payload,
            revision: Some(before.revision),
            keeps: None,
        };
        let Err(error) = self.send(&subject, effect, change, cause).await else {
            return Changed::Yes;
        };
        // What the server answered it did not do.
        let is_answer = is_answer(&error);
        match of_publish_to(&error, &self.context, Some(&self.stream)).await {
            Answer::Applied => Changed::Yes,
            answer if is_answer => Changed::No(answer),
            answer => Changed::Maybe(answer),
        }
    }

    pub(in crate::target) async fn undo(
        &self,
        effect: &Effect,
        image: &Image,
        cause: &Cause,
    ) -> Undone {
        let subject = self.subject(effect.entity.as_deref(), &effect.key);
        let current = match self.current(&subject).await {
            Ok(current) => current,
            Err(error) => return Undone::Unknown(error.to_string()),
        };
        let undo_id = format!("undo-{}", cause.message_id);
        if current.message_id.as_deref() == Some(&*undo_id) {
            return Undone::Restored;
        }
        // Where it was not made the revision changes all the same: what is on its way comes too late.
        if !current.is_of(cause) && current.revision != revision_of(image) {
            return Undone::Foreign(format!(
                "the entry is at revision {}, which is neither ours nor the one before",
                current.revision
            ));
        }
        match self
            .write_back(subject, image, (current.revision, &undo_id))
            .await
        {
            Answer::Applied => Undone::Restored,
            Answer::Conflict(why)
            | Answer::Refused(why)
            | Answer::Unknown(why)
            | Answer::Away(why) => Undone::Unknown(why),
        }
    }

    async fn write_back(&self, subject: String, image: &Image, (at, id): (u64, &str)) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in image.headers.iter() {
            headers.insert(name, value);
        }
        if image.data.is_none() {
            headers.insert("KV-Operation", "DEL");
        }
        headers.insert(reserved::MESSAGE_ID, id);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, at.to_string());
        let payload = image.data.clone().unwrap_or_default();
        let subject = self.provision.written(subject);
        let published = async {
            let sent = self.context.publish_with_headers(subject, headers, payload);
            sent.await?.await
        };
        match published.await {
            Ok(_) => Answer::Applied,
            Err(error) => of_publish_to(&error, &self.context, Some(&self.stream)).await,
        }
    }
}

fn revision_of(image: &Image) -> u64 {
    image.etag.parse().unwrap_or_default()
}
