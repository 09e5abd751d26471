//! What differs, changed as a pipeline would: by a plan, on the condition that it is still as it was compared.

use super::mapping::on_condition;
use super::{Comparison, Difference, Outcome};
use crate::event::{Effect, Envelope, Event, EventId, Origin, Plan, PlannedEffect};
use crate::txn::{Applied, Coordinator, Tenure};
use std::sync::Arc;

/// Makes the changes.
pub struct Repair {
    /// The way to the target.
    pub coordinator: Coordinator,
    /// The right to act.
    pub tenure: Tenure,
    /// Whether what nothing says that it should be there is deleted.
    pub delete: bool,
}

/// One change.
pub(super) struct Change {
    pub(super) effect: Effect,
    /// What it rests on; none: that there is nothing.
    pub(super) etag: Option<String>,
    /// The event that it comes of; none: of none.
    pub(super) envelope: Option<Envelope>,
}

impl Repair {
    pub(super) fn deletes(&self) -> bool {
        self.delete
    }

    /// Makes `change`, and says in `difference` what became of it.
    pub(super) async fn make(
        &self,
        comparison: &Comparison<'_>,
        change: Change,
        difference: &mut Difference,
    ) {
        let Change {
            effect,
            etag,
            envelope,
        } = change;
        let effect = on_condition(effect, etag.as_deref());
        let contract = comparison.contract.as_ref();
        let violation = contract.and_then(|contract| contract.check(&effect).err());
        if let Some(violation) = violation {
            difference.why = Some(violation.to_string());
            difference.outcome = Some(Outcome::Failed);
            return;
        }
        let name = comparison.onto.name;
        let place = effect.entity.as_deref().unwrap_or("_");
        // A version never comes again, so that no two changes have one name.
        let id = format!(
            "diff.{place}/{}@{}",
            effect.key,
            etag.as_deref().unwrap_or("none")
        );
        let envelope = envelope.unwrap_or_else(|| nobody(name, &id));
        let plan = Plan {
            effects: vec![PlannedEffect {
                target: name.into(),
                effect,
                id,
            }],
            ..Plan::default()
        };
        let applied = self.coordinator.apply(&plan, &envelope, &self.tenure).await;
        let (outcome, why) = match applied {
            Applied::Done => (Outcome::Repaired, None),
            Applied::Conflict(setback) => (Outcome::Overtaken, Some(setback.error)),
            Applied::Refused(setback) | Applied::Unknown(setback) | Applied::Away(setback) => {
                (Outcome::Failed, Some(setback.error))
            }
            Applied::Overtaken(why) => (Outcome::Failed, Some(why)),
            Applied::Ended | Applied::Replaced => (Outcome::Failed, None),
        };
        (difference.outcome, difference.why) = (Some(outcome), why);
    }
}

/// The cause of a change that comes of no entity.
fn nobody(target: &str, id: &str) -> Envelope {
    let source = format!("/targets/{target}");
    Envelope {
        origin: Arc::new(Origin {
            id: EventId::of(&source, id),
            address: target.to_owned(),
            stream: "".into(),
            stream_created: 0,
            sequence: 0,
            key: id.into(),
            maybe_seen: false,
            generation: 0,
        }),
        event: Arc::new(Event {
            id: id.to_owned(),
            source,
            kind: format!("{target}.diff"),
            ..Event::default()
        }),
        data: bytes::Bytes::new(),
    }
}
