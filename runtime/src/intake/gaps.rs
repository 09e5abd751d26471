//! Whether messages were lost between the consumer and us. Pure.
//!
//! The server numbers what a consumer hands over. What was on its way when a connection or a server
//! went is missing in that row, and comes again only after the ack wait: behind later events of its
//! key. The client goes on without a word, so the row is watched here.

/// So few messages in one piece are no sign of order.
const FEW: u64 = 10;
/// So often in a row: somebody else takes messages from the same consumer.
const OFTEN: u32 = 3;

/// The row in which a consumer's messages came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gaps {
    last: Option<u64>,
    /// Messages in one piece since the consumer was opened.
    n_whole: u64,
    /// How often there was a gap after few messages, the last times in a row.
    n_early: u32,
}

/// What a message says of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// None is missing, as far as that can be told.
    Whole,
    /// Those between these two are missing: the consumer is to be opened again.
    Broken { last: u64, next: u64 },
    /// Messages are missing again and again: another takes them.
    Shared,
}

impl Gaps {
    /// The consumer was opened: its row begins anew.
    pub(super) fn begin(&mut self) {
        self.last = None;
        self.n_whole = 0;
    }

    /// Passes the message with this place in the row.
    pub(super) fn pass(&mut self, next: u64) -> Row {
        let last = self.last.replace(next);
        match last {
            // A new leader of the consumer may not know the last ones and number them again.
            Some(last) if next > last + 1 && self.n_early < OFTEN => {
                let is_early = self.n_whole < FEW;
                self.n_early = if is_early { self.n_early + 1 } else { 0 };
                match self.n_early {
                    OFTEN => Row::Shared,
                    _ => Row::Broken { last, next },
                }
            }
            _ => {
                self.n_whole += 1;
                Row::Whole
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(gaps: &mut Gaps, places: impl IntoIterator<Item = u64>) -> Vec<Row> {
        places.into_iter().map(|place| gaps.pass(place)).collect()
    }

    #[test]
    fn a_missing_message_breaks_the_row_and_one_that_comes_again_does_not() {
        let mut gaps = Gaps::default();
        assert_eq!(pass(&mut gaps, [7, 8, 6, 7, 8, 9]), [Row::Whole; 6]);
        assert_eq!(gaps.pass(12), Row::Broken { last: 9, next: 12 });
        gaps.begin();
        assert_eq!(pass(&mut gaps, [40, 41]), [Row::Whole; 2]);
    }

    #[test]
    fn gaps_after_few_messages_again_and_again_mean_that_another_takes_them() {
        let mut gaps = Gaps::default();
        for n in 1..=OFTEN {
            gaps.begin();
            assert_eq!(gaps.pass(1), Row::Whole);
            let row = gaps.pass(3);
            assert_eq!(row == Row::Shared, n == OFTEN, "{n}: {row:?}");
        }
        assert_eq!(
            pass(&mut gaps, [5, 9, 20]),
            [Row::Whole; 3],
            "nothing is said any more"
        );
    }

    #[test]
    fn a_gap_after_many_messages_is_a_loss_however_often_it_comes() {
        let mut gaps = Gaps::default();
        for _ in 0..10 {
            gaps.begin();
            assert!(pass(&mut gaps, 1..=20).iter().all(|row| *row == Row::Whole));
            assert_eq!(gaps.pass(22), Row::Broken { last: 20, next: 22 });
        }
    }
}
