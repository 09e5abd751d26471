//! A transaction whose statements are sent with its end, before any of them is answered. Whatever fails takes
//! the rest with it, for the database then takes the end as a rollback. Only for statements of which none
//! rests on what another one answers.

use super::database::{Session, Value};
use super::fault::{Fault, Meaning};
use futures::future::{BoxFuture, MaybeDone, maybe_done};
use futures::poll;
use std::pin::Pin;
use tokio_postgres::Statement;

/// A statement, and the one value that it has.
pub(super) struct Step<'a> {
    pub(super) text: &'a str,
    pub(super) value: &'a str,
}

/// What failed first.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was begun.
    Beginning(Fault),
    /// The step of this number, counted from 0. Nothing is done.
    Step(usize, Fault),
    /// The end.
    End(Fault),
}

/// What is on its way.
type Sent<'a> = Pin<Box<MaybeDone<BoxFuture<'a, Result<(), Fault>>>>>;

/// Runs `steps` in a transaction, and then `end`, which commits or prepares it. Gives the session back where
/// nothing is open in it.
pub(super) async fn run(session: Session, steps: &[Step<'_>], end: &str) -> Result<(), Failed> {
    let (ended, is_clear) = send_all(&session, steps, end).await;
    if is_clear {
        session.give_back();
    }
    ended
}

/// Whether nothing is open afterwards as well.
async fn send_all(session: &Session, steps: &[Step<'_>], end: &str) -> (Result<(), Failed>, bool) {
    // What the session does not know yet would be sent after the end.
    let mut statements = Vec::with_capacity(steps.len());
    for step in steps {
        match session.prepared(step.text).await {
            Ok(statement) => statements.push(statement),
            Err(fault) => return (Err(Failed::Beginning(fault)), true),
        }
    }
    // Without it each statement would be a transaction of its own.
    if let Err(fault) = session.plainly("BEGIN").await {
        return (Err(Failed::Beginning(fault)), false);
    }
    let mut sent: Vec<Sent<'_>> = Vec::with_capacity(steps.len());
    let mut is_whole = true;
    for (step, statement) in steps.iter().zip(&statements) {
        let work: BoxFuture<'_, _> = Box::pin(execute(session, statement, step.value));
        let mut work = Box::pin(maybe_done(work));
        // What has failed by now was perhaps never sent, and would fail nothing in the database.
        let is_ready = poll!(work.as_mut()).is_ready();
        is_whole = !is_ready || work.as_mut().output_mut().is_some_and(|done| done.is_ok());
        sent.push(work);
        if !is_whole {
            break;
        }
    }
    let ended = match is_whole {
        true => session.plainly(end).await,
        false => Err(Fault::new(Meaning::Silence, "the end was not sent")),
    };
    let is_clear = ended.is_ok();
    for (n, mut work) in sent.into_iter().enumerate() {
        work.as_mut().await;
        if let Some(Err(fault)) = work.as_mut().take_output() {
            return (Err(Failed::Step(n, fault)), is_clear);
        }
    }
    (ended.map_err(Failed::End), is_clear)
}

async fn execute(session: &Session, statement: &Statement, value: &str) -> Result<(), Fault> {
    let values: [Value<'_>; 1] = [&value];
    session.execute(statement, &values).await
}
