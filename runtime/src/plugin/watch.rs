//! Hot loading: the plugins' files and their folders are watched; a changed file takes over.

use super::registry::Plugins;
use crate::shutdown::Shutdown;
use notify::{RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tracing::{error, info, warn};

/// How long a folder must be quiet before its files are looked at: builds write in pieces.
const QUIET: Duration = Duration::from_millis(100);

/// What a file looked like when it was last read.
type Look = Option<(SystemTime, u64)>;

/// Watches until `shutdown`. A file that cannot take over changes nothing and says why.
pub async fn watch(plugins: Arc<Plugins>, shutdown: Shutdown) {
    let changed = Arc::new(Notify::new());
    let signal = changed.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Being read is no change.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            signal.notify_one();
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            warn!(%error, "cannot watch plugin files: a changed file needs a restart");
            return;
        }
    };
    // Folders, not files: editors and builds replace a file instead of writing into it.
    let folders: BTreeSet<PathBuf> = plugins.files().map(|(_, path)| folder_of(path)).collect();
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            warn!(%error, folder = %folder.display(), "cannot watch a plugin folder");
        }
    }
    // A file that changed between its loading and this moment was not seen to change.
    let mut seen = BTreeMap::new();
    swap_changed(&plugins, &mut seen).await;
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = changed.notified() => {}
        }
        if !settle(&changed, &shutdown).await {
            return;
        }
        swap_changed(&plugins, &mut seen).await;
    }
}

/// Waits until nothing has changed for a while; false when the shutdown came first.
async fn settle(changed: &Notify, shutdown: &Shutdown) -> bool {
    loop {
        tokio::select! {
            () = shutdown.begun() => return false,
            quiet = tokio::time::timeout(QUIET, changed.notified()) => {
                if quiet.is_err() {
                    return true;
                }
            }
        }
    }
}

async fn swap_changed(plugins: &Plugins, seen: &mut BTreeMap<String, Look>) {
    let files: Vec<_> = plugins
        .files()
        .map(|(n, p)| (n.to_owned(), p.to_owned()))
        .collect();
    for (plugin, path) in files {
        let now = look(&path);
        if now.is_none() || seen.insert(plugin.clone(), now) == Some(now) {
            continue;
        }
        match plugins.swap(&plugin).await {
            Ok(Some(digest)) => info!(%plugin, %digest, "plugin swapped"),
            Ok(None) => {}
            Err(error) => {
                error!(%plugin, %error, "plugin not swapped, the version at work stays");
            }
        }
    }
}

fn look(path: &Path) -> Look {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
