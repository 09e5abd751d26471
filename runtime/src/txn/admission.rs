//! What has to be waited for before a plan is applied.

use super::Coordinator;
use crate::event::Plan;

impl Coordinator {
    /// Waits until the targets of `plan` may be written once for each effect, in the order of asking.
    pub async fn turn(&self, plan: &Plan) {
        for effect in &plan.effects {
            if let Some(target) = self.targets.get(&effect.target) {
                target.turn().await;
            }
        }
    }
}
