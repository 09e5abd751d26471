//! The part of a transaction that one database has. Any target of that database does it for all of
//! them; what becomes of it is told as changes are that can be taken back.

use super::postgres::{Branch, Database, Settled, Step, Work};
use super::{Answer, Changed, Target, Undone};

impl Target {
    /// Applies `work`, unseen, and keeps it until it is committed or taken back.
    pub async fn prepare(&self, branch: &Branch, work: &[Work<'_>]) -> Changed {
        match self.database() {
            Some(database) => self.changed(Box::pin(database.prepare(branch, work)).await),
            None => Changed::No(no_table()),
        }
    }

    /// Applies `work` at once, unless the database has been told that it never will.
    pub async fn commit_alone(&self, branch: &Branch, work: &[Work<'_>]) -> Changed {
        match self.database() {
            Some(database) => self.changed(Box::pin(database.commit_alone(branch, work)).await),
            None => Changed::No(no_table()),
        }
    }

    /// Lets what was prepared be seen. Asking again is safe.
    pub async fn commit(&self, branch: &Branch) -> Answer {
        let Some(database) = self.database() else {
            return no_table();
        };
        let (answer, is_silence) = match Box::pin(database.commit(branch)).await {
            // Nobody but those who decide takes it back.
            Step::Aborted(why) => (Answer::Refused(why), false),
            step => answer(step),
        };
        self.learn(&answer, is_silence);
        answer
    }

    /// Takes back what may be prepared, and sees to it that it is not prepared any more. Asking again
    /// is safe.
    pub async fn roll_back(&self, branch: &Branch) -> Undone {
        let Some(database) = self.database() else {
            return Undone::Foreign(NO_TABLE.to_owned());
        };
        match Box::pin(database.abort(branch)).await {
            Settled::Aborted => Undone::Restored,
            Settled::Committed => Undone::Foreign(format!("somebody committed `{branch}`")),
            Settled::Prepared => Undone::Unknown(format!("`{branch}` is still prepared")),
            Settled::Unknown(why) => Undone::Unknown(why),
        }
    }

    /// Whether `branch` is committed. When it is not it never will be.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub async fn is_committed(&self, branch: &Branch) -> Result<bool, String> {
        let database = self.database().ok_or(NO_TABLE)?;
        match Box::pin(database.settle(branch)).await {
            Settled::Committed => Ok(true),
            Settled::Aborted => Ok(false),
            Settled::Prepared => Err(format!("`{branch}` is prepared, and waits for a decision")),
            Settled::Unknown(why) => Err(why),
        }
    }

    /// Whether both are tables of one database.
    #[must_use]
    pub fn shares_database(&self, other: &Self) -> bool {
        let databases = self.database().zip(other.database());
        databases.is_some_and(|(one, other)| {
            std::ptr::eq::<Database>(&raw const **one, &raw const **other)
        })
    }

    fn changed(&self, step: Step) -> Changed {
        let is_made = matches!(step, Step::Done | Step::AlreadyDone);
        let maybe = matches!(step, Step::Unknown(_) | Step::Silent(_) | Step::Away(_));
        let (answer, is_silence) = answer(step);
        self.learn(&answer, is_silence);
        match (is_made, maybe) {
            (true, _) => Changed::Yes,
            (_, true) => Changed::Maybe(answer),
            _ => Changed::No(answer),
        }
    }
}

const NO_TABLE: &str = "it is no table of a database";

fn no_table() -> Answer {
    Answer::Refused(NO_TABLE.to_owned())
}

/// What a step means for the effects in it, and whether nothing was heard.
fn answer(step: Step) -> (Answer, bool) {
    let answer = match step {
        Step::Done | Step::AlreadyDone => Answer::Applied,
        Step::Refused(why) => Answer::Refused(why),
        Step::Conflict(why) => Answer::Conflict(why),
        Step::Aborted(why) | Step::Unknown(why) => Answer::Unknown(why),
        Step::Away(why) => Answer::Away(why),
        Step::Silent(why) => return (Answer::Unknown(why), true),
    };
    (answer, false)
}
