//! What a failure of the database means. A refusal is told by its SQLSTATE; where nothing was told,
//! nothing is known.

use crate::target::Answer;
use deadpool_postgres::{HookError, PoolError, TimeoutType};
use std::error::Error as _;

/// Why the database did not do what it was asked for.
#[derive(Debug)]
pub(in crate::target) struct Fault {
    pub(super) meaning: Meaning,
    pub(super) text: String,
    /// The five letters of the refusal, where there was one.
    pub(super) code: Option<String>,
}

/// What a failure means for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It never will.
    Refused,
    /// It answered that it cannot now.
    NotNow,
    /// It is starting, stopping or not the one that is written.
    Away,
    /// Nothing was heard, or nobody is let in.
    Silence,
}

/// What is meant by the first letters of a SQLSTATE; the longest that fit decide.
const MEANINGS: [(&str, Meaning); 25] = [
    ("08", Meaning::Silence),
    // Values that the columns do not take, rows that the constraints do not allow.
    ("0A", Meaning::Refused),
    ("21", Meaning::Refused),
    ("22", Meaning::Refused),
    ("23", Meaning::Refused),
    ("25006", Meaning::Away),
    // Nobody is let in: the effect has nothing to do with it.
    ("28", Meaning::Silence),
    ("3D", Meaning::Silence),
    ("3F", Meaning::NotNow),
    // Serialization, deadlock.
    ("40", Meaning::NotNow),
    ("42", Meaning::Refused),
    // A table that is being replaced, a right that is yet to be given.
    ("42P01", Meaning::NotNow),
    ("42501", Meaning::NotNow),
    ("44", Meaning::Refused),
    // Memory, disk, connections, prepared transactions.
    ("53", Meaning::NotNow),
    ("54", Meaning::Refused),
    // Locks, and prepared transactions that somebody else is at.
    ("55", Meaning::NotNow),
    ("57014", Meaning::NotNow),
    ("57P01", Meaning::Silence),
    ("57P02", Meaning::Silence),
    ("57P03", Meaning::Away),
    ("57P04", Meaning::Silence),
    ("57P05", Meaning::NotNow),
    // Raised by a trigger.
    ("P0", Meaning::Refused),
    ("XX", Meaning::NotNow),
];

fn meaning_of(code: &str) -> Meaning {
    let fits = MEANINGS.iter().filter(|(start, _)| code.starts_with(start));
    let longest = fits.max_by_key(|(start, _)| start.len());
    longest.map_or(Meaning::NotNow, |(_, meaning)| *meaning)
}

impl Fault {
    pub(super) fn new(meaning: Meaning, text: impl Into<String>) -> Self {
        Self {
            meaning,
            text: text.into(),
            code: None,
        }
    }

    /// Whether the database refused with this SQLSTATE.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The answer to an effect, and whether the database was heard.
    pub(super) fn into_answer(self) -> Answer {
        match self.meaning {
            Meaning::Refused => Answer::Refused(self.text),
            Meaning::NotNow | Meaning::Silence => Answer::Unknown(self.text),
            Meaning::Away => Answer::Away(self.text),
        }
    }

    /// The same, said of a place.
    #[must_use]
    pub(super) fn at(mut self, place: &str) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let cause = error.source().map(|cause| format!(": {cause}"));
            let text = format!("{error}{}", cause.unwrap_or_default());
            return Self::new(Meaning::Silence, text);
        };
        let code = refusal.code().code();
        let column = refusal
            .column()
            .map(|column| format!("column `{column}`: "));
        let text = format!(
            "{}{} (SQLSTATE {code})",
            column.unwrap_or_default(),
            refusal.message()
        );
        Self {
            meaning: meaning_of(code),
            text,
            code: Some(code.to_owned()),
        }
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::from(error)
            }
            PoolError::Timeout(TimeoutType::Wait) => Self::new(
                Meaning::NotNow,
                "every connection is in use: raise `connections`, or lower `limits.events`",
            ),
            other => Self::new(Meaning::Silence, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_not_unknown_and_what_is_unknown_was_not_refused() {
        let cases = [
            ("22P02", Meaning::Refused),
            ("23505", Meaning::Refused),
            ("42703", Meaning::Refused),
            ("P0001", Meaning::Refused),
            ("40001", Meaning::NotNow),
            ("40P01", Meaning::NotNow),
            ("42P01", Meaning::NotNow),
            ("53300", Meaning::NotNow),
            ("55P03", Meaning::NotNow),
            ("57014", Meaning::NotNow),
            ("57P03", Meaning::Away),
            ("25006", Meaning::Away),
            ("08006", Meaning::Silence),
            ("57P01", Meaning::Silence),
            ("28P01", Meaning::Silence),
            // One that nobody has heard of yet.
            ("ZZ999", Meaning::NotNow),
        ];
        for (code, expected) in cases {
            assert_eq!(meaning_of(code), expected, "{code}");
        }
    }
}
