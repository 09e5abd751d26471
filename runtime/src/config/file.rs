//! The text of the file, its TOML, and what was found wrong so far.

use super::env::Env;
use super::places::{line_and_column, path_of_duplicate};
use super::problem::{Problem, Problems};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// A configuration file on its way to be a configuration.
pub(super) struct File<'a> {
    text: &'a str,
    base: &'a Path,
    /// What `${NAME}` stands for.
    pub(super) env: Env<'a>,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> File<'a> {
    pub(super) fn new(text: &'a str, base: &'a Path, env: Env<'a>) -> Self {
        Self {
            text,
            base,
            env,
            problems: RefCell::default(),
        }
    }

    /// The TOML. Mistakes of syntax are noted; `None` when they leave nothing worth checking.
    pub(super) fn table(&self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let table = table.into_inner();
        let mut sound = true;
        let mut last_line = 0;
        for error in errors {
            let offset = error.span().map_or(self.text.len(), |span| span.start);
            let (line, _) = line_and_column(self.text, offset);
            if error.message() == "duplicate key" {
                let name = self
                    .text
                    .get(error.span().unwrap_or_default())
                    .unwrap_or_default();
                let key = path_of_duplicate(&table, name, offset);
                self.report(offset, key, "the key is there twice: remove one".to_owned());
            } else if line != last_line {
                // One slip of the pen often gives several errors on its line: the first tells.
                sound = false;
                last_line = line;
                self.report(
                    offset,
                    String::new(),
                    format!("not TOML: {}", error.message()),
                );
            }
        }
        sound.then_some(table)
    }

    /// A path of the file: relative ones start at its folder.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Notes what is wrong at a byte of the text.
    pub(super) fn report(&self, offset: usize, key: String, message: String) {
        let (line, column) = line_and_column(self.text, offset);
        let problem = Problem {
            key,
            line: Some(line),
            column: Some(column),
            message,
        };
        self.problems.borrow_mut().push((offset, problem));
    }

    /// What was found, in the order of the text; `None` when nothing is wrong.
    pub(super) fn problems(self, file: &Path) -> Option<Problems> {
        let mut found = self.problems.into_inner();
        found.sort_by_key(|(offset, _)| *offset);
        let list: Vec<_> = found.into_iter().map(|(_, problem)| problem).collect();
        (!list.is_empty()).then(|| Problems {
            file: file.to_owned(),
            list,
        })
    }
}
