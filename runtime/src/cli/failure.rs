//! What went wrong, what to do about it, and with which exit code: the one table from errors to
//! exit codes.

use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;
use syncline::app::AppError;
use syncline::config;
use syncline::intake::IntakeError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All went well.
    Fine,
    /// The thing asked about is not fine.
    NotFine,
    /// Wrong arguments or a broken configuration.
    Usage,
    /// A server cannot be reached.
    Unreachable,
}

impl Exit {
    /// The exit code for an error: what the innermost cause with an opinion says.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let opinions = error.chain().filter_map(Self::opinion);
        opinions.last().unwrap_or(Self::NotFine)
    }

    fn opinion(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if error.is::<config::Problems>() {
            return Some(Self::Usage);
        }
        match error.downcast_ref::<AppError>()? {
            AppError::Unreachable { .. }
            | AppError::Refused { .. }
            | AppError::Intake(IntakeError::Unreachable { .. }) => Some(Self::Unreachable),
            _ => None,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::NotFine => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}

/// What was attempted and on which name, why it failed, and what to do.
#[derive(Debug)]
pub(super) struct Failure {
    attempted: String,
    why: Option<anyhow::Error>,
    remedy: Option<String>,
    exit: Option<Exit>,
}

impl Failure {
    /// A failure of what was attempted, for example "cannot read `x`".
    pub(super) fn new(attempted: impl Into<String>) -> Self {
        Self {
            attempted: attempted.into(),
            why: None,
            remedy: None,
            exit: None,
        }
    }

    /// With its cause.
    pub(super) fn because(mut self, why: impl Into<anyhow::Error>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// With its cause in words.
    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(anyhow::Error::msg(why.into()));
        self
    }

    /// With what to do about it.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// With the way that the program ends.
    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = Some(exit);
        self
    }

    /// As a fault in the arguments or the configuration.
    pub(super) fn usage(self) -> Self {
        self.exit(Exit::Usage)
    }

    /// As a server that does not answer.
    pub(super) fn unreachable(self) -> Self {
        self.exit(Exit::Unreachable)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.why.as_ref().map(AsRef::as_ref)
    }
}

/// An error as text: what was attempted first, then every cause that adds something, then what to
/// do.
pub(super) fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut said = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if said.contains(message.as_str()) {
            continue;
        }
        let (label, continuation) = if text.is_empty() {
            ("error: ", "  ")
        } else {
            ("  why: ", "       ")
        };
        push_block(&mut text, label, continuation, &message);
        said = message;
    }
    let remedies = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>());
    for remedy in remedies.filter_map(|failure| failure.remedy.as_deref()) {
        push_block(&mut text, "  do:  ", "       ", remedy);
    }
    text
}

fn push_block(text: &mut String, label: &str, continuation: &str, block: &str) {
    for (index, line) in block.lines().enumerate() {
        text.push_str(if index == 0 { label } else { continuation });
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_attempt_the_causes_and_the_remedy() {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = Failure::new("cannot read `a.json`")
            .because(anyhow::Error::new(cause).context("opening it failed"))
            .remedy("create it");
        let expected = "error: cannot read `a.json`\n  why: opening it failed\n  \
                        why: no such file\n  do:  create it\n";
        assert_eq!(explain(&error.into()), expected);
    }

    #[test]
    fn a_cause_that_its_effect_already_quotes_is_not_said_twice() {
        let error = Failure::new("cannot connect: refused").why("refused");
        assert_eq!(explain(&error.into()), "error: cannot connect: refused\n");
    }

    #[test]
    fn the_innermost_opinion_decides_the_exit_code() {
        let inner = Failure::new("no answer").unreachable();
        let error: anyhow::Error = Failure::new("cannot send").because(inner).into();
        assert_eq!(Exit::of(&error), Exit::Unreachable);
        assert_eq!(Exit::of(&anyhow::anyhow!("plain")), Exit::NotFine);
    }
}
