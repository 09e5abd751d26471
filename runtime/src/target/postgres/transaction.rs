//! The steps of a transaction in one database: all of an event's effects at once, or prepared and
//! then committed or aborted with those of other targets.
//!
//! Every step may be repeated, after any crash, by anybody: the barrier row decides. Of `c`,
//! committed, and `a`, it never will be, one is inserted first and stays; while a prepared transaction
//! holds its `c`, whoever inserts `a` waits. A step has no effect that is not in the same database
//! transaction as the row.

use super::config::literal;
use super::database::{Database, Session, Value};
use super::fault::{Fault, Meaning};
use crate::target::{Answer, Branch, Work};
use std::time::Duration;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is done.
    Done,
    /// It was done before.
    AlreadyDone,
    /// It never will be: somebody has settled that.
    Aborted(String),
    /// The database will never take it, and has not.
    Refused(String),
    /// A precondition does not hold. Nothing was done.
    Conflict(String),
    /// It may be done or not, or could not be now: asking again is safe.
    Unknown(String),
    /// As `Unknown`, and nothing was heard.
    Silent(String),
    /// As `Unknown`, while the database starts or is a standby.
    Away(String),
}

/// How a transaction ended, as far as the database knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Its effects hold.
    Committed,
    /// They do not and never will.
    Aborted,
    /// It is prepared, and waits for the one who decides.
    Prepared,
    /// This cannot be told now.
    Unknown(String),
}

/// A prepared transaction of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which one.
    pub branch: Branch,
    /// How long ago it was prepared.
    pub age: Duration,
}

const COMMITTED: &str = "c";

const GIVE_UP: &str = "\
    INSERT INTO syncline_meta.barrier (name, state) VALUES ($1::text, 'a') ON CONFLICT DO NOTHING";
const STATE: &str = "SELECT state::text FROM syncline_meta.barrier WHERE name = $1::text";
const IS_PREPARED: &str = "\
    SELECT 1 FROM pg_catalog.pg_prepared_xacts WHERE gid = $1::text AND database = current_database()";
const ORPHANS: &str = "\
    SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 \
    FROM pg_catalog.pg_prepared_xacts \
    WHERE database = current_database() AND starts_with(gid, $1::text) ORDER BY prepared";
const FORGET: &str = "\
    DELETE FROM syncline_meta.barrier WHERE name IN (SELECT name FROM syncline_meta.barrier \
    WHERE at < now() - make_interval(secs => $1::float8) AND starts_with(name, $2::text) \
    LIMIT 20000)";

/// How often a step begins again that somebody else got in the way of.
pub(super) const ROUNDS: usize = 3;
/// There is no such prepared transaction.
const UNDEFINED_OBJECT: &str = "42704";
/// The name of a prepared transaction is in use.
const DUPLICATE_OBJECT: &str = "42710";
/// Among other things, that as many transactions are prepared as `max_prepared_transactions` allows.
const OUT_OF_MEMORY: &str = "53200";
/// Somebody holds what is asked for.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Why a step went no further.
pub(super) enum Stop {
    Fault(Fault),
    Said(Step),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Stop> for Step {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Said(step) => step,
            Stop::Fault(fault) => match fault.meaning {
                Meaning::Refused => Self::Refused(fault.text),
                Meaning::NotNow => Self::Unknown(fault.text),
                Meaning::Silence => Self::Silent(fault.text),
                Meaning::Away => Self::Away(fault.text),
            },
        }
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Applied => Self::Done,
            Answer::Refused(why) => Self::Refused(why),
            Answer::Conflict(why) => Self::Conflict(why),
            Answer::Unknown(why) => Self::Unknown(why),
            Answer::Away(why) => Self::Away(why),
        }
    }
}

/// All of it in one transaction that the database decides about.
impl Database {
    /// Applies everything and takes note that `branch` is done; or nothing.
    pub async fn commit_alone(&self, branch: &Branch, work: &[Work<'_>]) -> Step {
        let committed = self.within(work.len(), self.try_commit_alone(branch, work));
        committed.await.unwrap_or_else(Step::from)
    }

    async fn try_commit_alone(&self, branch: &Branch, work: &[Work<'_>]) -> Result<Step, Stop> {
        self.transact(branch.name(), work, "COMMIT").await??;
        Ok(Step::Done)
    }
}

/// A branch of a transaction that somebody else decides.
impl Database {
    /// Applies the effects, unseen, and keeps them until they are committed or aborted, whatever
    /// happens to us or the database.
    pub async fn prepare(&self, branch: &Branch, work: &[Work<'_>]) -> Step {
        let prepared = self.within(work.len(), self.try_prepare(branch, work));
        prepared.await.unwrap_or_else(Step::from)
    }

    async fn try_prepare(&self, branch: &Branch, work: &[Work<'_>]) -> Result<Step, Stop> {
        if !self.is_preparable() {
            let why = "the database prepares no transactions: set `max_prepared_transactions` of \
                       the server above 0";
            return Ok(Step::Refused(why.to_owned()));
        }
        let end = format!("PREPARE TRANSACTION {}", literal(branch.name()));
        let ended = match self.transact(branch.name(), work, &end).await {
            // Somebody holds the name: perhaps the transaction itself, prepared before.
            Err(Stop::Fault(fault)) if fault.is(LOCK_NOT_AVAILABLE) => {
                let session = self.session().await?;
                let is_prepared = is_prepared(&session, branch).await?;
                session.give_back();
                return match is_prepared {
                    true => Ok(Step::AlreadyDone),
                    false => Err(fault.into()),
                };
            }
            ended => ended?,
        };
        match ended {
            Ok(()) => Ok(Step::Done),
            // Another attempt at the same was faster.
            Err(fault) if fault.is(DUPLICATE_OBJECT) => Ok(Step::AlreadyDone),
            Err(fault) if fault.is(OUT_OF_MEMORY) => Ok(Step::Away(fault.text)),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Lets what was prepared be seen. Only for what is decided: it cannot be taken back.
    pub async fn commit(&self, branch: &Branch) -> Step {
        let committed = self.within(0, async {
            let session = self.session().await?;
            let text = format!("COMMIT PREPARED {}", literal(branch.name()));
            let step = match session.plainly(&text).await {
                Ok(()) => Step::Done,
                Err(fault) if fault.is(UNDEFINED_OBJECT) => {
                    match state(&session, branch.name()).await? {
                        Some(true) => Step::AlreadyDone,
                        Some(false) => Step::Aborted(format!("`{branch}` was aborted")),
                        None => Step::Aborted(format!(
                            "`{branch}` is not prepared: it never was, or somebody rolled it back"
                        )),
                    }
                }
                Err(fault) => return Err(fault.into()),
            };
            session.give_back();
            Ok(step)
        });
        committed.await.unwrap_or_else(Step::from)
    }

    /// Takes back what was prepared, and sees to it that it cannot be prepared later.
    pub async fn abort(&self, branch: &Branch) -> Settled {
        let aborted = self.within(0, self.try_abort(branch));
        aborted.await.unwrap_or_else(unsettled)
    }

    async fn try_abort(&self, branch: &Branch) -> Result<Settled, Stop> {
        let session = self.session().await?;
        let text = format!("ROLLBACK PREPARED {}", literal(branch.name()));
        for _ in 0..ROUNDS {
            match session.plainly(&text).await {
                Ok(()) => {}
                Err(fault) if fault.is(UNDEFINED_OBJECT) => {}
                Err(fault) => return Err(fault.into()),
            }
            match given_up(&session, branch.name()).await {
                // It is being prepared at this moment, late.
                Err(fault) if fault.is(LOCK_NOT_AVAILABLE) => {}
                settled => {
                    let settled = settled?;
                    session.give_back();
                    return Ok(settled);
                }
            }
        }
        session.give_back();
        Ok(Settled::Unknown(format!(
            "`{branch}` is being prepared by somebody else"
        )))
    }

    /// How the branch stands. One that is neither prepared nor committed never will be.
    pub async fn settle(&self, branch: &Branch) -> Settled {
        let settled = self.within(0, self.try_settle(branch));
        settled.await.unwrap_or_else(unsettled)
    }

    async fn try_settle(&self, branch: &Branch) -> Result<Settled, Stop> {
        let session = self.session().await?;
        let mut settled = Settled::Unknown(format!("somebody else is at `{branch}`"));
        for _ in 0..ROUNDS {
            if let Some(is_committed) = state(&session, branch.name()).await? {
                settled = match is_committed {
                    true => Settled::Committed,
                    false => Settled::Aborted,
                };
                break;
            }
            if is_prepared(&session, branch).await? {
                settled = Settled::Prepared;
                break;
            }
            match given_up(&session, branch.name()).await {
                Err(fault) if fault.is(LOCK_NOT_AVAILABLE) => {}
                known => {
                    settled = known?;
                    break;
                }
            }
        }
        session.give_back();
        Ok(settled)
    }

    /// Every prepared transaction of a pipeline, the oldest first.
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn orphans(&self, cluster: &str, pipeline: &str) -> Result<Vec<Orphan>, String> {
        let found = self.within(0, async {
            let session = self.session().await?;
            let rows = session
                .all(ORPHANS, &[&Branch::prefix(cluster, pipeline)])
                .await?;
            session.give_back();
            Ok(rows)
        });
        let rows = found.await.map_err(|stop| said(Step::from(stop)))?;
        let orphan = |row: &tokio_postgres::Row| {
            let age: f64 = row.try_get(1).ok()?;
            Some(Orphan {
                branch: Branch::found(row.try_get(0).ok()?),
                age: Duration::try_from_secs_f64(age).unwrap_or_default(),
            })
        };
        Ok(rows.iter().filter_map(orphan).collect())
    }

    /// Forgets how transactions of a pipeline ended that nobody will ask about again.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn forget(
        &self,
        (cluster, pipeline): (&str, &str),
        older_than: Duration,
    ) -> Result<u64, String> {
        let prefix = Branch::prefix(cluster, pipeline);
        let forgotten = self.within(0, async {
            let session = self.session().await?;
            let values: [Value<'_>; 2] = [&older_than.as_secs_f64(), &prefix];
            let n_rows = session.run(FORGET, &values).await?;
            session.give_back();
            Ok(n_rows)
        });
        forgotten.await.map_err(|stop| said(Step::from(stop)))
    }
}

impl Database {
    /// Ends what takes longer than so many effects may.
    async fn within<T>(
        &self,
        n_effects: usize,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let rounds = u32::try_from(n_effects)
            .unwrap_or(u32::MAX)
            .saturating_add(2);
        let limit = self.timeout().saturating_mul(rounds);
        let ended = tokio::time::timeout(limit, Box::pin(work)).await;
        ended.unwrap_or_else(|_| {
            let why = format!("database `{}`: no answer within {limit:?}", self.place());
            Err(Stop::Said(Step::Silent(why)))
        })
    }
}

/// Sees to it that `name` is settled, and says how.
async fn given_up(session: &Session, name: &str) -> Result<Settled, Fault> {
    session.run(GIVE_UP, &[&name]).await?;
    Ok(match state(session, name).await? {
        Some(true) => Settled::Committed,
        Some(false) => Settled::Aborted,
        None => Settled::Unknown("the barrier row was deleted meanwhile".to_owned()),
    })
}

/// Whether `name` is committed; none: nothing is known of it.
pub(super) async fn state(session: &Session, name: &str) -> Result<Option<bool>, Fault> {
    let row = session.one(STATE, &[&name]).await?;
    let state = row.and_then(|row| row.try_get::<_, String>(0).ok());
    Ok(state.map(|state| state == COMMITTED))
}

async fn is_prepared(session: &Session, branch: &Branch) -> Result<bool, Fault> {
    let row = session.one(IS_PREPARED, &[&branch.name()]).await?;
    Ok(row.is_some())
}

fn unsettled(stop: Stop) -> Settled {
    Settled::Unknown(said(stop.into()))
}

/// What a step that was not done says.
fn said(step: Step) -> String {
    match step {
        Step::Done | Step::AlreadyDone => "done".to_owned(),
        Step::Aborted(why)
        | Step::Refused(why)
        | Step::Conflict(why)
        | Step::Unknown(why)
        | Step::Silent(why)
        | Step::Away(why) => why,
    }
}
