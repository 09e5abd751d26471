//! One copy of a message, and the right to answer for it once.

use super::{Accepted, DeadReason, Envelope, Failure, Hold, InvalidEvent, Original};
use std::sync::Arc;

/// A message that a source handed over, decoded where it could be.
#[derive(Debug)]
pub struct Delivery {
    /// The message as it came.
    pub original: Original,
    /// The event in it. A message that says it is an event and is none goes on as well: its
    /// envelope names it, and the fault makes it a dead letter.
    pub envelope: Envelope,
    /// Why it is no event, if it is none.
    pub fault: Option<InvalidEvent>,
    /// What it went through before; for a replayed one only.
    pub past: Option<Box<Past>>,
    /// The right to answer.
    pub receipt: Receipt,
}

/// What a dead letter brings along when its event is replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// Its failed attempts.
    pub history: Vec<Failure>,
    /// Effects that targets accepted, and that are left out now.
    pub accepted: Vec<Accepted>,
    /// The letter that it comes out of, where that holds its key.
    pub hold: Option<Hold>,
}

/// A message that comes again, out of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// The message as it came first.
    pub original: Original,
    /// How often it was replayed, this time included.
    pub generation: u32,
    /// What it went through.
    pub past: Past,
}

/// The answer to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Done with: never send it again.
    Ack,
    /// Given away: whoever is next takes it.
    GiveBack,
}

/// How an event ended, for whoever asked for it and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it is counted.
    pub outcome: Outcome,
    /// Why it failed; none: it did not.
    pub failure: Option<(DeadReason, String)>,
    /// How many effects targets accepted.
    pub n_effects: usize,
    /// What stood after the last stage.
    pub standing: Vec<Envelope>,
}

/// The word under which an event is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its effects were applied.
    Done,
    /// Its plugins dropped it.
    Filtered,
    /// It became a dead letter.
    Dead,
    /// It waits as a letter for an earlier one of its key.
    Parked,
    /// It had ended before.
    Duplicate,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Filtered => "filtered",
            Self::Dead => "dead",
            Self::Parked => "parked",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Who carries an answer to the source.
pub trait Settle: Send + Sync {
    /// Carries the answer for the delivery that `ticket` stands for. Must not block.
    fn settle(&self, ticket: u64, disposition: Disposition);

    /// Whether somebody waits to hear how the event of `ticket` ends.
    fn is_asked(&self, ticket: u64) -> bool {
        let _ = ticket;
        false
    }

    /// As [`Self::settle`] for an event that has ended, with how it did. Must not block.
    fn report(&self, ticket: u64, report: Report) {
        drop(report);
        self.settle(ticket, Disposition::Ack);
    }
}

/// The right to answer for a delivery, once. Dropped unsettled it gives the delivery back.
pub struct Receipt {
    settler: Option<Arc<dyn Settle>>,
    ticket: u64,
}

impl Receipt {
    /// A receipt whose answer `settler` carries.
    #[must_use]
    pub fn new(settler: Arc<dyn Settle>, ticket: u64) -> Self {
        Self {
            settler: Some(settler),
            ticket,
        }
    }

    /// Whether somebody waits to hear how the event ends.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        let settler = self.settler.as_ref();
        settler.is_some_and(|settler| settler.is_asked(self.ticket))
    }

    /// Answers that the event has ended, and how.
    pub fn report(mut self, report: Report) {
        if let Some(settler) = self.settler.take() {
            settler.report(self.ticket, report);
        }
    }

    /// Answers.
    pub fn settle(mut self, disposition: Disposition) {
        if let Some(settler) = self.settler.take() {
            settler.settle(self.ticket, disposition);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(settler) = self.settler.take() {
            settler.settle(self.ticket, Disposition::GiveBack);
        }
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Answers(Mutex<Vec<(u64, Disposition)>>);

    impl Settle for Answers {
        fn settle(&self, ticket: u64, disposition: Disposition) {
            self.0.lock().push((ticket, disposition));
        }
    }

    #[test]
    fn a_receipt_answers_exactly_once() {
        let answers = Arc::new(Answers::default());
        Receipt::new(answers.clone(), 1).settle(Disposition::Ack);
        drop(Receipt::new(answers.clone(), 2));
        let expected = vec![(1, Disposition::Ack), (2, Disposition::GiveBack)];
        assert_eq!(*answers.0.lock(), expected);
    }
}
