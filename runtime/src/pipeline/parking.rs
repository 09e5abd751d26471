//! Which ordering keys are held, and by whom. Pure.
//!
//! A key is held by the events of it that have a letter: the least of them failed for good, or was let go
//! and is on its way. Whatever comes behind the least one waits as a letter too.

use crate::event::{Hold, OrderingKey, Rank};
use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::hash_map::HashMap;

/// How many that merely wait are let go at once. Each that finds the one before it failed is stored once
/// more; with one alone, a key under load would be held for ever.
const AHEAD: usize = 8;

/// The held keys of one share of a pipeline's events.
#[derive(Debug, Default)]
pub(super) struct Parking {
    keys: HashMap<OrderingKey, BTreeMap<(u64, u64), Parked>>,
}

/// An event that holds its key. Kept small: there may be very many.
#[derive(Debug, Clone, Copy)]
struct Parked {
    /// Position of its letter; 0: that is being stored.
    letter: u64,
    generation: u32,
    /// Whether it merely waits for one before it.
    waits: bool,
    /// Whether it was let go, and comes by itself.
    is_due: bool,
}

/// What an event may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is handled: nothing of its key stands before it.
    Go,
    /// It waits for one before it.
    Wait,
    /// There is nothing to do: a letter speaks for it.
    Over,
}

impl Parking {
    /// Keys held by letters that are stored, each with whether it was let go.
    pub(super) fn of(holds: impl IntoIterator<Item = (Hold, bool)>) -> Self {
        let mut parking = Self::default();
        for (hold, is_due) in holds {
            parking.put(&hold, is_due);
        }
        parking
    }

    fn put(&mut self, hold: &Hold, is_due: bool) {
        let parked = Parked {
            letter: hold.letter,
            generation: hold.generation,
            waits: hold.waits,
            is_due,
        };
        let key = self.keys.entry(hold.rank.key.clone()).or_default();
        key.insert(hold.rank.position(), parked);
    }

    /// The turn of an event that came from the source, or out of a letter that does not hold its key.
    pub(super) fn of_event(&self, rank: &Rank) -> Turn {
        let Some(key) = self.keys.get(&rank.key) else {
            return Turn::Go;
        };
        if key.contains_key(&rank.position()) {
            return Turn::Over;
        }
        turn(key, rank)
    }

    /// The turn of an event that came out of `hold`, for the `generation`th time.
    pub(super) fn of_replay(&mut self, hold: &Hold, generation: u32) -> Turn {
        let key = self.keys.entry(hold.rank.key.clone()).or_default();
        match key.entry(hold.rank.position()) {
            // It came to its end before, and a later letter says so.
            Entry::Occupied(parked) if parked.get().generation >= generation => return Turn::Over,
            Entry::Occupied(mut parked) => parked.get_mut().is_due = true,
            Entry::Vacant(place) => drop(place.insert(Parked {
                letter: hold.letter,
                generation: hold.generation,
                waits: hold.waits,
                is_due: true,
            })),
        }
        turn(key, &hold.rank)
    }

    /// Holds the key while the letter of the event at `rank` is being stored.
    pub(super) fn reserve(&mut self, rank: &Rank) {
        let key = self.keys.entry(rank.key.clone()).or_default();
        key.entry(rank.position()).or_insert(Parked {
            letter: 0,
            generation: 0,
            waits: true,
            is_due: true,
        });
    }

    /// The letter is stored; false when it was taken away since.
    pub(super) fn settle(&mut self, hold: &Hold) -> bool {
        let key = self.keys.get(&hold.rank.key);
        let is_reserved = key.is_some_and(|key| key.contains_key(&hold.rank.position()));
        if is_reserved {
            self.put(hold, false);
        }
        is_reserved
    }

    /// The event at `rank` holds its key no more, unless it has a later letter than `letter`.
    pub(super) fn release(&mut self, rank: &Rank, letter: u64) {
        let Some(key) = self.keys.get_mut(&rank.key) else {
            return;
        };
        if let Entry::Occupied(parked) = key.entry(rank.position())
            && parked.get().letter <= letter
        {
            parked.remove();
        }
        if key.is_empty() {
            self.keys.remove(&rank.key);
        }
    }

    /// The events of a key that wait for nobody any more, in order, and their letters; each is given once.
    pub(super) fn due(&mut self, key: &OrderingKey) -> Vec<(Rank, u64)> {
        let Some(parked) = self.keys.get_mut(key) else {
            return Vec::new();
        };
        let first = parked.iter_mut().take(AHEAD);
        let waiting = first.take_while(|(_, parked)| parked.waits);
        let due = waiting.filter(|(_, parked)| !parked.is_due);
        let due = due.map(|((stream_created, sequence), parked)| {
            parked.is_due = true;
            let rank = Rank {
                key: key.clone(),
                stream_created: *stream_created,
                sequence: *sequence,
            };
            (rank, parked.letter)
        });
        due.collect()
    }

    /// Every held key.
    pub(super) fn keys(&self) -> Vec<OrderingKey> {
        self.keys.keys().cloned().collect()
    }
}

fn turn(key: &BTreeMap<(u64, u64), Parked>, rank: &Rank) -> Turn {
    match key.first_key_value() {
        Some((least, _)) if *least < rank.position() => Turn::Wait,
        _ => Turn::Go,
    }
}

#[cfg(test)]
#[path = "parking_model.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(key: &str, sequence: u64) -> Rank {
        Rank {
            key: OrderingKey::from(key),
            stream_created: 1,
            sequence,
        }
    }

    fn hold(key: &str, sequence: u64, waits: bool) -> Hold {
        Hold {
            rank: rank(key, sequence),
            letter: sequence + 100,
            generation: 0,
            waits,
        }
    }

    #[test]
    fn a_key_is_held_and_others_are_not() {
        let parking = Parking::of([(hold("a", 2, false), false), (hold("a", 4, true), false)]);
        assert_eq!(parking.of_event(&rank("a", 3)), Turn::Wait);
        assert_eq!(parking.of_event(&rank("a", 5)), Turn::Wait);
        assert_eq!(parking.of_event(&rank("a", 4)), Turn::Over);
        // It comes before all that wait: what an earlier run had not ended.
        assert_eq!(parking.of_event(&rank("a", 1)), Turn::Go);
        assert_eq!(parking.of_event(&rank("b", 5)), Turn::Go);
        // A stream that was made anew counts from 1 again.
        let renewed = Rank {
            stream_created: 2,
            ..rank("a", 1)
        };
        assert_eq!(parking.of_event(&renewed), Turn::Wait);
    }

    #[test]
    fn a_letter_that_is_taken_away_while_it_is_stored_holds_nothing() {
        let mut parking = Parking::default();
        parking.reserve(&rank("a", 1));
        assert_eq!(parking.of_event(&rank("a", 2)), Turn::Wait);
        assert_eq!(
            parking.due(&OrderingKey::from("a")),
            [],
            "there is none yet"
        );
        parking.release(&rank("a", 1), 101);
        assert!(!parking.settle(&hold("a", 1, false)));
        assert_eq!(parking.of_event(&rank("a", 2)), Turn::Go);
        // An earlier one that is taken away is not this one.
        parking.reserve(&rank("a", 2));
        assert!(parking.settle(&hold("a", 2, false)));
        parking.release(&rank("a", 2), 101);
        assert_eq!(parking.of_event(&rank("a", 3)), Turn::Wait);
    }

    #[test]
    fn what_waits_is_due_when_nothing_failed_stands_before_it() {
        let waiting = (3..30).map(|sequence| (hold("a", sequence, true), false));
        let mut parking = Parking::of(waiting.chain([(hold("a", 2, false), false)]));
        let key = OrderingKey::from("a");
        assert_eq!(parking.due(&key), []);
        parking.release(&rank("a", 2), 102);
        let due = parking.due(&key);
        assert_eq!(due.len(), AHEAD);
        assert_eq!(due[0], (rank("a", 3), 103));
        assert_eq!(parking.due(&key), [], "each is let go once");
        parking.release(&rank("a", 3), 103);
        assert_eq!(parking.due(&key), [(rank("a", 11), 111)]);
    }
}
