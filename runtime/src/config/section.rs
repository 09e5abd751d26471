//! A table whose keys are known.

use super::entry::Entry;
use super::keys::Keys;
use super::suggest;
use toml::de::DeTable;

/// A table of the file, its unknown keys already noted.
#[derive(Clone)]
pub(super) struct Section<'a> {
    entry: Entry<'a>,
    table: &'a DeTable<'a>,
    keys: &'static Keys,
}

impl<'a> Section<'a> {
    pub(super) fn new(entry: &Entry<'a>, table: &'a DeTable<'a>, keys: &'static Keys) -> Self {
        let section = Self {
            entry: entry.clone(),
            table,
            keys,
        };
        section.refuse_unknown();
        section
    }

    fn refuse_unknown(&self) {
        for (name, value) in self.table.iter() {
            let text: &str = name.get_ref();
            if self.keys.known.contains(&text) {
                continue;
            }
            let entry = Entry::named(self.entry.file, &self.entry.key, name, value);
            match self.keys.later.iter().find(|(key, _)| *key == text) {
                Some((_, what)) => {
                    entry.report_key(format!("{what} is not available yet: remove the key"));
                }
                None => {
                    let hint = suggest::hint(text, self.keys.known.iter().copied());
                    let known = self.keys.known.join(", ");
                    let section = match self.keys.section {
                        "" => "the file".to_owned(),
                        section => format!("[{section}]"),
                    };
                    entry.report_key(format!("unknown key{hint} (keys of {section}: {known})"));
                }
            }
        }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        debug_assert!(
            self.keys.known.contains(&key),
            "{key} is not listed in keys.rs"
        );
        let (name, value) = self.table.get_key_value(key)?;
        Some(Entry::named(self.entry.file, &self.entry.key, name, value))
    }

    /// The value of `key`, read by `take`.
    pub(super) fn read<T>(
        &self,
        key: &str,
        take: impl FnOnce(&Entry<'a>) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|entry| take(&entry))
    }

    /// As [`Self::read`], where the key has to be there: `advice` says what to write.
    pub(super) fn require<T>(
        &self,
        key: &str,
        advice: &str,
        take: impl FnOnce(&Entry<'a>) -> Option<T>,
    ) -> Option<T> {
        self.demand(key, advice);
        self.read(key, take)
    }

    /// Notes that `key` is missing, when it is: `advice` says what to write.
    pub(super) fn demand(&self, key: &str, advice: &str) {
        if !self.has(key) {
            self.report(format!("`{key}` is missing: {advice}"));
        }
    }

    /// Puts the value of `key` into `slot`, which holds the default.
    pub(super) fn set<T>(
        &self,
        key: &str,
        slot: &mut T,
        take: impl FnOnce(&Entry<'a>) -> Option<T>,
    ) {
        if let Some(value) = self.read(key, take) {
            *slot = value;
        }
    }

    /// Refuses keys that have no meaning beside what else the section says.
    pub(super) fn refuse(&self, keys: &[&str], why: &str) {
        for entry in keys.iter().filter_map(|key| self.get(key)) {
            entry.report_key(why);
        }
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Notes what is wrong with the section as a whole.
    pub(super) fn report(&self, message: impl Into<String>) {
        self.entry.report_key(message);
    }
}
