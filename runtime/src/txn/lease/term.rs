//! Who may act when: decisions about time, without a clock and without input or output.
//!
//! The last heartbeat of a lease is a register that is only ever replaced on the condition that it is
//! still the one that was read. From that, two rules make sure that never two act at once:
//!
//! - an owner acts until a lease time after it *began to send* the last heartbeat that was confirmed;
//! - a standby takes over a lease time after it *had read* the heartbeat that it replaces.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// One moment, by both clocks: the steady one may stand still while a machine sleeps, the other may
/// be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) steady: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn after(self, pause: Duration) -> Self {
        Self {
            steady: self.steady + pause,
            wall: self.wall + pause,
        }
    }

    /// By either clock.
    fn has_reached(self, other: Self) -> bool {
        self.steady >= other.steady || self.wall >= other.wall
    }
}

/// How long an owner may act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Term {
    until: Option<Moment>,
    connection: u64,
    ended: bool,
}

impl Term {
    /// A heartbeat was confirmed that was begun to be sent at `sent`, over this connection.
    pub(super) fn confirm(&mut self, sent: Moment, lease: Duration, connection: u64) {
        // A tenth is left for clocks that run apart and for what is under way.
        self.until = Some(sent.after(lease * 9 / 10));
        self.connection = connection;
    }

    /// It never holds again.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the owner may act now, over this connection. Over another one it may not: while it was
    /// away it could be taken for dead.
    pub(super) fn holds(&self, now: Moment, connection: u64) -> bool {
        let in_time = self.until.is_some_and(|until| !now.has_reached(until));
        !self.ended && in_time && connection == self.connection
    }
}

/// What is known of the owner of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It has released the lease, or there never was one.
    None,
    /// It may be at work.
    Unknown,
    /// Its connection is gone, and with it whatever it could still do.
    Gone,
}

/// What a standby has seen of the heartbeats.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    lease: Duration,
    seen: Option<(u64, Instant)>,
}

impl Watch {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, seen: None }
    }

    /// Whether the heartbeat at `sequence` (0: there is none), which had been read by `now`, may be
    /// replaced.
    pub(super) fn may_take(&mut self, sequence: u64, owner: Owner, now: Instant) -> bool {
        let since = match self.seen {
            Some((seen, since)) if seen == sequence => since,
            _ => now,
        };
        self.seen = Some((sequence, since));
        match owner {
            Owner::None | Owner::Gone => true,
            Owner::Unknown => now - since >= self.lease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEASE: Duration = Duration::from_millis(100);
    const N_ACTORS: usize = 3;

    /// The subject of the heartbeats, as the server has it.
    #[derive(Debug, Default)]
    struct Register {
        sequence: u64,
        owner: Option<usize>,
    }

    #[derive(Debug, Clone, Copy)]
    struct Sent {
        at: Moment,
        expected: u64,
        releases: bool,
        answer: Option<Option<u64>>,
    }

    #[derive(Debug)]
    struct Actor {
        term: Term,
        watch: Watch,
        connection: u64,
        owns: Option<u64>,
        sent: Option<(Sent, u64)>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Pass(u64),
        Beat(usize),
        Release(usize),
        Arrive(usize),
        Answer(usize),
        Forget(usize),
        Look(usize),
        /// The connection is cut; whoever looks meanwhile is told that the owner is gone.
        Cut(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let actor = || 0..N_ACTORS;
        let step = prop_oneof![
            4 => (1_u64..60).prop_map(Step::Pass),
            4 => actor().prop_map(Step::Beat),
            1 => actor().prop_map(Step::Release),
            4 => actor().prop_map(Step::Arrive),
            4 => actor().prop_map(Step::Answer),
            1 => actor().prop_map(Step::Forget),
            6 => actor().prop_map(Step::Look),
            1 => (actor(), actor()).prop_map(|(a, b)| Step::Cut(a, b)),
        ];
        prop::collection::vec(step, 0..400)
    }

    struct World {
        now: Moment,
        register: Register,
        actors: Vec<Actor>,
        n_takeovers: usize,
    }

    impl World {
        fn new() -> Self {
            let actor = || Actor {
                term: Term::default(),
                watch: Watch::new(LEASE),
                connection: 1,
                owns: None,
                sent: None,
            };
            Self {
                now: Moment::now(),
                register: Register::default(),
                actors: (0..N_ACTORS).map(|_| actor()).collect(),
                n_takeovers: 0,
            }
        }

        fn take(&mut self, step: Step) {
            let now = self.now;
            match step {
                Step::Pass(millis) => self.now = now.after(Duration::from_millis(millis)),
                Step::Beat(index) => self.send(index, false),
                Step::Release(index) => self.send(index, true),
                Step::Arrive(index) => self.arrive(index),
                Step::Answer(index) => self.answer(index),
                Step::Forget(index) => self.actors[index].sent = None,
                Step::Look(index) => self.look(index, None),
                Step::Cut(index, other) if index != other => {
                    self.look(other, Some(index));
                    self.actors[index].connection += 1;
                }
                Step::Cut(..) => {}
            }
        }

        fn send(&mut self, index: usize, releases: bool) {
            let at = self.now;
            let actor = &mut self.actors[index];
            let (Some(expected), None) = (actor.owns, actor.sent) else {
                return;
            };
            if releases {
                actor.term.end();
            }
            let sent = Sent {
                at,
                expected,
                releases,
                answer: None,
            };
            actor.sent = Some((sent, actor.connection));
        }

        fn arrive(&mut self, index: usize) {
            let Some((sent, _)) = &mut self.actors[index].sent else {
                return;
            };
            if sent.answer.is_some() {
                return;
            }
            if self.register.sequence != sent.expected {
                sent.answer = Some(None);
                return;
            }
            self.register.sequence += 1;
            self.register.owner = (!sent.releases).then_some(index);
            sent.answer = Some(Some(self.register.sequence));
        }

        fn answer(&mut self, index: usize) {
            let is_ours = self.register.owner == Some(index);
            let actor = &mut self.actors[index];
            let Some((sent, connection)) = actor.sent else {
                return;
            };
            let Some(answer) = sent.answer else {
                return;
            };
            actor.sent = None;
            match answer {
                Some(_) if sent.releases => actor.owns = None,
                Some(sequence) => {
                    if actor.owns.is_none() {
                        actor.term = Term::default();
                        self.n_takeovers += 1;
                    }
                    actor.owns = Some(sequence);
                    actor.term.confirm(sent.at, LEASE, connection);
                }
                // An earlier one of its own arrived unnoticed: the next one rests on that.
                None if is_ours && actor.owns.is_some() => {
                    actor.owns = Some(self.register.sequence);
                }
                None => {
                    actor.owns = None;
                    actor.term.end();
                }
            }
        }

        fn look(&mut self, index: usize, cut: Option<usize>) {
            let register = (self.register.sequence, self.register.owner);
            let now = self.now;
            let actor = &mut self.actors[index];
            if actor.owns.is_some() || actor.sent.is_some() {
                return;
            }
            let owner = match register.1 {
                None => Owner::None,
                Some(owner) if owner == index || Some(owner) == cut => Owner::Gone,
                Some(_) => Owner::Unknown,
            };
            if actor.watch.may_take(register.0, owner, now.steady) {
                let sent = Sent {
                    at: now,
                    expected: register.0,
                    releases: false,
                    answer: None,
                };
                actor.sent = Some((sent, actor.connection));
            }
        }

        fn n_acting(&self) -> usize {
            let acts = |actor: &&Actor| actor.term.holds(self.now, actor.connection);
            self.actors.iter().filter(acts).count()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn never_two_act_at_once(steps in steps()) {
            let mut world = World::new();
            for step in steps {
                world.take(step);
                prop_assert!(world.n_acting() <= 1, "{step:?} {:#?}", world.actors);
            }
        }
    }

    #[test]
    fn the_world_of_the_property_has_takeovers_of_every_kind() {
        let mut world = World::new();
        let own = |index| [Step::Look(index), Step::Arrive(index), Step::Answer(index)];
        for step in own(0) {
            world.take(step);
        }
        assert_eq!((world.n_takeovers, world.n_acting()), (1, 1));
        // Silence.
        for step in [Step::Look(1), Step::Pass(100)].into_iter().chain(own(1)) {
            world.take(step);
        }
        assert_eq!((world.n_takeovers, world.n_acting()), (2, 1));
        // A release, once it has arrived.
        world.take(Step::Release(1));
        assert_eq!(world.n_acting(), 0);
        for step in own(2) {
            world.take(step);
        }
        assert_eq!(world.n_takeovers, 2);
        world.take(Step::Arrive(1));
        for step in own(2) {
            world.take(step);
        }
        assert_eq!((world.n_takeovers, world.n_acting()), (3, 1));
        // A connection that is gone; who sees it has learned meanwhile that it is no owner any more.
        for step in [Step::Beat(0), Step::Arrive(0), Step::Answer(0)] {
            world.take(step);
        }
        world.take(Step::Cut(2, 0));
        for step in own(0) {
            world.take(step);
        }
        assert_eq!((world.n_takeovers, world.n_acting()), (4, 1));
    }

    #[test]
    fn a_machine_that_slept_does_not_act_on_by_its_steady_clock() {
        let (start, mut term) = (Moment::now(), Term::default());
        term.confirm(start, LEASE, 1);
        assert!(term.holds(start, 1));
        let awake = Moment {
            wall: start.wall + LEASE,
            ..start
        };
        assert!(!term.holds(awake, 1));
        assert!(!term.holds(start, 2));
    }
}
