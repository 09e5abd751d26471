//! One table: effects become rows of it. Used by single effects and within transactions.

use super::config::Settings;
use super::database::Session;
use super::document::{merged, parts_of_key, row, whole};
use super::fault::Fault;
use super::statements::Statements;
use crate::event::{Effect, Operation, Precondition};
use crate::target::Answer;

/// How often an effect starts again from a fresh read, when the row comes and goes meanwhile.
const FRESH_READS: usize = 5;

/// What became of one effect within a transaction.
#[derive(Debug)]
pub(super) enum Written {
    /// It is in the transaction.
    Done,
    /// The table was asked and this is the answer; the transaction is to be taken back.
    Not(Answer),
}

/// A table with its statements.
#[derive(Debug)]
pub(super) struct Table {
    settings: Settings,
    name: String,
    statements: Statements,
    probe: String,
}

/// A row as it is now.
struct Current {
    etag: String,
    content: Option<String>,
}

impl Table {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            name: settings.table.to_string(),
            statements: Statements::new(settings),
            probe: Statements::probe(settings),
            settings: settings.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }

    pub(super) fn probe(&self) -> &str {
        &self.probe
    }

    /// Whether an effect can be one on this table at all.
    pub(super) fn is_for(&self, effect: &Effect) -> Result<(), String> {
        if self.settings.key.is_empty() && effect.operation != Operation::Append {
            return Err(format!(
                "table `{}` has no `key`: only `append` is possible",
                self.name
            ));
        }
        if effect.operation == Operation::Append && effect.precondition.is_some() {
            return Err(
                "an appended record has no precondition: nothing is there before".to_owned(),
            );
        }
        Ok(())
    }

    /// The row that an effect makes, or where it rests on what is there, the row of its key.
    pub(super) fn row(&self, effect: &Effect) -> Result<String, String> {
        let what = match effect.operation {
            Operation::Upsert => "an upsert",
            Operation::Append => "an append",
            Operation::Merge | Operation::Delete => {
                return self.key_row(effect.entity.as_deref(), &effect.key);
            }
        };
        let content = whole(&self.settings.content, &effect.payload, what)?;
        self.row_of(effect.entity.as_deref(), &effect.key, &content)
    }

    /// The row of a key without content.
    pub(super) fn key_row(&self, entity: Option<&str>, key: &str) -> Result<String, String> {
        if self.settings.key.is_empty() {
            return Err(format!(
                "table `{}` has no `key` to find a row by",
                self.name
            ));
        }
        self.row_of(entity, key, &[])
    }

    /// The row of a key with this content.
    pub(super) fn row_with(
        &self,
        entity: Option<&str>,
        key: &str,
        content: &[(String, String)],
    ) -> Result<String, String> {
        self.key_row(entity, key)?;
        self.row_of(entity, key, content)
    }

    fn row_of(
        &self,
        entity: Option<&str>,
        key: &str,
        content: &[(String, String)],
    ) -> Result<String, String> {
        let keys = self.keys(entity, key)?;
        let keys = keys.into_iter();
        Ok(row(keys, content))
    }

    /// The key columns with their parts of the key.
    fn keys(&self, entity: Option<&str>, key: &str) -> Result<Vec<(&str, String)>, String> {
        let mut keys = Vec::new();
        match (&self.settings.entity, entity) {
            (Some(column), Some(entity)) => keys.push((column.as_str(), entity.to_owned())),
            (Some(column), None) => {
                return Err(format!(
                    "no kind of entity is named, and column `{column}` of table `{}` holds it",
                    self.name
                ));
            }
            (None, Some(entity)) => {
                return Err(format!(
                    "table `{}` holds one kind of entity and has no column for `{}`: name one as \
                     `entity` of the target",
                    self.name,
                    entity.escape_debug()
                ));
            }
            (None, None) => {}
        }
        if !self.settings.key.is_empty() {
            let parts = parts_of_key(key, self.settings.key.len())?;
            keys.extend(self.settings.key.iter().map(String::as_str).zip(parts));
        }
        Ok(keys)
    }

    /// Each value of an effect alone in a row, to find the one that does not fit.
    pub(super) fn cells(&self, effect: &Effect) -> Vec<(String, String)> {
        let keys = self.keys(effect.entity.as_deref(), &effect.key);
        let mut cells: Vec<_> = keys
            .unwrap_or_default()
            .into_iter()
            .map(|(column, part)| {
                let cell = row([(column, part)].into_iter(), &[]);
                (column.to_owned(), cell)
            })
            .collect();
        let content = match effect.operation {
            Operation::Delete => return cells,
            Operation::Merge => merged(&self.settings.content, &effect.payload, None),
            Operation::Upsert | Operation::Append => {
                whole(&self.settings.content, &effect.payload, "an effect")
            }
        };
        cells.extend(content.unwrap_or_default().into_iter().map(|cell| {
            let text = row(std::iter::empty(), std::slice::from_ref(&cell));
            (cell.0, text)
        }));
        cells
    }

    /// The row of an effect, as far as it can be one on this table.
    fn fitting(&self, effect: &Effect) -> Result<String, Answer> {
        let row = self.is_for(effect).and_then(|()| self.row(effect));
        row.map_err(Answer::Refused)
    }

    /// The statement that does an effect whatever is there.
    fn blind(&self, effect: &Effect) -> Option<&str> {
        match (effect.operation, &effect.precondition) {
            (Operation::Upsert, None) => Some(&self.statements.upsert),
            (Operation::Delete, None) => Some(&self.statements.delete),
            (Operation::Append, _) => Some(&self.statements.append),
            _ => None,
        }
    }

    /// What does an effect without asking what is there, and its row; none where that has to be asked.
    ///
    /// # Errors
    /// The answer to an effect that can be none on this table.
    pub(super) fn blindly(&self, effect: &Effect) -> Result<Option<(&str, String)>, Answer> {
        let Some(text) = self.blind(effect) else {
            return Ok(None);
        };
        self.fitting(effect).map(|row| Some((text, row)))
    }

    /// Puts an effect into the transaction that `session` is in.
    pub(super) async fn write(&self, session: &Session, effect: &Effect) -> Result<Written, Fault> {
        let row = match self.fitting(effect) {
            Ok(row) => row,
            Err(answer) => return Ok(Written::Not(answer)),
        };
        match self.blind(effect) {
            None => self.write_on_row(session, effect, &row).await,
            Some(text) => {
                session.run(text, &[&row]).await?;
                Ok(Written::Done)
            }
        }
    }

    async fn write_on_row(
        &self,
        session: &Session,
        effect: &Effect,
        key: &str,
    ) -> Result<Written, Fault> {
        for _ in 0..FRESH_READS {
            let current = self.current(session, key).await?;
            if let Some(why) = broken(effect.precondition.as_ref(), current.as_ref()) {
                let why = format!("table `{}`: {why}", self.name);
                return Ok(Written::Not(Answer::Conflict(why)));
            }
            let content = match self.content(effect, current.as_ref()) {
                Ok(content) => content,
                Err(why) => return Ok(Written::Not(Answer::Refused(why))),
            };
            let made = match content {
                Some(content) => self.row_of(effect.entity.as_deref(), &effect.key, &content),
                None => Ok(key.to_owned()),
            };
            let row = match made {
                Ok(row) => row,
                Err(why) => return Ok(Written::Not(Answer::Refused(why))),
            };
            let text = match (effect.operation, &current) {
                (Operation::Delete, None) => return Ok(Written::Done),
                (Operation::Delete, Some(_)) => &self.statements.delete,
                (_, Some(_)) => &self.statements.update,
                (_, None) => &self.statements.insert,
            };
            if session.run(text, &[&row]).await? > 0 {
                return Ok(Written::Done);
            }
            // Somebody made it meanwhile: where nothing was, nothing could be held.
        }
        let why = format!("table `{}`: the row comes and goes", self.name);
        Ok(Written::Not(Answer::Unknown(why)))
    }

    /// The columns that the effect changes; none: it takes the row away.
    fn content(
        &self,
        effect: &Effect,
        current: Option<&Current>,
    ) -> Result<Option<Vec<(String, String)>>, String> {
        let content = &self.settings.content;
        match effect.operation {
            Operation::Delete => Ok(None),
            Operation::Merge => {
                let before = current.and_then(|current| current.content.as_deref());
                merged(content, &effect.payload, before).map(Some)
            }
            Operation::Upsert | Operation::Append => {
                whole(content, &effect.payload, "an upsert").map(Some)
            }
        }
    }

    async fn current(&self, session: &Session, key: &str) -> Result<Option<Current>, Fault> {
        let text = &self.statements.read_to_change;
        let row = session.one(text, &[&key]).await?;
        Ok(row.map(|row| Current {
            etag: row.try_get(0).unwrap_or_default(),
            content: row.try_get(2).unwrap_or_default(),
        }))
    }
}

fn broken(precondition: Option<&Precondition>, current: Option<&Current>) -> Option<String> {
    match (precondition?, current) {
        (Precondition::Absent, Some(_)) => Some("the row exists".to_owned()),
        (Precondition::Present | Precondition::Etag(_), None) => {
            Some("the row does not exist".to_owned())
        }
        (Precondition::Etag(etag), Some(current)) if *etag != current.etag => Some(format!(
            "the row is at version {}, not {}",
            current.etag,
            etag.escape_debug()
        )),
        _ => None,
    }
}
