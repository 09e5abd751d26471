//! The way of a transaction in one database to its end: the barrier, then the effects. All at once
//! where none of them depends on what is there, one by one where some do.

use super::at_once::{self, Failed};
use super::database::{Database, Session, Value};
use super::fault::Fault;
use super::table::{Table, Written};
use super::transaction::{ROUNDS, Step, Stop, state};
use crate::fault::{self, Promise};
use crate::target::{Opened, Work};

/// Nothing comes out when the name is taken.
const BAR: &str = "\
    INSERT INTO syncline_meta.barrier (name, state) VALUES ($1::text, 'c') ON CONFLICT DO NOTHING";
/// The same, and the transaction fails.
const BAR_OR_FAIL: &str = "INSERT INTO syncline_meta.barrier (name, state) VALUES ($1::text, 'c')";
/// The name is taken.
const UNIQUE_VIOLATION: &str = "23505";

impl Database {
    /// Does `work` in a transaction that holds the barrier, up to `end`, which is `COMMIT` or prepares it. Gives
    /// what the database said to that.
    pub(super) async fn transact(
        &self,
        name: &str,
        work: &[Work<'_>],
        end: &str,
    ) -> Result<Result<(), Fault>, Stop> {
        if let Some(blind) = self.blind(work)?
            && !fault::breaks(Promise::Barrier)
        {
            return self.transact_at_once(name, work, &blind, end).await;
        }
        let session = self.begin(name).await?;
        if let Err(stop) = self.write(&session, work).await {
            session.roll_back().await;
            return Err(stop);
        }
        let ended = session.plainly(end).await;
        if ended.is_ok() {
            session.give_back();
        }
        Ok(ended)
    }

    /// The statements of `work`, when none of it depends on what is there.
    fn blind<'a>(&self, work: &[Work<'a>]) -> Result<Option<Vec<(&'a str, String)>>, Stop> {
        let mut all = Vec::with_capacity(work.len());
        for one in work {
            match self.table_of(one)?.blindly(&one.planned.effect) {
                Ok(Some(statement)) => all.push(statement),
                Ok(None) => return Ok(None),
                Err(answer) => return Err(Stop::Said(answer.into())),
            }
        }
        Ok(Some(all))
    }

    async fn transact_at_once(
        &self,
        name: &str,
        work: &[Work<'_>],
        blind: &[(&str, String)],
        end: &str,
    ) -> Result<Result<(), Fault>, Stop> {
        let bar = at_once::Step {
            text: BAR_OR_FAIL,
            value: name,
        };
        let writes = blind
            .iter()
            .map(|(text, row)| at_once::Step { text, value: row });
        let steps: Vec<_> = std::iter::once(bar).chain(writes).collect();
        for _ in 0..ROUNDS {
            let session = self.session().await?;
            match at_once::run(session, &steps, end).await {
                Ok(()) => return Ok(Ok(())),
                Err(Failed::End(fault)) => return Ok(Err(fault)),
                Err(Failed::Step(0, fault)) if fault.is(UNIQUE_VIOLATION) => {
                    let session = self.session().await?;
                    let known = state(&session, name).await?;
                    session.give_back();
                    // Or whoever held it has taken it back.
                    if let Some(is_committed) = known {
                        return Err(Stop::Said(barred(is_committed)));
                    }
                }
                Err(Failed::Beginning(fault) | Failed::Step(0, fault)) => return Err(fault.into()),
                Err(Failed::Step(n, fault)) => {
                    let place = work.get(n - 1).map(|one| self.place_of(one));
                    return Err(fault.at(&place.unwrap_or_default()).into());
                }
            }
        }
        Err(Stop::Said(in_the_way()))
    }

    /// Opens a transaction that holds the barrier; or says why there is none.
    async fn begin(&self, name: &str) -> Result<Session, Stop> {
        let session = self.session().await?;
        if fault::breaks(Promise::Barrier) {
            session.plainly("BEGIN").await?;
            return Ok(session);
        }
        for _ in 0..ROUNDS {
            let value: [Value<'_>; 1] = [&name];
            // Without it the row would be committed by itself.
            session.plainly("BEGIN").await?;
            if session.run(BAR, &value).await? == 1 {
                return Ok(session);
            }
            session.plainly("ROLLBACK").await?;
            // Or whoever held it has taken it back.
            if let Some(is_committed) = state(&session, name).await? {
                session.give_back();
                return Err(Stop::Said(barred(is_committed)));
            }
        }
        Err(Stop::Said(in_the_way()))
    }

    async fn write(&self, session: &Session, work: &[Work<'_>]) -> Result<(), Stop> {
        for one in work {
            let table = self.table_of(one)?;
            let written = table.write(session, &one.planned.effect).await;
            match written.map_err(|fault| fault.at(&self.place_of(one)))? {
                Written::Done => {}
                Written::Not(answer) => return Err(Stop::Said(answer.into())),
            }
        }
        Ok(())
    }

    /// Where an effect belongs.
    fn place_of(&self, work: &Work<'_>) -> String {
        let table = self.table_of(work).map(Table::name).unwrap_or_default();
        format!("target `{}`, table `{table}`", work.planned.target)
    }

    fn table_of<'a>(&self, work: &Work<'a>) -> Result<&'a Table, Stop> {
        match &work.target.kind {
            Opened::Postgres(target) if std::ptr::eq(&raw const **target.database(), self) => {
                Ok(target.table())
            }
            _ => Err(Stop::Said(Step::Refused(format!(
                "target `{}` is no table of the database `{}`",
                work.planned.target,
                self.place()
            )))),
        }
    }
}

/// What there is to say where the barrier was there before.
fn barred(is_committed: bool) -> Step {
    match is_committed {
        true => Step::AlreadyDone,
        false => Step::Aborted("it was given up before".to_owned()),
    }
}

fn in_the_way() -> Step {
    Step::Unknown("others begin and take back the same transaction".to_owned())
}
