//! A run over several modes: one after the other, the events divided over them, each on a ground of its
//! own.

use super::report::Report;
use super::settings::{Mode, Settings};
use super::storm;
use std::collections::BTreeMap;

/// Runs one for each of `modes`, and gives one report.
pub(super) async fn run(settings: &Settings, modes: &[Mode]) -> Report {
    let n_modes = u64::try_from(modes.len()).unwrap();
    let mut reports = BTreeMap::new();
    for (mode, left) in modes.iter().zip((0..n_modes).rev()) {
        let name = mode.name();
        let settings = Settings {
            events: settings.events / n_modes + u64::from(left < settings.events % n_modes),
            mode: *mode,
            logs: settings.logs.as_ref().map(|logs| logs.join(name)),
            ..settings.clone()
        };
        reports.insert(name, storm::run(&settings).await);
    }
    Report::over(reports)
}
