//! What a transaction does where it can be prepared: in databases, and in modules that reserve. Each has
//! a branch, which is prepared and then committed or rolled back; or, where there is only one, in a
//! database, and that is the last to be asked, it decides by committing.

use super::intent::Intent;
use super::ledger::{Ledger, Waiting};
use super::prepare::of_answer;
use super::record::{Branch, Part, Record, State};
use super::{Applied, Coordinator, Tenure};
use crate::event::PlannedEffect;
use crate::fault::{self, Point};
use crate::target::postgres::Database;
use crate::target::{Answer, Changed, Undone};
use std::sync::Arc;
use tokio::sync::SemaphorePermit;
use tracing::error;

impl Coordinator {
    /// Lets the database of the only branch decide. What is not known is asked about until it is.
    pub(super) async fn commit_delegated(
        &self,
        ledger: &Ledger,
        intent: &Intent,
        tenure: &Tenure,
    ) -> Result<(), Applied> {
        let record = &intent.decision;
        let Some(branch) = record.branches().next() else {
            return Ok(());
        };
        if !tenure.held().await {
            return Err(Applied::Replaced);
        }
        let work = self.work(intent.work_of(branch.n));
        let changed = match (
            self.targets.get(branch.target),
            ledger.branch(record, branch),
        ) {
            (Some(target), Ok(name)) => target.commit_alone(&name, &work).await,
            _ => Changed::No(Answer::Refused("there is no such target".to_owned())),
        };
        let answer = match changed {
            Changed::Yes => return Ok(()),
            Changed::No(answer) => answer,
            Changed::Maybe(answer) => match self.settled(ledger, record, tenure).await {
                Some(true) => return Ok(()),
                Some(false) => answer,
                None => return Err(Applied::Replaced),
            },
        };
        Err(of_answer(answer, branch.target))
    }

    /// Whether its database has committed `record`; none when the tenure ends before that is known.
    async fn settled(&self, ledger: &Ledger, record: &Record, tenure: &Tenure) -> Option<bool> {
        let gid = record.gid().unwrap_or_default();
        let attempted = format!("cannot tell whether {gid} was committed");
        let mut waiting = Waiting::default();
        loop {
            match ledger.is_committed(record).await {
                Ok(is_committed) => return Some(is_committed),
                Err(error) if !waiting.wait(&attempted, &error, tenure).await => return None,
                Err(_) => {}
            }
        }
    }

    /// Waits until the databases of `parts` may prepare one more transaction each. Those of one server are
    /// asked for together: when everybody had one of two, nobody would get the other.
    pub(super) async fn slots(&self, parts: &[Part<'_>]) -> Vec<SemaphorePermit<'_>> {
        let branches = parts.iter().filter_map(|part| match part {
            Part::Branch(branch) => self.targets.get(branch.target)?.database(),
            Part::Change(_) => None,
        });
        let mut wanted: Vec<(&Database, usize)> = Vec::new();
        for database in branches.map(Arc::as_ref) {
            let mut servers = wanted.iter_mut();
            match servers.find(|(other, _)| other.shares_server(database)) {
                Some((_, n_wanted)) => *n_wanted += 1,
                None => wanted.push((database, 1)),
            }
        }
        let mut slots = Vec::new();
        for (database, n_wanted) in wanted {
            slots.extend(database.slots(n_wanted).await);
        }
        slots
    }

    /// Has a branch of `record` prepared, which does `effects`.
    pub(super) async fn prepare(
        &self,
        ledger: &Ledger,
        (record, branch): (&Record, Branch<'_>),
        effects: &[PlannedEffect],
    ) -> Changed {
        let work = self.work(effects);
        match (
            self.targets.get(branch.target),
            ledger.branch(record, branch),
        ) {
            (Some(target), Ok(name)) => match record.because(name.name().into(), false) {
                Some(cause) => target.prepare(&name, &work, &cause).await,
                None => Changed::No(Answer::Refused("there is no event".to_owned())),
            },
            _ => Changed::No(Answer::Refused("there is no such target".to_owned())),
        }
    }

    /// Takes a branch of `record` back, whether it is prepared or may still be.
    pub(super) async fn roll_back(
        &self,
        ledger: &Ledger,
        (record, branch): (&Record, Branch<'_>),
    ) -> Undone {
        match (
            self.targets.get(branch.target),
            ledger.branch(record, branch),
        ) {
            (Some(target), Ok(name)) => target.roll_back(&name).await,
            // What is held of the transaction there waits until it is configured again.
            (None, _) => Undone::Unknown("there is no such target any more".to_owned()),
            (Some(_), Err(why)) => Undone::Foreign(why.to_string()),
        }
    }

    /// Commits what `record` has decided on where it is prepared, however long it takes; false when the
    /// tenure ends before.
    pub(super) async fn commit_all(&self, record: &Record, tenure: &Tenure) -> bool {
        // There the commit was the decision.
        let is_done = record.head.state == State::Delegated;
        let Some(ledger) = self.ledger().filter(|_| !is_done) else {
            return true;
        };
        let attempted = "cannot commit what was decided and is prepared";
        let (mut left, mut waiting): (Vec<_>, _) =
            (record.branches().collect(), Waiting::default());
        loop {
            let mut why = String::new();
            // Where one is away the others hold nothing for it.
            for branch in std::mem::take(&mut left) {
                if branch.n > 0 {
                    fault::reach(Point::BetweenEffects).await;
                }
                if !tenure.held().await {
                    return false;
                }
                if let Err(error) = self.commit(ledger, (record, branch)).await {
                    why = format!("target `{}`: {error}", branch.target);
                    left.push(branch);
                }
            }
            if left.is_empty() {
                return true;
            }
            if !waiting.wait(attempted, &why, tenure).await {
                return false;
            }
        }
    }

    /// Commits one of them.
    ///
    /// # Errors
    /// Why that is not done, or not known to be.
    async fn commit(
        &self,
        ledger: &Ledger,
        (record, branch): (&Record, Branch<'_>),
    ) -> Result<(), String> {
        let name = branch.target;
        let answer = match (self.targets.get(name), ledger.branch(record, branch)) {
            (Some(target), Ok(name)) => target.commit(&name).await,
            (None, _) => Answer::Unknown("there is no such target any more".to_owned()),
            (Some(_), Err(why)) => Answer::Refused(why.to_string()),
        };
        match answer {
            Answer::Applied => Ok(()),
            Answer::Refused(why) => {
                error!(pipeline = %self.pipeline, gid = record.gid().unwrap_or_default(),
                    target = %name, branch = branch.n, %why,
                    "what was decided cannot be committed: the targets are out of step until \
                     somebody does it");
                Ok(())
            }
            Answer::Conflict(why) | Answer::Unknown(why) | Answer::Away(why) => Err(why),
        }
    }
}
