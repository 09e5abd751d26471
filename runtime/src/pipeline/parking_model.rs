//! A small world around the set of held keys: a source, letters, requests, an operator who replays and
//! purges what they like, and crashes between any two writes.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

/// What lies on the stream of dead letters about one copy of an event, with where.
#[derive(Debug, Clone, Copy)]
enum Written {
    Letter { generation: u32, waits: bool },
    Request { letter: u64, generation: u32 },
    Closed { letter: u64, is_purge: bool },
}

/// Where a crash comes, of the places where something was written and more is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    No,
    Acted,
    Closed,
    Stored,
    Settled,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Publish(u8),
    /// The source's next event is handled; whether it fails, and where the program dies.
    Live(bool, Crash),
    /// The same for the next request, and whether somebody purges the letter that it becomes at once.
    Replay(bool, Crash, bool),
    /// The operator replays the open letter at this place.
    Ask(usize),
    /// All of them, in the order of the source.
    AskAll,
    /// Purges the open letter at this place.
    Purge(usize),
    Restart,
}

#[derive(Debug, Default)]
struct World {
    /// The key of each event; its number is its place.
    source: Vec<u8>,
    acked: BTreeSet<u64>,
    coming: VecDeque<u64>,
    /// The stream of dead letters: of which event, and what.
    written: Vec<(u64, Written)>,
    /// Positions on it that the runtime has not answered for.
    requests: VecDeque<u64>,
    purged: BTreeSet<u64>,
    /// Message ids that the stream knows, where it remembers any.
    known: BTreeSet<(u64, u32)>,
    is_forgetful: bool,
    parking: Parking,
    applied: Vec<u64>,
    n_crashes: usize,
}

impl World {
    fn rank(&self, event: u64) -> Rank {
        let key = self.source[usize::try_from(event).unwrap() - 1];
        Rank {
            key: OrderingKey::from(key.to_string()),
            stream_created: 7,
            sequence: event,
        }
    }

    fn write(&mut self, event: u64, what: Written) -> u64 {
        self.written.push((event, what));
        let at = self.written.len() as u64;
        if !matches!(what, Written::Letter { .. }) {
            self.requests.push_back(at);
        }
        at
    }

    /// The last letter of an event, unless it was purged, with its generation and whether it waits; and up to
    /// which letter it was asked to be replayed, and closed.
    fn chain(&self, event: u64) -> (Option<(u64, u32, bool)>, u64, u64) {
        let (mut last, mut asked, mut closed) = (None, 0, 0);
        for (at, (of, what)) in (1..).zip(&self.written) {
            match *what {
                _ if *of != event => {}
                Written::Letter { generation, waits } => last = Some((at, generation, waits)),
                Written::Request { letter, .. } => asked = letter,
                Written::Closed { letter, .. } => closed = letter,
            }
        }
        (last, asked, closed)
    }

    /// The letters that hold their keys, with whether a replay of them was asked for.
    fn holds(&self) -> Vec<(Hold, bool)> {
        let events = (1..).zip(&self.source).map(|(event, _)| event);
        let holds = events.filter_map(|event| {
            let (last, asked, closed) = self.chain(event);
            let (letter, generation, waits) = last?;
            let hold = Hold {
                rank: self.rank(event),
                letter,
                generation,
                waits,
            };
            (closed < letter).then_some((hold, asked >= letter))
        });
        holds.collect()
    }

    fn open(&self) -> Vec<Hold> {
        let holds = self.holds().into_iter();
        holds
            .filter_map(|(hold, asked)| (!asked).then_some(hold))
            .collect()
    }

    fn ask(&mut self, hold: &Hold) {
        let (_, asked, closed) = self.chain(hold.rank.sequence);
        if asked < hold.letter && closed < hold.letter {
            let (letter, generation) = (hold.letter, hold.generation + 1);
            self.write(hold.rank.sequence, Written::Request { letter, generation });
        }
    }

    fn ask_due(&mut self, key: &OrderingKey) {
        loop {
            let due = self.parking.due(key);
            if due.is_empty() {
                return;
            }
            for (rank, letter) in due {
                let holds = self.holds().into_iter();
                let found = holds
                    .map(|(hold, _)| hold)
                    .find(|hold| hold.letter == letter);
                match found {
                    Some(hold) => self.ask(&hold),
                    // Purged, and not heard of yet.
                    None => self.parking.release(&rank, letter),
                }
            }
        }
    }

    fn purge(&mut self, hold: &Hold) {
        self.purged.insert(hold.rank.sequence);
        let (letter, is_purge) = (hold.letter, true);
        self.write(hold.rank.sequence, Written::Closed { letter, is_purge });
    }

    fn crash(&mut self) {
        self.n_crashes += 1;
        self.restart();
    }

    /// Everything above the ack floor comes again.
    fn restart(&mut self) {
        let floor = (1..).find(|event| !self.acked.contains(event)).unwrap();
        self.coming = (floor..=self.source.len() as u64).collect();
        self.requests = self.unanswered();
        self.parking = Parking::of(self.holds());
        for key in self.parking.keys() {
            self.ask_due(&key);
        }
    }

    /// The requests that were not answered for. Those that were come again as well sometimes; nothing
    /// must depend on which.
    fn unanswered(&self) -> VecDeque<u64> {
        let first = self.requests.front().copied().unwrap_or(u64::MAX);
        let first = first.saturating_sub(3);
        let all = (1..).zip(&self.written).map(|(at, (_, what))| (at, what));
        let asked = all.filter(|(_, what)| !matches!(what, Written::Letter { .. }));
        asked.map(|(at, _)| at).filter(|at| *at >= first).collect()
    }

    fn apply(&mut self, event: u64) {
        if !self.applied.contains(&event) {
            let key = self.rank(event).key;
            for before in 1..event {
                let is_due = self.rank(before).key == key;
                let is_done = self.applied.contains(&before) || self.purged.contains(&before);
                assert!(!is_due || is_done, "{event} has overtaken {before}");
            }
        } else {
            assert!(self.n_crashes > 0, "{event} is applied twice");
        }
        self.applied.push(event);
    }

    /// Stores a letter; false when the program died.
    fn bury(
        &mut self,
        event: u64,
        (generation, waits): (u32, bool),
        crash: Crash,
        meddle: bool,
    ) -> bool {
        let rank = self.rank(event);
        self.parking.reserve(&rank);
        if let (Some((letter, known, _)), _, closed) = self.chain(event) {
            let is_known = known >= generation && letter > closed;
            assert!(!is_known, "{event} is parked twice");
        }
        if self.is_forgetful || self.known.insert((event, generation)) {
            self.write(event, Written::Letter { generation, waits });
        }
        if crash == Crash::Stored {
            self.crash();
            return false;
        }
        // The purge comes before or after the runtime has looked, and it hears of that before it goes on or
        // later.
        let seen = self.chain(event);
        if meddle {
            let open = self.open().into_iter();
            let ours = open.filter(|hold| hold.rank.sequence == event).last();
            ours.into_iter().for_each(|hold| self.purge(&hold));
            if generation % 2 == 0 {
                let heard = self.requests.pop_back();
                heard.into_iter().for_each(|at| self.hear(at));
            }
        }
        let (last, _, closed) = match event % 2 {
            0 => seen,
            _ => self.chain(event),
        };
        let (letter, generation, waits) = last.expect("it was stored");
        let hold = Hold {
            rank,
            letter,
            generation,
            waits,
        };
        if closed >= letter {
            self.parking.release(&hold.rank, closed);
        } else {
            self.parking.settle(&hold);
        }
        self.ask_due(&hold.rank.key);
        if crash == Crash::Settled {
            self.crash();
            return false;
        }
        true
    }

    /// A letter was taken away.
    fn hear(&mut self, at: u64) {
        let (event, what) = self.written[usize::try_from(at).unwrap() - 1];
        if let Written::Closed {
            letter,
            is_purge: true,
        } = what
        {
            let rank = self.rank(event);
            self.parking.release(&rank, letter);
            self.ask_due(&rank.key);
        }
    }

    fn live(&mut self, fails: bool, crash: Crash) {
        let Some(event) = self.coming.pop_front() else {
            return;
        };
        let rank = self.rank(event);
        let is_answered = match self.parking.of_event(&rank) {
            Turn::Over => true,
            Turn::Wait => self.bury(event, (0, true), crash, false),
            Turn::Go if fails => self.bury(event, (0, false), crash, false),
            Turn::Go => {
                self.apply(event);
                let dies = crash == Crash::Acted;
                if dies {
                    self.crash();
                }
                !dies
            }
        };
        if is_answered {
            self.acked.insert(event);
        }
    }

    fn replay(&mut self, fails: bool, crash: Crash, meddle: bool) {
        let Some(at) = self.requests.front().copied() else {
            return;
        };
        let (event, what) = self.written[usize::try_from(at).unwrap() - 1];
        let is_answered = match what {
            Written::Request { letter, generation } => {
                self.handle((event, letter, generation), fails, crash, meddle)
            }
            Written::Closed { .. } => {
                self.hear(at);
                true
            }
            Written::Letter { .. } => panic!("a letter is no request"),
        };
        if is_answered {
            self.requests.retain(|other| *other != at);
        }
    }

    fn handle(
        &mut self,
        (event, letter, generation): (u64, u64, u32),
        fails: bool,
        crash: Crash,
        meddle: bool,
    ) -> bool {
        let (_, _, closed) = self.chain(event);
        if closed >= letter {
            return true;
        }
        let found = self.written[usize::try_from(letter).unwrap() - 1];
        let (
            _,
            Written::Letter {
                generation: before,
                waits,
            },
        ) = found
        else {
            panic!("a request names a letter");
        };
        let rank = self.rank(event);
        let hold = Hold {
            rank,
            letter,
            generation: before,
            waits,
        };
        match self.parking.of_replay(&hold, generation) {
            Turn::Over => true,
            Turn::Wait => self.bury(event, (generation, true), crash, meddle),
            Turn::Go if fails => self.bury(event, (generation, false), crash, meddle),
            Turn::Go => {
                self.apply(event);
                if crash == Crash::Acted {
                    self.crash();
                    return false;
                }
                let is_purge = false;
                self.write(event, Written::Closed { letter, is_purge });
                if crash == Crash::Closed {
                    self.crash();
                    return false;
                }
                self.parking.release(&hold.rank, letter);
                self.ask_due(&hold.rank.key);
                true
            }
        }
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Publish(key) => {
                self.source.push(key);
                self.coming.push_back(self.source.len() as u64);
            }
            Op::Live(fails, crash) => self.live(fails, crash),
            Op::Replay(fails, crash, meddle) => self.replay(fails, crash, meddle),
            Op::Ask(place) => {
                let open = self.open();
                open.get(place % open.len().max(1))
                    .into_iter()
                    .for_each(|hold| self.ask(hold));
            }
            Op::AskAll => self.open().iter().for_each(|hold| self.ask(hold)),
            Op::Purge(place) => {
                let open = self.open();
                open.get(place % open.len().max(1))
                    .into_iter()
                    .for_each(|hold| self.purge(hold));
            }
            Op::Restart => self.restart(),
        }
    }

    /// Whatever is left comes to its end when nothing fails any more, and the operator replays only what
    /// failed.
    fn come_to_rest(&mut self) {
        let mut n_rounds = 0;
        while !(self.coming.is_empty() && self.requests.is_empty() && self.holds().is_empty()) {
            n_rounds += 1;
            assert!(n_rounds < 300, "it does not come to rest: {self:#?}");
            while !self.coming.is_empty() {
                self.live(false, Crash::No);
            }
            while !self.requests.is_empty() {
                self.replay(false, Crash::No, false);
            }
            let open = self.open();
            open.iter()
                .filter(|hold| !hold.waits)
                .for_each(|hold| self.ask(hold));
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let crash = prop_oneof![
        12 => Just(Crash::No),
        1 => Just(Crash::Acted),
        1 => Just(Crash::Closed),
        1 => Just(Crash::Stored),
        1 => Just(Crash::Settled),
    ];
    let op = prop_oneof![
        8 => (0_u8..3).prop_map(Op::Publish),
        8 => (prop::bool::weighted(0.3), crash.clone()).prop_map(|(fails, crash)| Op::Live(fails, crash)),
        10 => (prop::bool::weighted(0.3), crash, prop::bool::weighted(0.1))
            .prop_map(|(fails, crash, meddle)| Op::Replay(fails, crash, meddle)),
        3 => (0_usize..30).prop_map(Op::Ask),
        1 => Just(Op::AskAll),
        1 => (0_usize..30).prop_map(Op::Purge),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn keys_stay_in_order_and_nothing_is_lost(ops in ops(), is_forgetful: bool) {
        let mut world = World { is_forgetful, ..World::default() };
        for op in ops {
            world.perform(op);
        }
        world.come_to_rest();
        for event in 1..=world.source.len() as u64 {
            let has_ended = world.applied.contains(&event) || world.purged.contains(&event);
            prop_assert!(has_ended, "{} is lost", event);
            prop_assert!(world.acked.contains(&event));
        }
        prop_assert!(world.parking.keys().is_empty());
    }
}
