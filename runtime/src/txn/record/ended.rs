//! In which generations an event has ended, as the record on its marker's subject tells. An event is replayed under the
//! next generation, and what comes of that says nothing about those before. Pure.

use super::Head;

/// What a record says of an event in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::txn) enum Ended {
    /// It has not ended: this is the last generation that has.
    No(Option<u32>),
    /// It has, with this record, which is to be carried out.
    Here,
    /// It had, before this record replaced the one that says how.
    Before,
}

impl Head {
    /// Whether the event has ended in this generation or a later one, where it is known whether what this
    /// record says `is_decided`.
    pub(in crate::txn) fn ended(&self, is_decided: bool, generation: u32) -> Ended {
        let here = is_decided.then_some(self.generation);
        if here.is_some_and(|ended| ended >= generation) {
            return Ended::Here;
        }
        match self.ended_before {
            Some(ended) if ended >= generation => Ended::Before,
            before => Ended::No(before.max(here)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::record::{Record, State};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record(state: State, generation: u32) -> Record {
        let marker = format!(r#"{{"state":"DONE","generation":{generation}}}"#);
        let mut record = Record::decode(&Bytes::from(marker)).unwrap();
        record.head.state = state;
        record
    }

    #[test]
    fn an_attempt_at_a_replay_that_came_to_nothing_does_not_hide_the_end_before_it() {
        let dead = record(State::Dead, 0);
        let Ended::No(ended) = dead.head.ended(true, 1) else {
            panic!("a replay is another generation");
        };
        let aborted = record(State::Aborted, 1).after_end(ended);
        assert_eq!(aborted.head.ended(false, 0), Ended::Before);
        assert_eq!(aborted.head.ended(false, 1), Ended::No(Some(0)));
        // A database may have committed what it was to decide.
        let delegated = record(State::Delegated, 1).after_end(ended);
        assert_eq!(delegated.head.ended(true, 0), Ended::Here);
        assert_eq!(delegated.head.ended(false, 0), Ended::Before);
    }

    proptest! {
        /// Copies of an event and replays of it write one after the other, each only where it has not ended, and
        /// some of it comes to nothing: none of them is begun again after it has ended.
        #[test]
        fn what_has_ended_stays_so(steps in prop::collection::vec((0u32..4, any::<bool>()), 1..40)) {
            let mut found: Option<(Record, bool)> = None;
            let mut last_ended: Option<u32> = None;
            for (generation, is_decided) in steps {
                let stands = match &found {
                    Some((record, was_decided)) => record.head.ended(*was_decided, generation),
                    None => Ended::No(None),
                };
                let has_ended = last_ended.is_some_and(|ended| ended >= generation);
                match stands {
                    Ended::No(before) => {
                        prop_assert!(!has_ended);
                        prop_assert_eq!(before, last_ended);
                        let written = record(State::Delegated, generation).after_end(before);
                        let read = Record::decode(&written.encode().unwrap()).unwrap();
                        if is_decided {
                            last_ended = Some(generation);
                        }
                        found = Some((read, is_decided));
                    }
                    Ended::Here | Ended::Before => prop_assert!(has_ended),
                }
            }
        }
    }
}
