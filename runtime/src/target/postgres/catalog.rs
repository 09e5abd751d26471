//! What a database holds before a target may write it: looked at, or made.

use super::config::{Content, Settings, quote};
use super::database::{Database, Session};
use super::fault::Fault;
use super::statements::{OWN, OWN_TABLES, SCHEMA};
use crate::provision::Create;

/// Keeps two runtimes from making the same table at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('syncline_meta.catalog'))";

const COLUMNS: &str = "\
    SELECT a.attname::text, pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = pg_catalog.to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped";

/// The columns of each index that can tell one row from all others.
const UNIQUE: &str = "\
    SELECT (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") \
      FROM unnest(i.indkey::int2[]) AS k(n) \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n) \
    FROM pg_catalog.pg_index i WHERE i.indrelid = pg_catalog.to_regclass($1::text) \
      AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL \
      AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts";

/// Which of the rights in `$2` the user does not have.
const RIGHTS: &str = "\
    SELECT p FROM unnest($2::text[]) AS p \
    WHERE NOT pg_catalog.has_table_privilege(pg_catalog.to_regclass($1::text), p)";

/// Sees to it that the tables are there, as `create` says.
pub(super) async fn prepare(
    database: &Database,
    settings: &Settings,
    create: Create,
) -> Result<(), String> {
    let said = |fault: Fault| fault.text;
    database.probe().await.map_err(said)?;
    if create == Create::Adopt {
        return Ok(());
    }
    let session = database.session().await.map_err(said)?;
    if create == Create::Missing {
        make(&session, settings).await?;
    }
    check_own(&session).await?;
    check_table(&session, settings).await?;
    session.give_back();
    Ok(())
}

async fn make(session: &Session, settings: &Settings) -> Result<(), String> {
    let failed = |what: &str, fault: Fault| format!("making {what}: {}", fault.text);
    let mut missing = Vec::new();
    if !missing_own(session).await?.is_empty() {
        missing.push((
            format!("Syncline's own tables in `{SCHEMA}`"),
            OWN.to_owned(),
        ));
    }
    if !has_table(session, &settings.table.quoted()).await? {
        missing.push((format!("table `{}`", settings.table), table_of(settings)?));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let begun = session.plainly("BEGIN").await;
    begun.map_err(|fault| failed("tables", fault))?;
    let locked = session.one(LOCK, &[]).await;
    locked.map_err(|fault| failed("tables", fault))?;
    for (what, text) in &missing {
        let made = session.plainly(text).await;
        made.map_err(|fault| failed(what, fault))?;
        tracing::info!(table = %settings.table, "made {what}");
    }
    let committed = session.plainly("COMMIT").await;
    committed.map_err(|fault| failed("tables", fault))
}

/// The statement that makes a target's table. Only documents have columns of known types.
fn table_of(settings: &Settings) -> Result<String, String> {
    let Content::Document(data) = &settings.content else {
        return Err(format!(
            "table `{}` does not exist, and what types its columns have is not known: make it",
            settings.table
        ));
    };
    let keys: Vec<_> = settings.key_columns().map(quote).collect();
    let column = |key: &String| format!("{key} text NOT NULL");
    let mut columns: Vec<_> = keys.iter().map(column).collect();
    columns.push(format!("{} jsonb", quote(data)));
    if let Some(version) = &settings.version {
        columns.push(format!("{} bigint NOT NULL DEFAULT 1", quote(version)));
    }
    if !keys.is_empty() {
        columns.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    }
    let (table, columns) = (settings.table.quoted(), columns.join(", "));
    Ok(format!("CREATE TABLE IF NOT EXISTS {table} ({columns})"))
}

async fn missing_own(session: &Session) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    for name in OWN_TABLES {
        let table = format!("{SCHEMA}.{name}");
        if !has_table(session, &table).await? {
            missing.push(format!("`{table}`"));
        }
    }
    Ok(missing)
}

async fn check_own(session: &Session) -> Result<(), String> {
    let missing = missing_own(session).await?;
    if !missing.is_empty() {
        return Err(format!(
            "Syncline's own tables are missing: {}: make them with `own.sql`, or set \
             `create = true`",
            missing.join(", ")
        ));
    }
    for name in OWN_TABLES {
        let (table, rights) = (
            format!("{SCHEMA}.{name}"),
            ["SELECT", "INSERT", "UPDATE", "DELETE"],
        );
        check_rights(session, &table, &table, &rights).await?;
    }
    Ok(())
}

async fn check_table(session: &Session, settings: &Settings) -> Result<(), String> {
    let (name, quoted) = (settings.table.to_string(), settings.table.quoted());
    if !has_table(session, &quoted).await? {
        return Err(format!(
            "table `{name}` does not exist: make it, or set `create = true`"
        ));
    }
    let rows = session.all(COLUMNS, &[&quoted]).await;
    let rows = rows.map_err(|fault| format!("reading the columns of `{name}`: {}", fault.text))?;
    let columns: Vec<(String, String)> = rows
        .iter()
        .filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)))
        .collect();
    let named = settings
        .key_columns()
        .chain(settings.content.columns().iter().map(String::as_str));
    let named = named.chain(settings.version.as_deref());
    let type_of = |column: &str| columns.iter().find(|(known, _)| known == column);
    let missing: Vec<_> = named
        .filter(|column| type_of(column).is_none())
        .map(|column| format!("`{column}`"))
        .collect();
    if !missing.is_empty() {
        let known: Vec<_> = columns.iter().map(|(column, _)| column.as_str()).collect();
        return Err(format!(
            "table `{name}` has no column {}, only `{}`",
            missing.join(", "),
            known.join("`, `")
        ));
    }
    if let Content::Document(column) = &settings.content
        && let Some((_, found)) = type_of(column).filter(|(_, found)| !found.starts_with("json"))
    {
        return Err(format!(
            "column `{column}` of table `{name}` is of type {found}, and a whole entity needs \
             jsonb: name another column as `data`, or list `columns`"
        ));
    }
    let rights: &[&str] = match settings.key.is_empty() {
        true => &["INSERT"],
        false => &["SELECT", "INSERT", "UPDATE", "DELETE"],
    };
    check_rights(session, &name, &quoted, rights).await?;
    check_unique(session, settings).await
}

/// A key stands for one row: only the database can promise that.
async fn check_unique(session: &Session, settings: &Settings) -> Result<(), String> {
    if settings.key.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<_> = settings.key_columns().map(str::to_owned).collect();
    keys.sort();
    let rows = session.all(UNIQUE, &[&settings.table.quoted()]).await;
    let rows = rows.map_err(|fault| {
        format!(
            "reading the indexes of `{}`: {}",
            settings.table, fault.text
        )
    })?;
    let found = rows.iter().any(|row| {
        let columns: Option<Vec<String>> = row.try_get(0).ok().flatten();
        columns.as_ref() == Some(&keys)
    });
    if found {
        return Ok(());
    }
    Err(format!(
        "table `{}` has no primary key or unique index of exactly `{}`, so that a key may stand for \
         several rows: make one, or leave `key` out to append only",
        settings.table,
        keys.join("`, `")
    ))
}

async fn check_rights(
    session: &Session,
    name: &str,
    quoted: &str,
    rights: &[&str],
) -> Result<(), String> {
    let rows = session.all(RIGHTS, &[&quoted, &rights]).await;
    let rows = rows.map_err(|fault| format!("reading the rights on `{name}`: {}", fault.text))?;
    let missing: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the user may not {} on table `{name}`: grant it",
            missing.join(", ")
        )),
    }
}

async fn has_table(session: &Session, name: &str) -> Result<bool, String> {
    is_there(session, "SELECT to_regclass($1::text) IS NOT NULL", name).await
}

async fn is_there(session: &Session, text: &str, name: &str) -> Result<bool, String> {
    let row = session.one(text, &[&name]).await;
    let row = row.map_err(|fault| format!("looking for `{name}`: {}", fault.text))?;
    Ok(row.is_some_and(|row| row.try_get(0).unwrap_or(false)))
}
