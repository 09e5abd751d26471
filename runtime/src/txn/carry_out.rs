//! Carrying out what was decided: every effect in order, until all of them hold.

use super::ledger::Waiting;
use super::record::{Decided, Record};
use super::{Coordinator, Tenure};
use crate::dead_letter::Draft;
use crate::fault::{self, Point};
use crate::target::{Answer, Target};
use std::time::Duration;
use tokio::time::Instant;
use tracing::error;

/// How long the memory of message ids of the stream of dead letters is trusted: two minutes are what it
/// was made with.
const TRUSTED: Duration = Duration::from_secs(20);

impl Coordinator {
    /// Carries out `record`, of which with `maybe_begun` something may be done already; false when
    /// the tenure ends before.
    pub(super) async fn carry_out(
        &self,
        record: &Record,
        maybe_begun: bool,
        tenure: &Tenure,
    ) -> bool {
        self.commit_all(record, tenure).await
            && self.carry_out_rest(record, maybe_begun, tenure).await
    }

    /// The same of what databases have committed.
    pub(super) async fn carry_out_rest(
        &self,
        record: &Record,
        maybe_begun: bool,
        tenure: &Tenure,
    ) -> bool {
        let has_committed = record.branches().next().is_some();
        for (index, decided) in record.effects.iter().enumerate() {
            if index > 0 || has_committed {
                fault::reach(Point::BetweenEffects).await;
            }
            if !self
                .carry_out_one(record, decided, maybe_begun, tenure)
                .await
            {
                return false;
            }
        }
        match &record.letter {
            Some(letter) => self.deliver(letter, maybe_begun, tenure).await,
            None => true,
        }
    }

    async fn carry_out_one(
        &self,
        record: &Record,
        decided: &Decided,
        maybe_begun: bool,
        tenure: &Tenure,
    ) -> bool {
        let name = &decided.planned.target;
        let attempted = format!("cannot carry out what was decided at target `{name}`");
        let (began, mut waiting) = (Instant::now(), Waiting::default());
        let mut maybe_seen = maybe_begun;
        loop {
            if !tenure.held().await {
                return false;
            }
            let Some(target) = self.targets.get(name) else {
                self.abandon(record, decided, "there is no such target any more");
                return true;
            };
            // Half of the time: what is sent now arrives later.
            let trusted = target.remembers() / 2;
            let is_doubtful = maybe_begun || (maybe_seen && began.elapsed() >= trusted);
            let why = match self
                .once(target, (record, decided), maybe_seen, is_doubtful)
                .await
            {
                Answer::Applied => return true,
                Answer::Refused(why) => {
                    self.abandon(record, decided, &why);
                    return true;
                }
                Answer::Conflict(why) | Answer::Unknown(why) | Answer::Away(why) => why,
            };
            maybe_seen = true;
            if !waiting.wait(&attempted, &why, tenure).await {
                return false;
            }
            tokio::select! {
                () = target.rest() => {}
                () = tenure.shutdown().begun() => return false,
            }
        }
    }

    /// Applies the effect, once looked for where that `is_doubtful`.
    async fn once(
        &self,
        target: &Target,
        (record, decided): (&Record, &Decided),
        maybe_seen: bool,
        is_doubtful: bool,
    ) -> Answer {
        let Some(cause) = record.cause(decided, maybe_seen) else {
            return Answer::Applied;
        };
        if is_doubtful {
            let after = record.after(&decided.planned.target);
            let id = &decided.message_id;
            match target.has_taken(&decided.planned, id, after).await {
                Ok(true) => return Answer::Applied,
                Ok(false) => {}
                Err(error) => return Answer::Unknown(error),
            }
        }
        target.apply(&decided.planned, &cause).await
    }

    async fn deliver(&self, letter: &Draft, maybe_begun: bool, tenure: &Tenure) -> bool {
        let attempted = format!("cannot store the dead letter {}", letter.id);
        let (began, mut waiting) = (Instant::now(), Waiting::default());
        let mut maybe_stored = maybe_begun;
        loop {
            fault::reach(Point::LetterPending).await;
            if !tenure.held().await {
                return false;
            }
            let is_doubtful = maybe_begun || (maybe_stored && began.elapsed() > TRUSTED);
            let stored = match is_doubtful {
                true => self.dead_letters.holds(letter).await,
                false => Ok(false),
            };
            let stored = match stored {
                Ok(false) => self.dead_letters.put(letter).await,
                known => known.map(drop),
            };
            let Err(error) = stored else { return true };
            maybe_stored = true;
            if !waiting.wait(&attempted, &error, tenure).await {
                return false;
            }
        }
    }

    /// What cannot happen by what the target promised: said as loudly as can be, and the rest is
    /// carried out.
    fn abandon(&self, record: &Record, decided: &Decided, why: &str) {
        error!(pipeline = %self.pipeline, gid = record.gid().unwrap_or_default(),
            target = %decided.planned.target, key = %decided.planned.effect.key, %why,
            "a decided effect was refused: the targets are out of step until somebody applies it");
    }
}
