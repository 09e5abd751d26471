//! What went wrong while thinking, and what should become of the event because of it.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::Verdict;
use crate::bindings::syncline::plugin::types;

/// The answer of everything here that can fail; the error is [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure that knows whether trying again can help.
///
/// With `?`, any standard error becomes a *reject*: parsing the same bytes again fails again, so the
/// event becomes a dead letter that carries the error's text. What the capabilities answer is sorted
/// already: a back end that cannot be reached is a *retry*, everything else a reject.
///
/// ```
/// use syncline_sdk::prelude::*;
///
/// fn quantity(text: &str) -> Result<u32> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(quantity("x"), Err(Error::reject("invalid digit found in string")));
/// ```
///
/// It does not implement [`std::error::Error`], which is what lets every other error turn into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    reason: String,
    again: Again,
}

#[derive(Debug, Clone, PartialEq)]
enum Again {
    Never,
    After(Option<Duration>),
}

impl Error {
    /// The event can never succeed: it becomes a dead letter with this reason.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            again: Again::Never,
        }
    }

    /// A passing fault: the event is tried again after the pipeline's own back-off.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            again: Again::After(None),
        }
    }

    /// A passing fault that is known to last about this long.
    pub fn retry_after(reason: impl Into<String>, after: Duration) -> Self {
        Self {
            reason: reason.into(),
            again: Again::After(Some(after)),
        }
    }

    /// Puts what was attempted in front of the reason.
    #[must_use]
    pub fn context(mut self, attempted: impl Display) -> Self {
        self.reason = format!("{attempted}: {}", self.reason);
        self
    }

    /// Whether trying the event again may help.
    pub fn is_retry(&self) -> bool {
        matches!(self.again, Again::After(_))
    }

    pub(crate) fn capability(name: &str, error: types::Error) -> Self {
        match error {
            types::Error::Denied(why) => Self::reject(format!("{name}: not granted: {why}")),
            types::Error::Invalid(why) => Self::reject(format!("{name}: {why}")),
            types::Error::Unavailable(why) => Self::retry(format!("{name}: unavailable: {why}")),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self::reject(reason)
    }
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        match error.again {
            Again::Never => Self::Reject(error.reason),
            Again::After(after) => Self::Retry {
                reason: error.reason,
                after,
            },
        }
    }
}

/// Says what a missing value or a failure means for the event, where the default of `?` is not it.
///
/// ```
/// use syncline_sdk::prelude::*;
///
/// fn plan(event: &Event) -> Result<String> {
///     event.attribute("plan").map(str::to_owned).or_reject("no plan")
/// }
/// ```
pub trait Classify<T> {
    /// `None` or an error: reject the event, with this in front of the cause.
    fn or_reject(self, reason: impl Display) -> Result<T>;

    /// `None` or an error: try the event again later, with this in front of the cause.
    fn or_retry(self, reason: impl Display) -> Result<T>;
}

impl<T> Classify<T> for Option<T> {
    fn or_reject(self, reason: impl Display) -> Result<T> {
        self.ok_or_else(|| Error::reject(reason.to_string()))
    }

    fn or_retry(self, reason: impl Display) -> Result<T> {
        self.ok_or_else(|| Error::retry(reason.to_string()))
    }
}

impl<T, E: Display> Classify<T> for std::result::Result<T, E> {
    fn or_reject(self, reason: impl Display) -> Result<T> {
        self.map_err(|cause| Error::reject(format!("{reason}: {cause}")))
    }

    fn or_retry(self, reason: impl Display) -> Result<T> {
        self.map_err(|cause| Error::retry(format!("{reason}: {cause}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_back_end_is_retried_and_all_else_is_rejected() {
        let answer = |error| Verdict::from(Error::capability("state", error));
        let away = types::Error::Unavailable("no quorum".into());
        assert_eq!(
            answer(away),
            Verdict::retry("state: unavailable: no quorum")
        );
        let denied = types::Error::Denied("plugin x".into());
        assert_eq!(
            answer(denied),
            Verdict::reject("state: not granted: plugin x")
        );
        let invalid = types::Error::Invalid("key too long".into());
        assert_eq!(answer(invalid), Verdict::reject("state: key too long"));
    }

    #[test]
    fn the_class_can_be_chosen_against_the_default() {
        let late: Result<u8, std::num::ParseIntError> = "x".parse();
        assert!(
            late.clone()
                .or_retry("rate limit")
                .is_err_and(|error| error.is_retry())
        );
        let error = late.or_reject("price").unwrap_err();
        assert_eq!(error.to_string(), "price: invalid digit found in string");
        assert_eq!(
            None::<u8>.or_retry("not yet").unwrap_err(),
            Error::retry("not yet")
        );
    }

    #[test]
    fn causes_are_part_of_the_reason() {
        #[derive(Debug)]
        struct Outer(std::fmt::Error);
        impl Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let inner = std::fmt::Error;
        let expected = format!("outer: {inner}");
        assert_eq!(Error::from(Outer(inner)).to_string(), expected);
    }
}
