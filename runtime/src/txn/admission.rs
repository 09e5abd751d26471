//! What has to be waited for before a plan is applied.

use super::Coordinator;
use crate::event::Plan;
use std::sync::Arc;

pub use crate::target::Pass;

impl Coordinator {
    /// The first target of `plan` that is left alone now, if there is one.
    #[must_use]
    pub fn left_alone(&self, plan: &Plan) -> Option<Arc<str>> {
        let mut targets = plan.effects.iter().map(|effect| &effect.target);
        targets.find(|target| self.is_left_alone(target)).cloned()
    }

    /// Whether `target` is left alone now.
    #[must_use]
    pub fn is_left_alone(&self, target: &str) -> bool {
        let target = self.targets.get(target);
        target.is_some_and(crate::target::Target::is_left_alone)
    }

    /// Waits until `target` is not left alone any more, or may be tried.
    pub async fn pass(&self, target: &str) -> Pass {
        match self.targets.get(target) {
            Some(target) => target.pass().await,
            None => Pass::default(),
        }
    }

    /// Waits until the targets of `plan` may be written once for each effect, in the order of asking.
    pub async fn turn(&self, plan: &Plan) {
        for effect in &plan.effects {
            if let Some(target) = self.targets.get(&effect.target) {
                target.turn().await;
            }
        }
    }
}
