//! Which pipeline uses which plugin, and with what.

use super::state::States;
use crate::config::Config;
use crate::plugin::Use;

/// Each plugin of each pipeline once.
pub(super) fn uses(config: &Config, states: &States) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    for pipeline in &config.pipelines {
        for plugin in &pipeline.stages {
            let known = uses
                .iter()
                .any(|u| u.plugin == *plugin && u.pipeline == pipeline.name);
            if !known {
                uses.push(Use {
                    plugin: plugin.clone(),
                    pipeline: pipeline.name.clone(),
                    writable: pipeline.writable.clone(),
                    state: states.of(pipeline.guarantee).cloned(),
                });
            }
        }
    }
    uses
}
