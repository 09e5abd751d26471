//! How a table is reached, and which of its columns hold what.

use crate::tls::Tls;
use std::fmt;

/// The settings of a `postgres` target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the database is.
    pub url: Url,
    /// How the connection is encrypted; none: it is not.
    pub tls: Option<Tls>,
    /// How many connections there are at most, for all targets in this database.
    pub connections: u32,
    /// The table.
    pub table: TableName,
    /// The columns that an entity's key stands in; none: records are only appended.
    pub key: Vec<String>,
    /// The column for the kind of entity, where the table holds several.
    pub entity: Option<String>,
    /// What an entity is made of.
    pub content: Content,
    /// The column that counts an entity's versions; none: the row's `xmin` is its etag.
    pub version: Option<String>,
}

/// What an entity is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One column of type `jsonb` or `json` holds it whole.
    Document(String),
    /// Each of these columns holds the member of its name.
    Columns(Vec<String>),
}

impl Settings {
    /// Whether both are in one database, as far as they say.
    #[must_use]
    pub fn shares_database(&self, other: &Self) -> bool {
        (&self.url, &self.tls) == (&other.url, &other.tls)
    }

    /// The columns that tell one entity from another.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.entity.iter().chain(&self.key).map(String::as_str)
    }
}

impl Content {
    /// The columns that hold it.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Document(column) => std::slice::from_ref(column),
            Self::Columns(columns) => columns,
        }
    }
}

/// Where a database is. It may hold a password, which is not shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url(String);

impl Url {
    /// A URL that tokio-postgres can read.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn new(text: &str) -> Result<Self, String> {
        let config: tokio_postgres::Config = text.parse().map_err(|_| {
            "is none: write it as in \"postgres://USER:PASSWORD@HOST:5432/DATABASE\"".to_owned()
        })?;
        if config.get_hosts().is_empty() {
            return Err("names no host".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err("names no database after its last slash".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url(..)")
    }
}

/// A table, perhaps in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema; none: the first of the search path that has the table.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

impl TableName {
    /// `TABLE` or `SCHEMA.TABLE`, as they are written in the catalog.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, table)) => Self {
                schema: Some(schema.to_owned()),
                table: table.to_owned(),
            },
            None => Self {
                schema: None,
                table: text.to_owned(),
            },
        }
    }

    /// As it stands in a statement.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.table)),
            None => quote(&self.table),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

/// An identifier as it stands in a statement, whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as it stands in a statement, where no parameter can.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!(" E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(
            quote("a\"; DROP TABLE x; --"),
            "\"a\"\"; DROP TABLE x; --\""
        );
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
        let name = TableName::new("crm.cus\"tomers");
        assert_eq!(name.quoted(), "\"crm\".\"cus\"\"tomers\"");
    }

    #[test]
    fn a_url_is_never_shown() {
        let url = Url::new("postgres://me:hunter2@db/crm").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        for bad in [
            "postgres:///crm",
            "postgres://db",
            "http://db/crm",
            "postgres://db:port/crm",
        ] {
            let fault = Url::new(bad).unwrap_err();
            assert!(!fault.contains(bad), "{fault}");
        }
    }
}
