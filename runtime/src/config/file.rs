//! The text of the file, its TOML, and what was found wrong so far.

use super::env::Env;
use super::problem::{Problem, Problems};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
            let (line, _) = self.line_and_column(offset);
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
        let (line, column) = self.line_and_column(offset);
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

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// A key's path: `parent.name`, quoted where TOML would ask for it.
pub(super) fn join(parent: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    };
    match parent {
        "" => name,
        parent => format!("{parent}.{name}"),
    }
}

/// The path of the key that stands twice: the last of that name before the second, in a table that
/// is still open there.
fn path_of_duplicate(table: &DeTable<'_>, name: &str, offset: usize) -> String {
    let name = name.trim_matches(['"', '\'']);
    let mut best = (0, name.to_owned());
    find_last(table, "", (name, offset), &mut best);
    best.1
}

fn find_last(table: &DeTable<'_>, path: &str, sought: (&str, usize), best: &mut (usize, String)) {
    for (key, value) in table.iter() {
        let path = join(path, key.get_ref());
        let at = key.span().start;
        if *key.get_ref() == sought.0 && at <= sought.1 && at >= best.0 {
            *best = (at, path.clone());
        }
        descend(value, key.span().end, &path, sought, best);
    }
}

fn descend(
    value: &Spanned<DeValue<'_>>,
    after: usize,
    path: &str,
    sought: (&str, usize),
    best: &mut (usize, String),
) {
    let span = value.span();
    let inline = span.start >= after;
    if inline && span.end <= sought.1 {
        return;
    }
    match value.get_ref() {
        DeValue::Table(table) => find_last(table, path, sought, best),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                descend(item, after, &format!("{path}[{index}]"), sought, best);
            }
        }
        _ => {}
    }
}
