//! What a plugin makes of an entity: the effects on the target that is compared.

use super::telling::Telling;
use crate::event::{
    Effect, Envelope, EventId, Headers, Next, Operation, Origin, Precondition, Verdict,
};
use crate::plugin::{Session, Version};
use crate::target::Listed;
use bytes::Bytes;
use std::sync::Arc;

/// The way from an entity to effects.
pub struct Mapping {
    /// Who says what should be held; none: the same entities.
    pub via: Option<Arc<Version>>,
    /// How entities are told to it.
    pub telling: Telling,
    /// The target whose effects count.
    pub onto: String,
    /// Whether that holds kinds of entities apart.
    pub kinds: bool,
}

/// What an entity comes to.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// On the target that is compared, in order.
    pub(super) effects: Vec<Effect>,
    /// How many effects are on others.
    pub(super) n_elsewhere: u64,
    /// Why the plugin was not asked, if it was not.
    pub(super) unseen: Option<String>,
}

impl Mapping {
    /// Why the plugin would never see an event about entities of this kind, if it would not.
    fn unseen(&self, entity: Option<&str>) -> Option<String> {
        let version = self.via.as_ref()?;
        let manifest = version.component().manifest();
        let kind = self.telling.kind_of(entity);
        (!manifest.accepts(&kind)).then(|| {
            format!(
                "plugin `{}` accepts events of type `{}`, and entities are told as `{kind}`: name a type that it \
                 accepts with `--type`",
                version.plugin(),
                manifest.accepts.join("`, `")
            )
        })
    }

    /// The entity as the event that the plugin sees.
    pub(super) fn envelope_of(&self, listed: &Listed) -> Envelope {
        let event = self.telling.event_of(listed);
        let address = self
            .telling
            .address_of(listed.entity.as_deref(), &listed.key);
        Envelope {
            origin: Arc::new(Origin {
                id: EventId::of(&event.source, &event.id),
                address,
                stream: "".into(),
                stream_created: 0,
                sequence: 0,
                key: listed.key.as_str().into(),
                maybe_seen: false,
                generation: 0,
            }),
            event: Arc::new(event),
            data: listed.found.data.clone(),
        }
    }

    /// What the entity comes to. What the plugin writes of its state is forgotten.
    ///
    /// # Errors
    /// Why it comes to nothing that could be compared.
    pub(super) async fn of(&self, listed: &Listed) -> Result<Mapped, String> {
        let Some(version) = &self.via else {
            return Ok(Mapped {
                effects: vec![self.passed(listed, listed.found.data.clone())],
                ..Mapped::default()
            });
        };
        if let Some(why) = self.unseen(listed.entity.as_deref()) {
            return Ok(Mapped {
                unseen: Some(why),
                ..Mapped::default()
            });
        }
        let plugin = version.plugin();
        let envelope = self.envelope_of(listed);
        let verdict = version.call(&envelope, 1, &mut Session::new()).await;
        let acceptance = match verdict {
            Ok(Verdict::Accept(acceptance)) => acceptance,
            Ok(Verdict::Drop(_)) => return Ok(Mapped::default()),
            Ok(Verdict::Reject(reason)) => return Err(format!("`{plugin}` rejects it: {reason}")),
            Ok(Verdict::Retry { reason, .. }) => {
                return Err(format!("`{plugin}` cannot tell now: {reason}"));
            }
            Err(error) => return Err(format!("`{plugin}`: {error}")),
        };
        let mut mapped = Mapped::default();
        for effect in acceptance.effects {
            let is_ours = |target: &String| *target == self.onto;
            match effect.target.as_ref().is_none_or(is_ours) {
                true => mapped.effects.push(effect),
                false => mapped.n_elsewhere += 1,
            }
        }
        match acceptance.next {
            Next::Stop => {}
            Next::Pass => {
                let data = listed.found.data.clone();
                mapped.effects.push(self.passed(listed, data));
            }
            Next::Forward(children) => {
                let data = |data: Option<Bytes>| data.unwrap_or(listed.found.data.clone());
                let passed = children
                    .into_iter()
                    .map(|child| self.passed(listed, data(child.data)));
                mapped.effects.extend(passed);
            }
        }
        Ok(mapped)
    }

    /// What goes on to the end is to be held under the name that it has.
    fn passed(&self, listed: &Listed, data: Bytes) -> Effect {
        Effect {
            target: None,
            entity: listed.entity.clone().filter(|_| self.kinds),
            operation: Operation::Upsert,
            key: listed.key.clone(),
            precondition: None,
            content_type: Some(listed.found.content_type.clone()),
            headers: Headers::default(),
            payload: data,
        }
    }
}

/// The effect, on the condition that the entity is still at this version; none: that there is none.
pub(super) fn on_condition(mut effect: Effect, etag: Option<&str>) -> Effect {
    effect.precondition = Some(match etag {
        Some(etag) => Precondition::Etag(etag.to_owned()),
        None => Precondition::Absent,
    });
    effect
}
