//! What a target can promise a transaction.

use super::{Cause, Opened, Target};
use crate::atomic_batch::Message;
use crate::event::{Operation, PlannedEffect};
use std::time::Duration;

/// The stream on which decisions lie.
pub const JOINED: &str = "TX";

/// Room for the headers that an effect gets on its way.
const MARGIN: usize = 1_024;

/// What a target can promise for one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    /// Once decided it is taken in the end, whatever happens to the entity meanwhile: it may wait
    /// until after the decision.
    Deferred,
    /// It lies on the stream of decisions itself, and is written with the decision.
    Joined,
    /// Its database, or module, takes it in one transaction with all else that goes there: a database may
    /// decide by itself; else it is prepared before the decision and unseen until then.
    Transactional,
    /// It is changed before the decision and can be changed back: others see it meanwhile.
    Undoable,
    /// None that a transaction could rest on, for this reason.
    None(String),
}

impl Target {
    /// What it promises for `planned`, as far as that is known without asking it.
    #[must_use]
    pub fn promise(&self, planned: &PlannedEffect) -> Promise {
        let effect = &planned.effect;
        let why = match &self.kind {
            Opened::Subject(target) if target.is_core() => "core NATS confirms nothing",
            Opened::Subject(target) if target.stream().is_none() => {
                "its `stream` is not named, so that nobody can look what it took"
            }
            Opened::Subject(_) if effect.precondition.is_some() => {
                "a subject target has no preconditions"
            }
            Opened::Kv(_) if effect.operation == Operation::Append => "it has no `append`",
            Opened::Kv(_)
                if effect.precondition.is_some() || effect.operation == Operation::Merge =>
            {
                return self.if_it_fits(planned, Promise::Undoable);
            }
            Opened::Subject(target) if target.is_on(JOINED) => {
                return self.if_it_fits(planned, Promise::Joined);
            }
            Opened::Subject(_) | Opened::Kv(_) => {
                return self.if_it_fits(planned, Promise::Deferred);
            }
            Opened::Http(target) if target.reserves() => return Promise::Transactional,
            Opened::Http(_) => return self.if_it_fits(planned, Promise::Undoable),
            Opened::Postgres(target) => match target.misfit(effect) {
                Some(why) => return Promise::None(why),
                None => return Promise::Transactional,
            },
        };
        Promise::None(why.to_owned())
    }

    /// The message that `planned` is, where it is written with the decision and kept for `horizon`.
    #[must_use]
    pub fn message(
        &self,
        planned: &PlannedEffect,
        cause: &Cause,
        horizon: Duration,
    ) -> Option<Message> {
        match &self.kind {
            Opened::Subject(target) => Some(target.message(planned, cause, horizon)),
            Opened::Kv(_) | Opened::Postgres(_) | Opened::Http(_) => None,
        }
    }

    fn if_it_fits(&self, planned: &PlannedEffect, promise: Promise) -> Promise {
        let effect = &planned.effect;
        let headers = effect.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        // The key is in the subject, escaped, and in a header.
        let size = effect.payload.len() + headers + effect.key.len() * 4 + MARGIN;
        if size > self.largest {
            let largest = self.largest;
            let why = format!("{size} bytes with headers are more than the {largest} it takes");
            return Promise::None(why);
        }
        promise
    }
}
