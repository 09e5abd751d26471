//! The keys of a `postgres` target.

use super::entry::Entry;
use super::secrets;
use super::section::Section;
use crate::target::Tls;
use crate::target::postgres::{Content, Settings, TableName, Url};
use toml::de::DeValue;

/// The keys that no other kind has.
pub(super) const KEYS: [&str; 7] = [
    "table",
    "key",
    "columns",
    "data",
    "entity",
    "version",
    "connections",
];

/// How many connections a database gets.
const CONNECTIONS: u32 = 8;
/// The column that holds a whole entity.
const DATA: &str = "data";

pub(super) fn read(section: &Section<'_>, url: Option<Url>, tls: Option<Tls>) -> Option<Settings> {
    let table = section.read("table", table);
    let key = section.read("key", key).unwrap_or_default();
    let columns = section.read("columns", columns);
    let data = section.read("data", Entry::text);
    if section.has("columns") {
        let why = "`columns` already says where the entity is kept: remove one of the two";
        section.refuse(&["data"], why);
    }
    let content = columns.map_or_else(
        || Content::Document(data.unwrap_or_else(|| DATA.to_owned())),
        Content::Columns,
    );
    let entity = section.read("entity", Entry::text);
    let version = section.read("version", Entry::text);
    check_columns(
        section,
        &key,
        entity.as_deref(),
        &content,
        version.as_deref(),
    );
    Some(Settings {
        connections: section
            .read("connections", Entry::positive_count)
            .unwrap_or(CONNECTIONS),
        tls,
        url: url?,
        table: table?,
        key,
        entity,
        content,
        version,
    })
}

/// Notes what is missing.
pub(super) fn check(section: &Section<'_>) {
    let advice = "say where the database is, as in \"postgres://USER:PASSWORD@HOST/DATABASE\"";
    section.demand("url", advice);
    section.demand("table", "name the table");
    if section.has("entity") && !section.has("key") {
        let why = "without `key` no kinds of entity are told apart: remove it, or add `key`";
        section.refuse(&["entity"], why);
    }
}

/// Each column has one meaning.
fn check_columns(
    section: &Section<'_>,
    key: &[String],
    entity: Option<&str>,
    content: &Content,
    version: Option<&str>,
) {
    let mut meant: Vec<&str> = key.iter().map(String::as_str).chain(entity).collect();
    let contents: &[String] = match content {
        Content::Document(column) => std::slice::from_ref(column),
        Content::Columns(columns) => columns,
    };
    for column in contents.iter().map(String::as_str).chain(version) {
        if meant.contains(&column) {
            section.report(format!(
                "column `{column}` is named for two things: an entity's key, its content and its \
                 version stand in columns of their own"
            ));
        }
        meant.push(column);
    }
}

/// Where the database is. A wrong one is not shown: it may hold a password.
pub(super) fn url(entry: &Entry<'_>) -> Option<Url> {
    let text = secrets::anywhere(entry)?;
    match Url::new(text.expose()) {
        Ok(url) => Some(url),
        Err(fault) => {
            entry.report(format!("the URL {fault}"));
            None
        }
    }
}

fn table(entry: &Entry<'_>) -> Option<TableName> {
    let text = entry.text()?;
    if text.split('.').count() > 2 || text.split('.').any(str::is_empty) {
        entry.report("write the table as \"TABLE\" or \"SCHEMA.TABLE\"");
        return None;
    }
    Some(TableName::new(&text))
}

/// A column, or several.
fn key(entry: &Entry<'_>) -> Option<Vec<String>> {
    match entry.value {
        DeValue::Array(_) => columns(entry),
        _ => Some(vec![entry.text()?]),
    }
}

fn columns(entry: &Entry<'_>) -> Option<Vec<String>> {
    let columns: Vec<_> = entry
        .texts()?
        .into_iter()
        .map(|(_, column)| column)
        .collect();
    if columns.is_empty() {
        entry.report("the list is empty: name at least one column");
        return None;
    }
    Some(columns)
}
