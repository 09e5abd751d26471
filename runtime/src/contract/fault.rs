//! Why a file is no contract.

use std::path::PathBuf;

/// One thing that is wrong with the file of a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{place}: {fault}", .file.display())]
pub struct ContractError {
    /// The file.
    pub file: PathBuf,
    /// Where in it: a JSON pointer after `#`, or a line and a column; empty: the file itself.
    pub place: String,
    /// What is wrong there, and what to do.
    pub fault: String,
}

/// What is wrong with a document, each with a JSON pointer to its place.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, String)>);

impl Faults {
    /// Notes what is wrong at `pointer`.
    pub(super) fn note(&mut self, pointer: &str, fault: impl Into<String>) {
        self.0.push((pointer.to_owned(), fault.into()));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as errors of `file`.
    pub(super) fn of(self, file: &std::path::Path) -> Vec<ContractError> {
        let error = |(pointer, fault): (String, String)| ContractError {
            file: file.to_owned(),
            place: match pointer.is_empty() {
                true => String::new(),
                false => format!("#{pointer}"),
            },
            fault,
        };
        self.0.into_iter().map(error).collect()
    }
}
