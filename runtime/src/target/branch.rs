//! The part of a transaction that one participant has: a database, or a module that reserves what it
//! needs. It is prepared, unseen, and then committed or rolled back, as whoever decides says. Any target
//! in a database does it for all of them; what becomes of it is told as changes are that can be taken
//! back.

use super::http::Http;
use super::names::Branch;
use super::postgres::{Database, Settled, Step};
use super::{Answer, Cause, Changed, Opened, Target, Undone};
use crate::event::PlannedEffect;
use std::pin::pin;

/// Who has the part.
#[derive(Clone, Copy)]
enum Participant<'a> {
    Database(&'a Database),
    Module(&'a Http),
}

/// An effect in a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// A target of the participant.
    pub target: &'a Target,
    /// What becomes of an entity of it.
    pub planned: &'a PlannedEffect,
}

impl Target {
    fn participant(&self) -> Option<Participant<'_>> {
        match &self.kind {
            Opened::Postgres(target) => Some(Participant::Database(target.database())),
            Opened::Http(target) if target.reserves() => Some(Participant::Module(target)),
            Opened::Http(_) | Opened::Subject(_) | Opened::Kv(_) => None,
        }
    }

    /// Whether its participant can prepare, as far as it has said.
    #[must_use]
    pub fn prepares(&self) -> bool {
        match self.participant() {
            Some(Participant::Database(database)) => database.is_preparable(),
            Some(Participant::Module(_)) => true,
            None => false,
        }
    }

    /// Whether its participant can decide about a transaction by committing all of it at once.
    #[must_use]
    pub fn decides(&self) -> bool {
        matches!(self.participant(), Some(Participant::Database(_)))
    }

    /// Where its participant is.
    #[must_use]
    pub fn place(&self) -> &str {
        match self.participant() {
            Some(Participant::Database(database)) => database.place(),
            Some(Participant::Module(_)) | None => &self.name,
        }
    }

    /// Whether both have the same participant.
    #[must_use]
    pub fn shares_branch(&self, other: &Self) -> bool {
        match (self.participant(), other.participant()) {
            (Some(Participant::Database(one)), Some(Participant::Database(other))) => {
                std::ptr::eq(one, other)
            }
            (Some(Participant::Module(one)), Some(Participant::Module(other))) => {
                std::ptr::eq(one, other)
            }
            _ => false,
        }
    }

    /// Applies `work`, unseen, and keeps it until it is committed or taken back.
    pub async fn prepare(&self, branch: &Branch, work: &[Work<'_>], cause: &Cause) -> Changed {
        match self.participant() {
            Some(Participant::Database(database)) => {
                self.changed(Box::pin(database.prepare(branch, work)).await)
            }
            Some(Participant::Module(module)) => {
                let (answer, is_silence) = self.told(module.reserve(branch, work, cause)).await;
                self.learn(&answer, is_silence);
                match answer {
                    Answer::Applied => Changed::Yes,
                    Answer::Unknown(_) | Answer::Away(_) => Changed::Maybe(answer),
                    Answer::Refused(_) | Answer::Conflict(_) => Changed::No(answer),
                }
            }
            None => Changed::No(nobody()),
        }
    }

    /// Applies `work` at once, unless the database has been told that it never will.
    pub async fn commit_alone(&self, branch: &Branch, work: &[Work<'_>]) -> Changed {
        match self.participant() {
            Some(Participant::Database(database)) => {
                self.changed(Box::pin(database.commit_alone(branch, work)).await)
            }
            Some(Participant::Module(_)) | None => Changed::No(nobody()),
        }
    }

    /// Lets what was prepared be seen. Asking again is safe.
    pub async fn commit(&self, branch: &Branch) -> Answer {
        let (answer, is_silence) = match self.participant() {
            Some(Participant::Database(database)) => {
                match Box::pin(database.commit(branch)).await {
                    // Nobody but those who decide takes it back.
                    Step::Aborted(why) => (Answer::Refused(why), false),
                    step => answer(step),
                }
            }
            Some(Participant::Module(module)) => self.told(module.confirm(branch)).await,
            None => return Answer::Unknown(NOBODY.to_owned()),
        };
        self.learn(&answer, is_silence);
        answer
    }

    /// Takes back what may be prepared, and sees to it that it is not prepared any more. Asking again
    /// is safe.
    pub async fn roll_back(&self, branch: &Branch) -> Undone {
        match self.participant() {
            Some(Participant::Database(database)) => match Box::pin(database.abort(branch)).await {
                Settled::Aborted => Undone::Restored,
                Settled::Committed => Undone::Foreign(format!("somebody committed `{branch}`")),
                Settled::Prepared => Undone::Unknown(format!("`{branch}` is still prepared")),
                Settled::Unknown(why) => Undone::Unknown(why),
            },
            Some(Participant::Module(module)) => {
                let cancelled = pin!(Box::pin(module.cancel(branch)));
                let cancelled = tokio::time::timeout(self.timeout, cancelled).await;
                cancelled.unwrap_or_else(|_| Undone::Unknown(self.no_answer()))
            }
            None => Undone::Unknown(NOBODY.to_owned()),
        }
    }

    /// Whether `branch` is committed. When it is not it never will be.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub async fn is_committed(&self, branch: &Branch) -> Result<bool, String> {
        let Some(Participant::Database(database)) = self.participant() else {
            return Err(NOBODY.to_owned());
        };
        match Box::pin(database.settle(branch)).await {
            Settled::Committed => Ok(true),
            Settled::Aborted => Ok(false),
            Settled::Prepared => Err(format!("`{branch}` is prepared, and waits for a decision")),
            Settled::Unknown(why) => Err(why),
        }
    }

    /// What a module says, within the time that it has for it.
    async fn told(&self, asked: impl Future<Output = (Answer, bool)>) -> (Answer, bool) {
        let told = tokio::time::timeout(self.timeout, Box::pin(asked)).await;
        told.unwrap_or_else(|_| (self.silence(), true))
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

const NOBODY: &str = "it takes no part in transactions: put its settings back";

fn nobody() -> Answer {
    Answer::Refused(NOBODY.to_owned())
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
