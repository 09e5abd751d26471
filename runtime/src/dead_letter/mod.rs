//! The waiting room: events that will not be tried again by themselves, stored whole.

mod record;
mod selection;
mod stream;

pub use record::{Letter, LetterSummary};
pub use selection::Selection;
pub use stream::{DeadLetterError, DeadLetters};

/// The stream that dead letters lie in.
pub const STREAM: &str = "SYNCLINE_DLQ";
