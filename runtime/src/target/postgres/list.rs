//! Rows of a table, listed in the order of their keys.

use super::document::row;
use super::fault::Fault;
use super::statements::Statements;
use super::{Postgres, database, shown, unread};
use crate::target::list::{BYTES, Listed, Page, Position, Wanted};
use crate::target::{Found, ReadError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_postgres::Row;

impl Postgres {
    pub(in crate::target) async fn list(&self, wanted: &Wanted<'_>) -> Result<Page, ReadError> {
        let given = self.given(wanted)?;
        let text = Statements::list(
            self.table().settings(),
            wanted.entity.is_some(),
            wanted.after.is_none(),
        );
        let limit = i64::try_from(wanted.limit()).unwrap_or(i64::MAX);
        let bytes = i64::try_from(BYTES).unwrap_or(i64::MAX);
        let read = async {
            let session = self.database().session().await?;
            let values: [database::Value<'_>; 4] = [&given, &wanted.prefix, &limit, &bytes];
            let rows = session.all(&text, &values).await?;
            session.give_back();
            Ok::<_, Fault>(rows)
        };
        let rows = read.await.map_err(unread)?;
        let mut page = Page::default();
        if let Some(last) = rows.last() {
            let n_there: i64 = last.try_get(5).unwrap_or(limit);
            let is_cut = usize::try_from(n_there).is_ok_and(|n_there| n_there > rows.len());
            if n_there >= limit || is_cut {
                page.next = Some(position_of(last)?);
            }
        }
        page.entities = rows.iter().map(listed).collect::<Result<_, _>>()?;
        Ok(page)
    }

    /// The kind that is wanted, and the key behind which the page begins, as a row.
    fn given(&self, wanted: &Wanted<'_>) -> Result<String, ReadError> {
        let settings = self.table().settings();
        let name = self.table().name();
        if settings.key.is_empty() {
            return Err(ReadError::Invalid(format!(
                "table `{name}` has no `key`: its rows are records, which cannot be listed"
            )));
        }
        if let (None, Some(entity)) = (&settings.entity, wanted.entity) {
            return Err(ReadError::Invalid(format!(
                "table `{name}` holds one kind of entity and has no column for `{}`: name none",
                entity.escape_debug()
            )));
        }
        let mut given: Vec<(&str, String)> = Vec::new();
        if let Some(position) = wanted.after {
            let columns = settings.key_columns();
            let parts = parts_of(position).ok_or_else(|| position.unknown())?;
            given.extend(columns.zip(parts));
            if given.len() != settings.key_columns().count() {
                return Err(position.unknown());
            }
        }
        if let Some((column, entity)) = settings.entity.as_deref().zip(wanted.entity) {
            given.retain(|(known, _)| *known != column);
            given.push((column, entity.to_owned()));
        }
        Ok(row(given.into_iter(), &[]))
    }
}

fn listed(row: &Row) -> Result<Listed, ReadError> {
    Ok(Listed {
        entity: row.try_get(2).map_err(unreadable)?,
        key: row.try_get(3).map_err(unreadable)?,
        found: Found {
            content_type: "application/json".to_owned(),
            etag: row.try_get(0).unwrap_or_default(),
            data: shown(row),
        },
    })
}

/// The texts of the key columns as a position.
fn position_of(row: &Row) -> Result<Position, ReadError> {
    let parts: Vec<String> = row.try_get(4).map_err(unreadable)?;
    let parts = serde_json::Value::from(parts).to_string();
    Ok(Position::new(URL_SAFE_NO_PAD.encode(parts)))
}

fn parts_of(position: &Position) -> Option<Vec<String>> {
    let parts = URL_SAFE_NO_PAD.decode(position.as_str()).ok()?;
    serde_json::from_slice(&parts).ok()
}

fn unreadable(error: tokio_postgres::Error) -> ReadError {
    ReadError::Unavailable(format!("reading a row of a list: {error}"))
}
