//! What was asked for: `syncline.toml`, read, checked and made into each room's own `Config`.
//!
//! Everything that is wrong is found in one pass and told with its line, column and key. The way
//! there: `file` holds the text and what was found so far, `section` refuses unknown keys,
//! `entry` reads single values, and one file per section of the configuration puts them
//! together. `docs/configuration.md` is the reference for users; a test keeps both in step.

mod api;
mod contracts;
mod entry;
mod env;
mod file;
mod http;
mod keys;
mod names;
mod nats;
mod outbound;
mod partitions;
mod pipelines;
mod places;
mod plugins;
mod postgres;
mod problem;
mod routes;
mod secrets;
mod section;
mod settings;
mod source;
mod suggest;
mod targets;
mod versions;

#[cfg(test)]
mod bad_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod good_tests;

use crate::{api as module_api, pipeline, plugin, target};
use entry::Entry;
use file::File;
use names::Names;
use section::Section;
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::DeValue;

pub use env::Env;
pub use nats::{Auth, DEFAULT_URL, JetStreamApi, Nats, Tls, without_user};
pub use problem::{Problem, Problems};
pub use secrets::Secret;

/// The file's name where none is given.
pub const DEFAULT_FILE: &str = "syncline.toml";

/// Everything that a configuration file says. Plugins, targets and pipelines are in the order of
/// the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// How NATS is reached.
    pub nats: Nats,
    /// Secrets that plugins may be granted.
    pub secrets: BTreeMap<String, Secret>,
    /// The plugins.
    pub plugins: Vec<plugin::Config>,
    /// The targets.
    pub targets: Vec<target::Config>,
    /// The API of the targets; none: nothing listens.
    pub api: Option<module_api::Config>,
    /// The pipelines.
    pub pipelines: Vec<pipeline::Config>,
}

impl Config {
    /// Reads and checks the file at `path`. Connects to nothing; of the files that the
    /// configuration names, secrets are read.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the configuration: {error}");
            Problems::of_file(path, message)
        })?;
        read(path, &text, path.parent().unwrap_or(Path::new("")), env)
    }

    /// Reads and checks `text` as if it stood in `syncline.toml` in the folder `base`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(text: &str, base: &Path, env: Env<'_>) -> Result<Self, Problems> {
        read(Path::new(DEFAULT_FILE), text, base, env)
    }
}

fn read(path: &Path, text: &str, base: &Path, env: Env<'_>) -> Result<Config, Problems> {
    let file = File::new(text, base, env);
    let mut config = Config::default();
    if let Some(table) = file.table() {
        let root = DeValue::Table(table);
        if let Some(section) = Entry::root(&file, &root).section(&keys::FILE) {
            config = gather(&section);
        }
    }
    match file.problems(path) {
        None => Ok(config),
        Some(problems) => Err(problems),
    }
}

/// Reads every section. What could not be read is left out here and noted in the file.
fn gather(root: &Section<'_>) -> Config {
    let mut names = Names::of(root);
    let nats = root.read("nats", nats::read).unwrap_or_default();
    let provision = nats.provision();
    let secrets = root
        .read("secrets", |entry| Some(secrets::read(entry)))
        .unwrap_or_default();
    let targets = each(root, "targets", |name, entry| {
        targets::read(name, entry, (&names, &provision))
    });
    names.contracts = contracts::of(&targets);
    Config {
        nats,
        plugins: each(root, "plugins", |name, entry| {
            plugins::read(name, entry, (&names, &secrets))
        }),
        secrets,
        targets,
        api: root.read("api", |entry| api::read(entry, &names)),
        pipelines: each(root, "pipelines", |name, entry| {
            pipelines::read(name, entry, (&names, &provision))
        }),
    }
}

/// Reads every table of a section whose keys are names.
fn each<'a, T>(
    root: &Section<'a>,
    key: &str,
    read: impl Fn(&str, &Entry<'a>) -> Option<T>,
) -> Vec<T> {
    let fields = root.read(key, Entry::fields).unwrap_or_default();
    fields
        .iter()
        .filter_map(|(name, entry)| read(name, entry))
        .collect()
}
