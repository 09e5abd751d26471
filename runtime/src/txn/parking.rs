//! Letters that hold their ordering keys, for whoever decides what may go on.

use super::Coordinator;
use crate::dead_letter::{self, DeadLetterError, Takes};
use crate::event::{Hold, Origin, Rank};

impl Coordinator {
    /// The letters that hold keys of events whose subjects and keys a share `takes`, each with whether it was
    /// let go.
    ///
    /// # Errors
    /// When they cannot be read now.
    pub async fn holds(&self, takes: &Takes<'_>) -> Result<Vec<(Hold, bool)>, DeadLetterError> {
        self.dead_letters.holds_of(&self.pipeline, takes).await
    }

    /// The letter by which the event of `origin` holds its key; none: it does not any more.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn find_hold(
        &self,
        origin: &Origin,
        rank: &Rank,
    ) -> Result<Option<Hold>, DeadLetterError> {
        let id = dead_letter::id_of(&self.pipeline, &origin.id, rank);
        self.dead_letters.find_hold(&id).await
    }

    /// Lets the letter at this position go, whose event waits for nobody any more; false when there is nothing
    /// to let go.
    ///
    /// # Errors
    /// When it is not known to be let go. Doing so again is safe.
    pub async fn let_go(&self, letter: u64) -> Result<bool, DeadLetterError> {
        self.dead_letters.let_go(letter).await
    }

    /// Keeps in mind that the event of `origin` has ended, which came out of `hold`.
    ///
    /// # Errors
    /// When it is not known to be kept. Doing so again is safe.
    pub async fn close(&self, origin: &Origin, hold: &Hold) -> Result<(), DeadLetterError> {
        let id = dead_letter::id_of(&self.pipeline, &origin.id, &hold.rank);
        self.dead_letters.close(&id, hold).await
    }
}
