//! Keys that are held while a runtime is at work on them, and how they are let go.

use super::parking::{Parking, Turn};
use super::work::Work;
use super::{OnFailure, Pipeline, RetryPolicy};
use crate::event::{OrderingKey, Rank};
use crate::fault::{self, Promise};
use crate::txn::{Takes, Tenure};
use parking_lot::Mutex;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

/// A pipeline's work on a share of its events, from a takeover to its end. Clones share it.
#[derive(Clone)]
pub struct Shift {
    tenure: Tenure,
    /// None where no key is held.
    parking: Option<Arc<Mutex<Parking>>>,
}

impl Shift {
    /// The right to act.
    #[must_use]
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) fn parking(&self) -> Option<Arc<Mutex<Parking>>> {
        self.parking.clone()
    }
}

impl Pipeline {
    /// Work under `tenure`.
    #[must_use]
    pub fn shift(&self, tenure: &Tenure) -> Shift {
        let holds_keys = self.on_failure == OnFailure::ParkKey;
        Shift {
            tenure: tenure.clone(),
            parking: holds_keys.then(Arc::default),
        }
    }

    /// Carries out what earlier runs decided, and holds the keys that they held, before any event is taken in
    /// `shift`; false when that ends before. Its events are those of the subjects and keys that it `takes`.
    pub async fn recover(&self, shift: &Shift, takes: &Takes<'_>) -> bool {
        // First: it may store letters.
        if !self.coordinator.recover(&shift.tenure).await {
            return false;
        }
        let Some(parking) = &shift.parking else {
            return true;
        };
        let find = || self.coordinator.holds(takes);
        let Some(holds) = self.insist(&shift.tenure, find).await else {
            return false;
        };
        let n_letters = holds.len();
        let rebuilt = Parking::of(holds);
        let keys = rebuilt.keys();
        *parking.lock() = rebuilt;
        if n_letters > 0 {
            tracing::info!(pipeline = %self.name, keys = keys.len(), letters = n_letters,
                "keys are held by events that failed");
        }
        for key in keys {
            if !self.let_go_due(parking, &shift.tenure, &key).await {
                return false;
            }
        }
        true
    }

    /// Ends what runtimes that had the pipeline before left behind, for as long as the shift lasts.
    pub async fn patrol(&self, shift: &Shift) {
        self.coordinator.patrol(&shift.tenure).await;
    }

    /// The last word of a shift: nothing more is done in it.
    pub async fn leave_off(&self, shift: &Shift) {
        self.coordinator.leave(&shift.tenure).await;
    }

    /// The letter at this position, about the event at `rank`, was taken away: what waited behind it goes on.
    pub async fn pass(&self, shift: &Shift, rank: &Rank, letter: u64) {
        let Some(parking) = &shift.parking else {
            return;
        };
        parking.lock().release(rank, letter);
        // Cut short only where the next shift begins anew.
        let _is_done = self.let_go_due(parking, &shift.tenure, &rank.key).await;
    }

    /// The turn of an event that came out of a letter that holds its key.
    pub(super) fn turn_of_replay(&self, work: &mut Work) -> Option<Turn> {
        let hold = work.hold.as_ref()?;
        let Some(parking) = &work.parking else {
            return Some(Turn::Go);
        };
        let generation = work.envelope.origin.generation;
        let turn = parking.lock().of_replay(hold, generation);
        if turn == Turn::Over {
            work.hold = None;
        }
        Some(turn)
    }

    /// The turn of any other event.
    pub(super) fn turn_of_event(&self, work: &Work) -> Turn {
        match &work.parking {
            Some(parking) if !fault::breaks(Promise::Hold) => parking.lock().of_event(&work.rank()),
            _ => Turn::Go,
        }
    }

    /// Holds the key while the event's letter is being stored: whoever takes it away at once is heard.
    pub(super) fn reserve(&self, work: &Work) {
        if let Some(parking) = &work.parking {
            parking.lock().reserve(&work.rank());
        }
    }

    /// Takes that back: there will be no letter.
    pub(super) fn withdraw(&self, work: &Work) {
        if let (Some(parking), None) = (&work.parking, &work.hold) {
            parking.lock().release(&work.rank(), u64::MAX);
        }
    }

    /// Holds the key by the event's letter, which is stored; false when it was replayed or taken away since.
    /// None when the shift ended before.
    pub(super) async fn hold_key(&self, work: &mut Work) -> Option<bool> {
        let Some(parking) = work.parking.clone() else {
            // The letter is one like all others, and the one before is done with.
            return self.release(work).await.then_some(true);
        };
        let (rank, origin) = (work.rank(), work.envelope.origin.clone());
        // It has a letter of its own now.
        work.hold = None;
        let find = || self.coordinator.find_hold(&origin, &rank);
        let hold = self.insist(&work.tenure, find).await?;
        let is_held = match hold {
            Some(hold) => parking.lock().settle(&hold),
            None => {
                parking.lock().release(&rank, u64::MAX);
                false
            }
        };
        // What stood before it may have gone meanwhile.
        let let_go = self.let_go_due(&parking, &work.tenure, &rank.key).await;
        let_go.then_some(is_held)
    }

    /// The event has ended: what waits behind it goes on, where it came out of a letter that held its key.
    /// False when the shift ended before.
    pub(super) async fn release(&self, work: &mut Work) -> bool {
        let Some(hold) = work.hold.take() else {
            return true;
        };
        let origin = &work.envelope.origin;
        let close = || self.coordinator.close(origin, &hold);
        if self.insist(&work.tenure, close).await.is_none() {
            return false;
        }
        fault::reach(fault::Point::Closed).await;
        let Some(parking) = &work.parking else {
            return true;
        };
        parking.lock().release(&hold.rank, hold.letter);
        self.let_go_due(parking, &work.tenure, &hold.rank.key).await
    }

    /// Asks for the replay of what waits for nobody any more; false when the shift ended before.
    async fn let_go_due(
        &self,
        parking: &Mutex<Parking>,
        tenure: &Tenure,
        key: &OrderingKey,
    ) -> bool {
        loop {
            let due = parking.lock().due(key);
            if due.is_empty() {
                return true;
            }
            for (rank, letter) in due {
                let let_go = || self.coordinator.let_go(letter);
                let Some(is_there) = self.insist(tenure, let_go).await else {
                    return false;
                };
                if !is_there {
                    parking.lock().release(&rank, letter);
                }
            }
        }
    }

    /// What `attempt` comes to, however often it takes; none when the shift ended before.
    async fn insist<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        tenure: &Tenure,
        attempt: impl Fn() -> F,
    ) -> Option<T> {
        let policy = RetryPolicy {
            attempts: u32::MAX,
            ..self.retry.clone()
        };
        let mut n_failed = 0;
        loop {
            if !tenure.held().await {
                return None;
            }
            match attempt().await {
                Ok(done) => return Some(done),
                Err(error) => {
                    tracing::warn!(pipeline = %self.name, %error, "trying again");
                }
            }
            n_failed += 1;
            let pause = policy.pause_after(n_failed, 0);
            if !tenure
                .shutdown()
                .pause(pause.unwrap_or(policy.longest))
                .await
            {
                return None;
            }
        }
    }
}
