//! Rows as the database would give them back, without writing any.

use super::document::whole;
use super::fault::{Fault, Meaning};
use super::statements::Statements;
use super::{Postgres, document, unread};
use crate::target::ReadError;
use crate::target::preview::{Draft, Preview};
use bytes::Bytes;
use tokio_postgres::Row;

impl Postgres {
    pub(in crate::target) async fn preview(
        &self,
        drafts: &[Draft],
    ) -> Result<Vec<Result<Preview, String>>, ReadError> {
        let rows: Vec<_> = drafts.iter().map(|draft| self.row_of(draft)).collect();
        let fit: Vec<&str> = rows.iter().flatten().map(String::as_str).collect();
        let mut seen = match self.seen_as(&fit).await {
            Ok(seen) => seen.into_iter().map(Ok).collect(),
            // One that does not fit fails all of them: which one is told by each alone.
            Err(fault) if fault.meaning == Meaning::Refused => {
                let mut seen = Vec::new();
                for row in &fit {
                    seen.push(self.seen_alone(row).await.map_err(unread)?);
                }
                seen
            }
            Err(fault) => return Err(unread(fault)),
        }
        .into_iter();
        let none = || Err("the database did not say".to_owned());
        let each = rows.into_iter().map(|row| match row {
            Ok(_) => seen.next().unwrap_or_else(none),
            Err(why) => Err(why),
        });
        Ok(each.collect())
    }

    pub(in crate::target) fn holds_kinds(&self) -> bool {
        self.table().settings().entity.is_some()
    }

    fn row_of(&self, draft: &Draft) -> Result<String, String> {
        let content = match &draft.data {
            Some(data) => whole(&self.table().settings().content, data, "an upsert")?,
            None => Vec::new(),
        };
        let entity = draft.entity.as_deref();
        self.table().row_with(entity, &draft.key, &content)
    }

    async fn seen_alone(&self, row: &str) -> Result<Result<Preview, String>, Fault> {
        match self.seen_as(&[row]).await {
            Ok(seen) => {
                let first = seen.into_iter().next();
                Ok(first.ok_or_else(|| "the database did not say".to_owned()))
            }
            Err(fault) if fault.meaning == Meaning::Refused => Ok(Err(fault.text)),
            Err(fault) => Err(fault),
        }
    }

    async fn seen_as(&self, rows: &[&str]) -> Result<Vec<Preview>, Fault> {
        let text = Statements::preview(self.table().settings());
        let session = self.database().session().await?;
        let seen = session.all(&text, &[&rows]).await?;
        session.give_back();
        Ok(seen.iter().map(preview_of).collect())
    }
}

fn preview_of(row: &Row) -> Preview {
    let text = |at: usize| row.try_get::<_, Option<String>>(at).ok().flatten();
    Preview {
        place: serde_json::json!([text(2), text(3).unwrap_or_default()]).to_string(),
        data: super::shown(row),
    }
}

/// What a patch makes of an entity; none: of nothing.
///
/// # Errors
/// When one of them is no JSON.
pub(in crate::target) fn merged(current: Option<&[u8]>, patch: &[u8]) -> Result<Bytes, String> {
    document::merged_whole(current, patch).map(Bytes::from)
}
