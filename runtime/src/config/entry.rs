//! One value of the file at its place, and the ways to read it.
//!
//! Every way gives `None` after noting what is wrong, so that a reader goes on to the next value
//! and all problems come out at once.

use super::env;
use super::file::File;
use super::keys::Keys;
use super::places::join;
use super::section::Section;
use super::suggest;
use bytesize::ByteSize;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A value with its key and place.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) file: &'a File<'a>,
    /// The whole path of its key.
    pub(super) key: String,
    /// Where the key stands; in a list, the item.
    pub(super) key_at: usize,
    value_at: usize,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Entry<'a> {
    /// The whole file.
    pub(super) fn root(file: &'a File<'a>, value: &'a DeValue<'a>) -> Self {
        Self {
            file,
            key: String::new(),
            key_at: 0,
            value_at: 0,
            value,
        }
    }

    /// The value of `name` in the table at `parent`.
    pub(super) fn named(
        file: &'a File<'a>,
        parent: &str,
        name: &'a Spanned<DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Self {
        let key_at = name.span().start;
        // A table made by a header or by dotted keys has no place after its key.
        let value_at = value.span().start.max(key_at);
        let key = join(parent, name.get_ref());
        Self {
            file,
            key,
            key_at,
            value_at,
            value: value.get_ref(),
        }
    }

    /// Notes what is wrong with the value.
    pub(super) fn report(&self, message: impl Into<String>) {
        self.file
            .report(self.value_at, self.key.clone(), message.into());
    }

    /// Notes what is wrong with the key.
    pub(super) fn report_key(&self, message: impl Into<String>) {
        self.file
            .report(self.key_at, self.key.clone(), message.into());
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(format!("expected {what}, found {found}"));
        None
    }

    /// A string, its `${NAME}` replaced; not empty.
    pub(super) fn text(&self) -> Option<String> {
        let Some(text) = self.value.as_str() else {
            return self.expected("a string");
        };
        match env::replace(text, self.file.env) {
            Ok(text) if text.is_empty() => self.report("the string is empty: write a value"),
            Ok(text) => return Some(text),
            Err(message) => self.report(message),
        }
        None
    }

    /// A string that is made into something else.
    pub(super) fn parse<T>(&self) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match self.text()?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(error.to_string());
                None
            }
        }
    }

    /// A path; relative ones start at the folder of the file.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text().map(|text| self.file.path(&text))
    }

    /// A file that is there.
    pub(super) fn existing_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        if !path.is_file() {
            self.report(format!("there is no file `{}`", path.display()));
            return None;
        }
        Some(path)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value.as_bool() {
            Some(flag) => Some(flag),
            None => self.expected("true or false"),
        }
    }

    /// A whole number from 0.
    pub(super) fn count(&self) -> Option<u32> {
        self.count_from(0)
    }

    /// A whole number from 1.
    pub(super) fn positive_count(&self) -> Option<u32> {
        self.count_from(1)
    }

    fn count_from(&self, least: u32) -> Option<u32> {
        let Some(number) = self.value.as_integer() else {
            return self.expected("a whole number");
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(count) if count >= least => Some(count),
            _ => {
                self.report(format!("{number} is not between {least} and {}", u32::MAX));
                None
            }
        }
    }

    /// A duration above zero.
    pub(super) fn duration(&self) -> Option<Duration> {
        let Some(_) = self.value.as_str() else {
            return self.expected("a duration with its unit, as in \"250ms\" or \"30s\"");
        };
        match duration_of(&self.text()?) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.report(message);
                None
            }
        }
    }

    /// A size above zero, as text with its unit or as a number of bytes.
    pub(super) fn positive_size(&self) -> Option<ByteSize> {
        let size = self.size()?;
        if size.0 == 0 {
            self.report("the size is zero: write at least one byte");
            return None;
        }
        Some(size)
    }

    /// A size, as text with its unit or as a number of bytes.
    pub(super) fn size(&self) -> Option<ByteSize> {
        let text = match self.value {
            DeValue::String(_) => self.text()?,
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            _ => return self.expected("a size, as in \"64MiB\""),
        };
        let size = text.parse().ok();
        if size.is_none() {
            self.report(format!(
                "`{text}` is not a size: write it as in \"64MiB\" or \"512 kB\""
            ));
        }
        size
    }

    /// One of some words; those without a value belong to parts that are not built yet.
    pub(super) fn choose<T: Copy>(&self, words: &[(&'static str, Option<T>)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            if value.is_none() {
                self.report(format!("`{text}` is not available yet: {}", listed(words)));
            }
            return *value;
        }
        let hint = suggest::hint(&text, words.iter().map(|(word, _)| *word));
        self.report(format!(
            "`{text}` is not known here: {}{hint}",
            listed(words)
        ));
        None
    }

    /// A list.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let Some(items) = self.value.as_array() else {
            return self.expected("a list");
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| Self {
            file: self.file,
            key: format!("{}[{index}]", self.key),
            key_at: item.span().start,
            value_at: item.span().start,
            value: item.get_ref(),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A list of strings, each once.
    pub(super) fn texts(&self) -> Option<Vec<(Self, String)>> {
        let mut texts: Vec<(Self, String)> = Vec::new();
        for item in self.items()? {
            let Some(text) = item.text() else { continue };
            match texts.iter().any(|(_, other)| *other == text) {
                true => item.report(format!("`{text}` is there twice: remove one")),
                false => texts.push((item, text)),
            }
        }
        Some(texts)
    }

    /// A table with keys of the user's choice, in the order of the file.
    pub(super) fn fields(&self) -> Option<Vec<(&'a str, Self)>> {
        let table = self.table()?;
        let mut fields: Vec<_> = table
            .iter()
            .map(|(name, value)| {
                let name: &'a Spanned<DeString<'a>> = name;
                (
                    &**name.get_ref(),
                    Self::named(self.file, &self.key, name, value),
                )
            })
            .collect();
        fields.sort_by_key(|(_, entry)| entry.key_at);
        Some(fields)
    }

    /// A table with known keys.
    pub(super) fn section(&self, keys: &'static Keys) -> Option<Section<'a>> {
        let table = self.table()?;
        Some(Section::new(self, table, keys))
    }

    fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => self.expected("a table"),
        }
    }
}

/// A duration above zero.
pub(super) fn duration_of(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("the duration is zero: write a longer one".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err(format!(
            "`{text}` is not a duration: write a number and its unit, as in \"250ms\" or \"30s\""
        )),
    }
}

/// The words that can be used now.
fn listed<T>(words: &[(&'static str, Option<T>)]) -> String {
    let known: Vec<_> = words
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    format!("use {}", known.join(" or "))
}
