//! What a plugin says should become of an event.

use std::time::Duration;

use crate::bindings::syncline::plugin::types;
use crate::{Effect, Error, Event};

/// The answer to one event.
///
/// A plugin function may answer with anything that turns into one:
///
/// | answer | means |
/// |---|---|
/// | [`Verdict`] | itself |
/// | `bool` | pass the event on, or drop it as "filtered" |
/// | [`Effect`], `Vec<Effect>`, `[Effect; N]` | these changes, and nothing goes on |
/// | [`Event`], `Vec<Event>` | these events go on in place of the one that came |
/// | `Option` of the above | `None` drops the event as "filtered" |
/// | [`Result`](crate::Result) of the above | see [`Error`] |
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The event was understood.
    Accept {
        /// Changes to target modules; they happen all or not at all.
        effects: Vec<Effect>,
        /// What goes on to the next stage.
        next: Next,
    },
    /// Filtered on purpose, counted by this reason. Keep the reasons few: no ids in them.
    Drop(String),
    /// A passing fault: the event waits and is tried again.
    Retry {
        /// Why, for the operator.
        reason: String,
        /// When to try again; the pipeline's own back-off when unknown.
        after: Option<Duration>,
    },
    /// The event can never succeed and becomes a dead letter with this reason.
    Reject(String),
}

/// What goes on to the next stage, or after the last one to the pipeline's `to`.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Nothing: the effects are all there is.
    Stop,
    /// The event as it came.
    Pass,
    /// These instead: one for a transform, several for a split.
    Forward(Vec<Event>),
}

impl Verdict {
    /// Hands the event on as it came.
    pub fn pass() -> Self {
        Self::Accept {
            effects: Vec::new(),
            next: Next::Pass,
        }
    }

    /// Hands on a changed event.
    pub fn forward(event: Event) -> Self {
        Self::split([event])
    }

    /// Hands on several events in place of one.
    pub fn split(events: impl IntoIterator<Item = Event>) -> Self {
        let next = Next::Forward(events.into_iter().collect());
        Self::Accept {
            effects: Vec::new(),
            next,
        }
    }

    /// Answers with effects and hands nothing on.
    pub fn apply(effects: impl IntoIterator<Item = Effect>) -> Self {
        Self::Accept {
            effects: effects.into_iter().collect(),
            next: Next::Stop,
        }
    }

    /// Filters the event out.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self::Drop(reason.into())
    }

    /// Asks for another try later.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// Gives the event up.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// Adds an effect to an accepting verdict; the others have none and stay as they are.
    #[must_use]
    pub fn with(mut self, effect: Effect) -> Self {
        if let Self::Accept { effects, .. } = &mut self {
            effects.push(effect);
        }
        self
    }

    /// The effects; none unless the verdict accepts.
    pub fn effects(&self) -> &[Effect] {
        match self {
            Self::Accept { effects, .. } => effects,
            _ => &[],
        }
    }

    /// The events handed on in place of the incoming one; none for every other answer.
    pub fn forwarded(&self) -> &[Event] {
        match self {
            Self::Accept {
                next: Next::Forward(events),
                ..
            } => events,
            _ => &[],
        }
    }

    pub(crate) fn into_wit(self, incoming: &Event) -> types::Verdict {
        match self {
            Self::Accept { effects, next } => {
                let next = next.into_wit(incoming);
                types::Verdict::Accept(types::Acceptance { effects, next })
            }
            Self::Drop(reason) => types::Verdict::Drop(reason),
            Self::Retry { reason, after } => {
                let after_ms = after.map(|after| saturated(after.as_millis()));
                types::Verdict::Retry(types::RetryHint { reason, after_ms })
            }
            Self::Reject(reason) => types::Verdict::Reject(reason),
        }
    }
}

impl Next {
    fn into_wit(self, incoming: &Event) -> types::Next {
        match self {
            Self::Stop => types::Next::Stop,
            Self::Pass => types::Next::Pass,
            Self::Forward(events) => {
                let forwarded = events.into_iter().map(|event| event.into_wit(incoming));
                types::Next::Forward(forwarded.collect())
            }
        }
    }
}

pub(crate) fn saturated(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl From<bool> for Verdict {
    fn from(keep: bool) -> Self {
        if keep { Self::pass() } else { filtered() }
    }
}

impl From<Effect> for Verdict {
    fn from(effect: Effect) -> Self {
        Self::apply([effect])
    }
}

impl From<Vec<Effect>> for Verdict {
    fn from(effects: Vec<Effect>) -> Self {
        Self::apply(effects)
    }
}

impl<const N: usize> From<[Effect; N]> for Verdict {
    fn from(effects: [Effect; N]) -> Self {
        Self::apply(effects)
    }
}

impl From<Event> for Verdict {
    fn from(event: Event) -> Self {
        Self::forward(event)
    }
}

impl From<Vec<Event>> for Verdict {
    fn from(events: Vec<Event>) -> Self {
        Self::split(events)
    }
}

impl<T: Into<Self>> From<Option<T>> for Verdict {
    fn from(answer: Option<T>) -> Self {
        answer.map_or_else(filtered, Into::into)
    }
}

impl<T: Into<Self>> From<Result<T, Error>> for Verdict {
    fn from(answer: Result<T, Error>) -> Self {
        answer.map_or_else(Into::into, Into::into)
    }
}

fn filtered() -> Verdict {
    Verdict::drop("filtered")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[test]
    fn every_answer_has_its_verdict() {
        fn verdict(answer: impl Into<Verdict>) -> Verdict {
            answer.into()
        }
        let effect = || Effect::delete("7").to("crm");
        let event = testing::event("a.b", json!(1));
        let applied = Verdict::apply([effect()]);
        assert_eq!(verdict(true), Verdict::pass());
        assert_eq!(verdict(false), Verdict::drop("filtered"));
        assert_eq!(verdict(effect()), applied);
        assert_eq!(verdict(vec![effect()]), applied);
        assert_eq!(verdict([effect()]), applied);
        assert_eq!(verdict(Some(effect())), applied);
        assert_eq!(verdict(None::<Effect>), Verdict::drop("filtered"));
        assert_eq!(verdict(Ok::<_, Error>(Some(true))), Verdict::pass());
        assert_eq!(
            verdict(Err::<bool, _>(Error::retry("away"))),
            Verdict::retry("away")
        );
        assert_eq!(verdict(event.clone()).forwarded(), [event]);
    }

    #[test]
    fn a_wait_too_long_for_the_contract_is_its_longest() {
        let event = testing::event("a.b", json!(1));
        let after = Some(Duration::from_secs(u64::MAX));
        let verdict = Verdict::Retry {
            reason: "away".into(),
            after,
        }
        .into_wit(&event);
        let hint = types::RetryHint {
            reason: "away".into(),
            after_ms: Some(u32::MAX),
        };
        assert_eq!(verdict, types::Verdict::Retry(hint));
    }

    #[test]
    fn effects_join_only_what_accepts() {
        let effect = || Effect::append("7");
        assert_eq!(Verdict::pass().with(effect()).effects(), [effect()]);
        assert_eq!(Verdict::drop("no").with(effect()), Verdict::drop("no"));
    }
}
