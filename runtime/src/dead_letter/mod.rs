//! The waiting room: events that will not be tried again by themselves, stored whole.

mod backfill;
mod hold;
mod purge;
mod reading;
mod record;
mod replay;
mod selection;
mod stream;

pub use backfill::{HandError, Handed, Place, Stand};
pub use hold::{Takes, id_of};
pub use record::{Letter, LetterSummary};
pub use replay::{Asked, Replayed, consumer_of, requests_for};
pub use selection::Selection;
pub use stream::{DeadLetterError, DeadLetters, Draft};

/// The stream that dead letters lie in.
pub const STREAM: &str = "SYNCLINE_DLQ";

/// Subjects of dead letters are `syncline.dlq.PIPELINE.K`.
const SUBJECT_PREFIX: &str = "syncline.dlq.";
