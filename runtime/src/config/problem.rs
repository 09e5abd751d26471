//! What is wrong with a configuration, and where.

use super::places::place_of;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key it is about, as in `pipelines.customers.to[1].target`; empty: the file.
    pub key: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    pub column: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Everything that is wrong with a configuration file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Problems that were found after reading `file`: those without a place get the one of their
    /// key, or of the closest key above it.
    #[must_use]
    pub fn located(file: &Path, mut list: Vec<Problem>) -> Self {
        // Whoever removes the file meanwhile still learns what is wrong.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for problem in list.iter_mut().filter(|problem| problem.line.is_none()) {
            if let Some((line, column)) = place_of(&text, &problem.key) {
                problem.line = Some(line);
                problem.column = Some(column);
            }
        }
        list.sort_by_key(|problem| (problem.line, problem.column));
        Self {
            file: file.to_owned(),
            list,
        }
    }

    /// The file as a whole cannot be used.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        let problem = Problem {
            key: String::new(),
            line: None,
            column: None,
            message,
        };
        Self {
            file: file.to_owned(),
            list: vec![problem],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if let Some(column) = problem.column {
                write!(f, ":{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
