//! Effects that a plugin writes by another version of a target's contract, in the one that the target holds.

use super::Pipeline;
use super::outcome::{Fault, Outcome};
use super::route::Laid;
use super::stage::Thought;
use super::work::Work;
use crate::contract::{Unadapted, UpError};
use crate::event::{DeadReason, PlannedEffect};
use crate::plugin::Version;
use std::sync::Arc;

impl Pipeline {
    /// Where everything goes that the stages came to, in the versions that the targets hold.
    pub(super) async fn lay_out(
        &self,
        thought: Thought,
        work: &Work,
        versions: &[Arc<Version>],
    ) -> Result<Laid, Outcome> {
        let laid = self.routes.lay_out(thought, work, &self.metrics);
        let mut laid = laid.map_err(Outcome::Dead)?;
        if !self.adapted.is_empty() {
            for (planned, stage) in laid.effects.iter_mut().zip(&laid.stages) {
                if let Some(version) = versions.get(*stage) {
                    // Boxed as all that is rare: the future of every event would be as large.
                    Box::pin(self.lift(planned, version)).await?;
                }
            }
        }
        Ok(laid)
    }

    async fn lift(&self, planned: &mut PlannedEffect, writer: &Version) -> Result<(), Outcome> {
        let target = &planned.target;
        let written = writer.component().manifest().versions_of(target);
        if written.is_empty() || self.routes.holds(target, &written) {
            return Ok(());
        }
        let beside = self.adapted.of(target).iter();
        let mut beside = beside.filter(|it| written.contains(&it.contract.version()));
        let Some(adapted) = beside.next() else {
            return Ok(());
        };
        match adapted.up(&planned.effect).await {
            Ok(effect) => planned.effect = effect,
            Err(error) => return Err(failed(target, &error)),
        }
        Ok(())
    }
}

fn failed(target: &str, error: &UpError) -> Outcome {
    let told = format!("target `{target}`: {error}");
    let fault = |reason| Fault {
        place: Some(target.to_owned()),
        ..Fault::new(reason, told)
    };
    match error {
        UpError::Unadapted {
            cause: Unadapted::NotNow(_),
            ..
        } => Outcome::Retry(fault(DeadReason::Exhausted)),
        _ => Outcome::Dead(fault(DeadReason::Contract)),
    }
}
