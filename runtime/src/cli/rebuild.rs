//! Plugin projects that are built again when their sources change, for `dev`.

use super::build;
use super::project::Project;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use syncline::config::Config;
use tokio::sync::mpsc::{Receiver, channel};
use tracing::{error, info, warn};

/// How long sources must be left alone before a build: an editor saves in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Changes that may wait to be looked at. More are the same to us as these.
const WAITING: usize = 1024;

/// The plugins of a configuration that are built from projects: component and project.
#[derive(Debug)]
pub(super) struct Projects(BTreeMap<PathBuf, Project>);

impl Projects {
    /// Finds the project of each plugin, up to the folder of the configuration file.
    ///
    /// # Errors
    /// When the current folder is not known.
    pub(super) fn of(config: &Config, config_file: &Path) -> anyhow::Result<Self> {
        let config_file = std::path::absolute(config_file)?;
        let top = config_file.parent().unwrap_or(&config_file);
        let mut projects = BTreeMap::new();
        for plugin in &config.plugins {
            let component = std::path::absolute(&plugin.path)?;
            if let Some(project) = Project::around(&component, top) {
                projects.insert(component, project);
            }
        }
        Ok(Self(projects))
    }

    /// Builds every component that is missing or older than its sources.
    ///
    /// # Errors
    /// When one that is missing cannot be built. An old one serves until its sources are corrected.
    pub(super) async fn build_stale(&self) -> anyhow::Result<()> {
        for (component, project) in &self.0 {
            if !project.is_newer_than(component) {
                continue;
            }
            info!(project = %project.dir.display(), "building");
            match build::build(project, component).await {
                Ok(_) => {}
                Err(error) if component.exists() => report(project, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Watches the sources and builds what changed, until dropped. The runtime swaps in what comes
    /// out.
    pub(super) async fn rebuild_on_change(&self) {
        let (changes, mut changed) = channel(WAITING);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Being read is no change.
            let event = event.ok().filter(|event| !event.kind.is_access());
            for path in event.into_iter().flat_map(|event| event.paths) {
                // Full: a build is due anyway.
                let _dropped = changes.try_send(path);
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                warn!(%error, "cannot watch plugin sources: build by hand with `syncline build`");
                return std::future::pending().await;
            }
        };
        self.0
            .values()
            .for_each(|project| watch(&mut watcher, project));
        while let Some(path) = changed.recv().await {
            let paths = settle(path, &mut changed).await;
            let has_changed = |project: &Project| paths.iter().any(|path| project.has_source(path));
            for (component, project) in self.0.iter().filter(|(_, project)| has_changed(project)) {
                // Folders may be new.
                watch(&mut watcher, project);
                rebuild(project, component).await;
            }
        }
    }
}

/// Watches every folder of sources by itself: what is built below them changes all the time.
fn watch(watcher: &mut RecommendedWatcher, project: &Project) {
    for folder in project.source_folders() {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(%error, folder = %folder.display(), "cannot watch sources");
        }
    }
}

/// What else changes until nothing does for a while.
async fn settle(first: PathBuf, changed: &mut Receiver<PathBuf>) -> Vec<PathBuf> {
    let mut paths = vec![first];
    while let Ok(Some(path)) = tokio::time::timeout(QUIET, changed.recv()).await {
        if !paths.contains(&path) && paths.len() < WAITING {
            paths.push(path);
        }
    }
    paths
}

async fn rebuild(project: &Project, component: &Path) {
    info!(project = %project.dir.display(), "sources changed, building");
    match build::build(project, component).await {
        Ok(_) => info!(component = %component.display(), "built"),
        Err(error) => report(project, &error),
    }
}

fn report(project: &Project, error: &anyhow::Error) {
    let (project, error) = (project.dir.display(), format!("{error:#}"));
    error!(%project, %error, "the build failed, the version before stays");
}
