//! Secrets: where they come from, and a type that does not show them.

use super::entry::Entry;
use super::keys;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use toml::de::DeValue;

/// A value that is neither printed nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The value itself, for the one who needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Secret {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `[secrets]`.
pub(super) fn read(entry: &Entry<'_>) -> BTreeMap<String, Secret> {
    let fields = entry.fields().unwrap_or_default();
    fields
        .into_iter()
        .filter_map(|(name, entry)| Some((name.to_owned(), outside(&entry)?)))
        .collect()
}

/// A string, or a place outside the file where the secret is kept.
pub(super) fn anywhere(entry: &Entry<'_>) -> Option<Secret> {
    match entry.value {
        DeValue::String(_) => entry.text().map(Secret::from),
        DeValue::Table(_) => outside(entry),
        _ => {
            entry.report("expected a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`");
            None
        }
    }
}

/// `{ env = "NAME" }` or `{ file = "PATH" }`.
fn outside(entry: &Entry<'_>) -> Option<Secret> {
    if entry.value.is_str() {
        entry.report(
            "a secret is not written here: use `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
        );
        return None;
    }
    let section = entry.section(&keys::SECRET)?;
    let from_env = section.read("env", from_env);
    let from_file = section.read("file", from_file);
    match (section.has("env"), section.has("file")) {
        (true, false) => from_env,
        (false, true) => from_file,
        _ => {
            section.report("a secret has either `env` or `file`");
            None
        }
    }
}

fn from_env(entry: &Entry<'_>) -> Option<Secret> {
    let name = entry.text()?;
    let Some(value) = (entry.file.env)(&name) else {
        entry.report(format!("the environment variable `{name}` is not set"));
        return None;
    };
    not_empty(entry, &value, || {
        format!("the environment variable `{name}`")
    })
}

/// What the file holds, without the newline at its end.
fn from_file(entry: &Entry<'_>) -> Option<Secret> {
    let path = entry.path()?;
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let value = text.strip_suffix('\n').unwrap_or(&text);
            let value = value.strip_suffix('\r').unwrap_or(value);
            not_empty(entry, value, || format!("the file `{}`", path.display()))
        }
        Err(error) => {
            entry.report(format!(
                "cannot read the secret from `{}`: {error}",
                path.display()
            ));
            None
        }
    }
}

/// An empty secret is a mistake, and cannot be blotted out of logs.
fn not_empty(entry: &Entry<'_>, value: &str, origin: impl Fn() -> String) -> Option<Secret> {
    if value.is_empty() {
        entry.report(format!("{} is empty: a secret cannot be", origin()));
        return None;
    }
    Some(value.into())
}
