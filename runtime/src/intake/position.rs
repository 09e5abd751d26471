//! Where an intake stands in its stream and in its consumer. Pure.

/// Where an intake stands in its stream and in its consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Up to where events may have been worked on before.
    pub(super) newest: u64,
    /// Whether the stream may hold later ones that an earlier run has met: nobody was asked.
    pub(super) is_open: bool,
    /// The number of the consumer's last delivery.
    pub(super) delivered: u64,
}

impl Position {
    /// Passes `sequence`; true when it may have been worked on before: by an earlier run, whose
    /// answers the server may have forgotten, or by this one. What comes after the last message of
    /// the stream (`is_last`) is new in any case.
    pub(super) fn pass(&mut self, sequence: u64, is_last: bool) -> bool {
        let maybe_seen = self.is_open || sequence <= self.newest;
        self.newest = self.newest.max(sequence);
        self.is_open &= !is_last;
        maybe_seen
    }

    /// Counts the consumer's deliveries. One that went elsewhere holds an event that must come before
    /// those behind it.
    ///
    /// # Errors
    /// When deliveries are missing before this one.
    pub(super) fn count(&mut self, delivery: u64) -> Result<(), String> {
        let missing = delivery.saturating_sub(self.delivered + 1);
        self.delivered = delivery;
        if missing > 0 {
            return Err(format!(
                "{missing} messages of the consumer went elsewhere or got lost"
            ));
        }
        Ok(())
    }

    /// The same place in the stream; deliveries are counted on from `reopened`.
    pub(super) fn continue_at(&mut self, reopened: Self) {
        self.delivered = reopened.delivered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_run_or_this_one_has_met_may_have_been_seen() {
        let mut position = Position {
            newest: 5,
            is_open: false,
            delivered: 0,
        };
        let seen: Vec<_> = [4, 5, 6, 7, 6, 8]
            .map(|sequence| position.pass(sequence, false))
            .into();
        assert_eq!(seen, [true, true, false, false, true, false]);
    }

    #[test]
    fn where_nobody_asked_all_may_have_been_seen_until_the_stream_is_at_its_end() {
        let mut position = Position {
            newest: 5,
            is_open: true,
            delivered: 0,
        };
        let passed = [(6, false), (7, true), (8, false), (7, true), (9, true)];
        let seen = passed.map(|(sequence, is_last)| position.pass(sequence, is_last));
        assert_eq!(seen, [true, true, false, true, false]);
    }

    #[test]
    fn deliveries_that_went_elsewhere_are_noticed() {
        let mut position = Position {
            newest: 0,
            is_open: false,
            delivered: 4,
        };
        assert!(position.count(5).is_ok());
        // The server counts from an earlier number when it was killed.
        assert!(position.count(3).is_ok());
        assert!(position.count(4).is_ok());
        assert!(position.count(6).unwrap_err().starts_with("1 messages"));
        assert!(position.count(7).is_ok());
    }
}
