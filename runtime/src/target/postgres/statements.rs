//! The statements for one table, written once. Names are quoted, values are parameters: the row as a
//! JSON text, which the server turns into the types of the columns.

use super::config::{Content, Settings, quote};

/// Where Syncline keeps its own tables.
pub(super) const SCHEMA: &str = "syncline_meta";

/// What Syncline keeps in a database beside the tables of its targets: run as a whole, and again.
pub(super) const OWN: &str = include_str!("own.sql");

/// The tables among it.
pub(super) const OWN_TABLES: [&str; 3] = ["seen", "appended", "barrier"];

/// Takes note that an effect is applied to an entity, unless it was before, or a later event of the
/// same source was. `$2` to `$11` are of `Seen`.
const SEEN: &str = "\
    INSERT INTO syncline_meta.seen AS s \
      (relation, entity, key, effect, stream, created, sequence, ordering) \
    VALUES ($2::text, $3::text, $4::text, $5::text, $6::text, $7::int8, $8::int8, $9::text) \
    ON CONFLICT (relation, entity, key) DO UPDATE SET \
      effect = EXCLUDED.effect, at = now(), \
      (stream, created, sequence, ordering) = (SELECT \
        CASE WHEN later THEN s.stream ELSE EXCLUDED.stream END, \
        CASE WHEN later THEN s.created ELSE EXCLUDED.created END, \
        CASE WHEN later THEN s.sequence ELSE EXCLUDED.sequence END, \
        CASE WHEN later THEN s.ordering ELSE EXCLUDED.ordering END \
        FROM (SELECT s.stream <> '' AND s.stream = EXCLUDED.stream \
          AND s.created = EXCLUDED.created AND s.sequence > EXCLUDED.sequence AS later) AS l) \
    WHERE s.effect <> EXCLUDED.effect AND NOT (\
      $10::bool AND ($11::bool OR s.ordering = EXCLUDED.ordering) AND s.stream <> '' \
      AND s.stream = EXCLUDED.stream AND s.created = EXCLUDED.created \
      AND s.sequence > EXCLUDED.sequence) \
    RETURNING 1";

/// Takes note that a record was appended, unless it was before. `$2` is its effect.
const APPENDED: &str = "\
    INSERT INTO syncline_meta.appended (effect) VALUES ($2::text) ON CONFLICT DO NOTHING RETURNING 1";

/// The statements for one table. `$1` is the row as JSON in all of them.
#[derive(Debug)]
pub(super) struct Statements {
    /// Create or replace, whatever there is.
    pub(super) upsert: String,
    /// The same, together with taking note: nothing happens to what was seen.
    pub(super) seen_upsert: String,
    /// Only taking note; it takes the row of `$1` to be the same as the others do.
    pub(super) seen: String,
    /// Create, unless it is there.
    pub(super) insert: String,
    /// Change the columns that `$1` holds.
    pub(super) update: String,
    pub(super) delete: String,
    pub(super) append: String,
    /// The same, together with taking note: nothing happens to what was appended.
    pub(super) seen_append: String,
    /// Etag, the entity as a lookup shows it, and what a merge changes.
    pub(super) read: String,
    /// The same, holding the row until the end of the transaction.
    pub(super) read_to_change: String,
}

impl Statements {
    pub(super) fn new(settings: &Settings) -> Self {
        let parts = Parts::new(settings);
        let Parts {
            table,
            columns,
            values,
            on_key,
            row,
            ..
        } = &parts;
        let insert = format!("INSERT INTO {table} AS t ({columns}) SELECT {values} FROM {row}");
        let replace = parts.replace();
        let append = insert.clone();
        let read = parts.read();
        Self {
            upsert: format!("{insert} {replace}"),
            seen_upsert: format!("WITH seen AS ({SEEN}) {insert}, seen {replace}"),
            seen: format!("WITH doc AS (SELECT $1::text) {SEEN}"),
            insert: format!(
                "{insert} ON CONFLICT ({}) DO NOTHING",
                parts.keys.join(", ")
            ),
            update: parts.update(),
            delete: format!("DELETE FROM {table} AS t USING {row} WHERE {on_key}"),
            seen_append: format!("WITH seen AS ({APPENDED}) {append}, seen"),
            append,
            read_to_change: format!("{read} FOR UPDATE OF t"),
            read,
        }
    }

    /// Which of these columns cannot take its value: `$1` holds one at a time.
    pub(super) fn probe(settings: &Settings) -> String {
        let table = settings.table.quoted();
        format!("SELECT 1 FROM jsonb_populate_record(NULL::{table}, $1::text::jsonb) AS r")
    }

    /// What rows would look like, without writing them: nothing, the entity, its kind and its key. `$1` are the rows.
    pub(super) fn preview(settings: &Settings) -> String {
        let parts = Parts::new(settings);
        let (shown, _) = parts.entity();
        let (table, kind, key) = (&parts.table, kind_text(settings), key_text(settings));
        format!(
            "SELECT NULL, {shown}, {kind}, {key} \
             FROM unnest($1::text[]) WITH ORDINALITY AS d(doc, n), \
             LATERAL jsonb_populate_record(NULL::{table}, d.doc::jsonb) AS t ORDER BY d.n"
        )
    }

    /// A page of a list: etag, entity, kind, key, and the key columns as texts, of each row; last how many rows there are
    /// where fewer would not do. In the order of the key columns as the database has it, so that it need not sort.
    /// `$1` is a row with the kind that is wanted and the key behind which the page begins, `$2` what keys
    /// begin with, `$3` how many rows are wanted, `$4` after how many bytes the page ends.
    pub(super) fn list(settings: &Settings, is_of_kind: bool, is_first: bool) -> String {
        let parts = Parts::new(settings);
        let (table, row) = (&parts.table, &parts.row);
        let all = |of: &dyn Fn(&String) -> String, between: &str| {
            let columns: Vec<_> = parts.keys.iter().map(of).collect();
            columns.join(between)
        };
        let (etag, (shown, _)) = (parts.etag(), parts.entity());
        let (key, kind) = (key_text(settings), kind_text(settings));
        // Taken by themselves they are constants for the planner, which goes along the index then.
        let given = |column: &String| format!("(SELECT r.{column} FROM {row})");
        // The row is looked at by some of these statements only, and none may leave its type open.
        let mut conditions = vec![
            format!("starts_with({key}, $2::text)"),
            "$1::text IS NOT NULL".to_owned(),
        ];
        conditions.extend(parts.keys.iter().map(|key| format!("t.{key} IS NOT NULL")));
        if let Some(column) = settings.entity.as_ref().filter(|_| is_of_kind) {
            let column = quote(column);
            conditions.push(format!("t.{column} = {}", given(&column)));
        }
        if !is_first {
            let (columns, values) = (all(&|key| format!("t.{key}"), ", "), all(&given, ", "));
            conditions.push(format!("({columns}) > ({values})"));
        }
        let numbered = parts.keys.iter().enumerate();
        let sorted: Vec<_> = numbered
            .map(|(n, key)| format!("t.{key} AS o{n}"))
            .collect();
        let order: Vec<_> = (0..sorted.len()).map(|n| format!("o{n}")).collect();
        let (sorted, order) = (sorted.join(", "), order.join(", "));
        let texts = all(&|key| format!("t.{key}::text"), ", ");
        let (conditions, in_order) = (
            conditions.join(" AND "),
            all(&|key| format!("t.{key}"), ", "),
        );
        format!(
            "SELECT etag, shown, kind, key, parts, n FROM (\
             SELECT q.*, count(*) OVER () AS n, sum(octet_length(shown)) OVER (ORDER BY {order} \
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (\
             SELECT {etag} AS etag, {shown} AS shown, {kind} AS kind, {key} AS key, \
             ARRAY[{texts}]::text[] AS parts, {sorted} FROM {table} AS t WHERE {conditions} \
             ORDER BY {in_order} LIMIT $3::int8) AS q) AS p \
             WHERE coalesce(before, 0) < $4::int8 ORDER BY {order}"
        )
    }
}

/// The kind of entity in a row `t`.
fn kind_text(settings: &Settings) -> String {
    match &settings.entity {
        Some(column) => format!("t.{}::text", quote(column)),
        None => "NULL::text".to_owned(),
    }
}

/// The key of a row `t` as effects name it: what its column holds, or of several a JSON list.
fn key_text(settings: &Settings) -> String {
    match settings.key.as_slice() {
        [column] => format!("t.{}::text", quote(column)),
        columns => {
            let item = |column: &String| format!("to_json(t.{})::text", quote(column));
            let items: Vec<_> = columns.iter().map(item).collect();
            format!("('[' || {} || ']')", items.join(" || ',' || "))
        }
    }
}

/// What the statements are put together from.
struct Parts<'a> {
    settings: &'a Settings,
    table: String,
    keys: Vec<String>,
    contents: Vec<String>,
    /// Every column that is written, and the values for them.
    columns: String,
    values: String,
    on_key: String,
    /// The row that `$1` becomes, as `r`.
    row: String,
}

impl<'a> Parts<'a> {
    fn new(settings: &'a Settings) -> Self {
        let table = settings.table.quoted();
        let keys: Vec<_> = settings.key_columns().map(quote).collect();
        let contents: Vec<_> = settings
            .content
            .columns()
            .iter()
            .map(|c| quote(c))
            .collect();
        let all: Vec<_> = keys.iter().chain(&contents).map(String::as_str).collect();
        let list = |columns: &[&str], of: fn(&str) -> String, between: &str| {
            let parts: Vec<_> = columns.iter().map(|column| of(column)).collect();
            parts.join(between)
        };
        let keys_of: Vec<_> = keys.iter().map(String::as_str).collect();
        Self {
            columns: list(&all, |column| column.to_owned(), ", "),
            values: list(&all, |column| format!("r.{column}"), ", "),
            on_key: list(&keys_of, |key| format!("t.{key} = r.{key}"), " AND "),
            row: format!("jsonb_populate_record(NULL::{table}, $1::text::jsonb) AS r"),
            settings,
            table,
            keys,
            contents,
        }
    }

    /// What goes on counting the versions of an entity, after other assignments.
    fn count(&self) -> String {
        self.settings
            .version
            .as_ref()
            .map_or_else(String::new, |column| {
                let column = quote(column);
                format!(", {column} = t.{column} + 1")
            })
    }

    fn replace(&self) -> String {
        let assigned = |column: &String| format!("{column} = EXCLUDED.{column}");
        let assigned: Vec<_> = self.contents.iter().map(assigned).collect();
        let keys = self.keys.join(", ");
        let (assigned, count) = (assigned.join(", "), self.count());
        format!("ON CONFLICT ({keys}) DO UPDATE SET {assigned}{count}")
    }

    fn update(&self) -> String {
        let names = self.settings.content.columns();
        let assigned = self.contents.iter().zip(names).map(|(column, name)| {
            let name = super::config::literal(name);
            format!("{column} = CASE WHEN d.doc ? {name} THEN r.{column} ELSE t.{column} END")
        });
        let assigned: Vec<_> = assigned.collect();
        let (table, row, on_key) = (&self.table, &self.row, &self.on_key);
        let (assigned, count) = (assigned.join(", "), self.count());
        format!(
            "UPDATE {table} AS t SET {assigned}{count} \
             FROM {row}, (SELECT $1::text::jsonb AS doc) AS d WHERE {on_key}"
        )
    }

    /// The etag of a row `t`.
    fn etag(&self) -> String {
        match &self.settings.version {
            Some(column) => format!("t.{}::text", quote(column)),
            None => "t.xmin::text".to_owned(),
        }
    }

    /// The entity in a row `t` as a lookup shows it, and what a merge changes.
    fn entity(&self) -> (String, String) {
        let object = |columns: Vec<&String>| {
            let columns: Vec<_> = columns.iter().map(|column| format!("t.{column}")).collect();
            let columns = columns.join(", ");
            format!("(SELECT row_to_json(c) FROM (SELECT {columns}) AS c)::text")
        };
        match &self.settings.content {
            Content::Document(column) => {
                let column = format!("t.{}::text", quote(column));
                (column.clone(), column)
            }
            Content::Columns(_) => (
                object(self.keys.iter().chain(&self.contents).collect()),
                object(self.contents.iter().collect()),
            ),
        }
    }

    fn read(&self) -> String {
        let (etag, (shown, merged)) = (self.etag(), self.entity());
        let (table, row, on_key) = (&self.table, &self.row, &self.on_key);
        format!("SELECT {etag}, {shown}, {merged} FROM {table} AS t, {row} WHERE {on_key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::postgres::config::{TableName, Url};

    #[test]
    fn every_table_that_is_looked_for_is_made() {
        for table in OWN_TABLES {
            let made = format!("CREATE TABLE IF NOT EXISTS {SCHEMA}.{table} (");
            assert!(OWN.contains(&made), "{table}");
        }
        assert_eq!(OWN.matches("CREATE TABLE").count(), OWN_TABLES.len());
    }

    #[test]
    fn names_are_quoted_wherever_they_stand() {
        let name = |text: &str| format!("{text}\"; --");
        let settings = Settings {
            url: Url::new("postgres://db/d").unwrap(),
            tls: None,
            connections: 1,
            table: TableName::new(&name("s.t")),
            key: vec![name("k")],
            entity: Some(name("e")),
            content: Content::Columns(vec!["it's".to_owned()]),
            version: Some(name("v")),
        };
        let lists = [true, false].map(|is_first| Statements::list(&settings, true, is_first));
        let preview = Statements::preview(&settings);
        let all = format!("{:?} {lists:?} {preview:?}", Statements::new(&settings));
        // In each statement, a quote within a name stands twice.
        let all = all.replace("\\\"", "\"");
        for (at, _) in all.match_indices("\"; --") {
            assert!(
                all[..at].ends_with('"'),
                "{}",
                &all[at.saturating_sub(20)..]
            );
        }
        assert!(all.contains("? 'it''s'"), "{all}");
    }
}
