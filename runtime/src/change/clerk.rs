//! Who makes the changes: one runtime at a time, each change in the order of its entities.

use super::asked::{Asked, Name};
use super::{Changed, PIPELINE};
use crate::event::{Envelope, Plan, Precondition};
use crate::feed::Feeds;
use crate::key_locks::KeyLocks;
use crate::shutdown::{Shutdown, Tasks};
use crate::txn::{Applied, Coordinator, Lease, MarkerError, Pass, Setback, Tenure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

/// How many changes are on their way at a time.
const AT_ONCE: usize = 256;
/// How long a change is tried.
const TRIED: Duration = Duration::from_secs(8);
/// How long whoever asks waits for what becomes of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for this runtime's turn.
const TAKEOVER: Duration = Duration::from_secs(2);
/// The pause before a change is tried again, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a change that names no version is made again from what is there by then.
const CONFLICTS: usize = 5;
/// How many changes one tenure can number.
const NUMBERS: u32 = 40;

/// Makes changes while it holds the lease.
pub struct Clerk {
    parts: Parts,
    locks: KeyLocks,
    turn: watch::Sender<Option<Arc<Turn>>>,
    places: Arc<Semaphore>,
}

/// What a clerk works with.
pub struct Parts {
    /// Applies the plans.
    pub coordinator: Coordinator,
    /// Where changes are published.
    pub feeds: Arc<Feeds>,
    /// Says whose turn it is.
    pub lease: Lease,
    /// Owns the changes on their way.
    pub tasks: Tasks,
    /// How long changes on their way may take to end once the shutdown has begun.
    pub grace: Duration,
}

/// This runtime's turn to make changes.
struct Turn {
    tenure: Tenure,
    /// Numbers what is made in it.
    next: AtomicU64,
}

impl Turn {
    fn new(tenure: Tenure) -> Self {
        let first = tenure.epoch().unwrap_or_default() << NUMBERS;
        Self {
            tenure,
            next: AtomicU64::new(first),
        }
    }

    /// Greater than that of whatever was made before, also in earlier tenures.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Clerk {
    /// A clerk, who makes nothing until [`Self::run`].
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            locks: KeyLocks::default(),
            turn: watch::Sender::new(None),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Makes changes until the shutdown, whenever it is this runtime's turn.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        while let Some(tenure) = self.parts.lease.acquire(&shutdown).await {
            let coordinator = &self.parts.coordinator;
            let mut drained = true;
            // What an earlier runtime had decided comes before anything new.
            if coordinator.recover(&tenure).await {
                self.turn
                    .send_replace(Some(Arc::new(Turn::new(tenure.clone()))));
                info!("changes are made by this runtime");
                coordinator.patrol(&tenure).await;
                self.turn.send_replace(None);
                drained = self.drain().await;
            }
            coordinator.leave(&tenure).await;
            self.parts.lease.end(&tenure, drained).await;
        }
    }

    /// Waits for what is on its way.
    async fn drain(&self) -> bool {
        let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        let ended = timeout(self.parts.grace, self.places.acquire_many(all)).await;
        if ended.is_err() {
            warn!(grace = ?self.parts.grace, "changes on their way did not end in time: whoever takes over ends them");
        }
        ended.is_ok()
    }

    /// Whether it is this runtime's turn.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.turn.borrow().is_some()
    }

    /// Waits until it is this runtime's turn, or is not.
    pub(super) async fn until_turn(&self, is_wanted: bool) {
        let mut turns = self.turn.subscribe();
        // Who sends is ourselves, and still there.
        drop(turns.wait_for(|turn| turn.is_some() == is_wanted).await);
    }

    async fn turn(&self) -> Option<Arc<Turn>> {
        let mut turns = self.turn.subscribe();
        let turn = timeout(TAKEOVER, turns.wait_for(Option::is_some)).await;
        turn.ok()?.ok()?.clone()
    }

    /// What became of a change that was asked for before under the same name; none: there was none.
    pub async fn find(&self, name: &Name) -> Option<Changed> {
        if !name.is_given() {
            return None;
        }
        match timeout(PATIENCE, self.look(name)).await {
            Ok(found) => found,
            Err(_) => Some(Changed::NotNow("NATS does not answer".to_owned())),
        }
    }

    async fn look(&self, name: &Name) -> Option<Changed> {
        let Some(turn) = self.turn().await else {
            return Some(not_here());
        };
        let asked = Asked {
            name: name.clone(),
            effects: Vec::new(),
            traceparent: None,
        };
        let ended = self.has_ended(&asked.envelope(0), name, &turn.tenure).await;
        match ended {
            Ok(found) => found,
            Err(error) => Some(Changed::NotNow(error.to_string())),
        }
    }

    async fn has_ended(
        &self,
        envelope: &Envelope,
        name: &Name,
        tenure: &Tenure,
    ) -> Result<Option<Changed>, MarkerError> {
        let coordinator = &self.parts.coordinator;
        if !coordinator.has_ended(envelope, tenure).await? {
            return Ok(None);
        }
        let key = coordinator.key_of(&envelope.origin.id).await?;
        Ok(Some(match key.is_some_and(|key| name.is_marked_in(&key)) {
            true => Changed::Before,
            false => Changed::Reused,
        }))
    }

    /// Makes a change, all of it or nothing. It goes on where whoever asks does not wait for it.
    pub async fn make(self: &Arc<Self>, asked: Asked) -> Changed {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Changed::NotNow(format!("{AT_ONCE} changes are on their way"));
        };
        let (told, heard) = oneshot::channel();
        let clerk = self.clone();
        self.parts.tasks.spawn(async move {
            let changed = clerk.carry_through(&asked, place).await;
            // Who does not wait any more asks again.
            drop(told.send(changed));
        });
        match timeout(PATIENCE, heard).await {
            Ok(Ok(changed)) => changed,
            _ => Changed::Unknown("it is still on its way".to_owned()),
        }
    }

    async fn carry_through(&self, asked: &Asked, _place: OwnedSemaphorePermit) -> Changed {
        let until = Instant::now() + TRIED;
        let Ok(_guard) = timeout_at(until, self.locks.acquire(asked.entities())).await else {
            let why = "another change of the same entity is still on its way".to_owned();
            return Changed::NotNow(why);
        };
        let Some(turn) = self.turn().await else {
            return not_here();
        };
        let envelope = asked.envelope(turn.number());
        let plan = asked.plan(&envelope, &self.parts.feeds);
        if asked.name.is_given() {
            match self.has_ended(&envelope, &asked.name, &turn.tenure).await {
                Ok(None) => {}
                Ok(Some(before)) => return before,
                Err(error) => return Changed::NotNow(error.to_string()),
            }
        }
        let tried = self.try_until(until, &plan, &envelope, &turn.tenure).await;
        match tried {
            Ok(Changed::Before) => {
                let found = self.has_ended(&envelope, &asked.name, &turn.tenure).await;
                found.ok().flatten().unwrap_or(Changed::Before)
            }
            Ok(changed) => changed,
            Err(why) => self.settle(&envelope, &turn.tenure, why).await,
        }
    }

    /// Tries it again and again; why it is not known to be made or not.
    async fn try_until(
        &self,
        until: Instant,
        plan: &Plan,
        envelope: &Envelope,
        tenure: &Tenure,
    ) -> Result<Changed, String> {
        let coordinator = &self.parts.coordinator;
        let (mut pause, mut n_conflicts) = (PAUSE, 0);
        loop {
            let Ok(_pass) = timeout_at(until, self.admit(plan)).await else {
                return Err("a target does not answer, or its rate is used up".to_owned());
            };
            let why = match coordinator.apply(plan, envelope, tenure).await {
                Applied::Done => return Ok(Changed::Done),
                Applied::Ended => return Ok(Changed::Before),
                Applied::Refused(setback) => return Ok(Changed::Refused(told(&setback))),
                Applied::Conflict(setback) if names_version(plan) || n_conflicts >= CONFLICTS => {
                    return Ok(Changed::Conflict(told(&setback)));
                }
                Applied::Conflict(_) | Applied::Overtaken(_) => {
                    n_conflicts += 1;
                    continue;
                }
                Applied::Unknown(setback) | Applied::Away(setback) => told(&setback),
                Applied::Replaced => {
                    return Ok(Changed::Unknown(
                        "another runtime has taken over".to_owned(),
                    ));
                }
            };
            let goes_on = Instant::now() + pause < until && tenure.shutdown().pause(pause).await;
            if !goes_on {
                return Err(why);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the targets may be written; what lets one be tried that did not answer.
    async fn admit(&self, plan: &Plan) -> Pass {
        let coordinator = &self.parts.coordinator;
        coordinator.turn(plan).await;
        loop {
            let Some(target) = coordinator.left_alone(plan) else {
                return Pass::default();
            };
            let pass = coordinator.pass(&target).await;
            if pass.is_turn() {
                return pass;
            }
        }
    }

    /// Finds out whether what was tried holds, and sees to it that it never will where it does not, however
    /// long that takes.
    async fn settle(&self, envelope: &Envelope, tenure: &Tenure, why: String) -> Changed {
        let envelope = envelope.as_maybe_seen();
        let mut pause = PAUSE;
        loop {
            match self.parts.coordinator.has_ended(&envelope, tenure).await {
                Ok(true) => return Changed::Done,
                Ok(false) => return Changed::NotNow(why),
                Err(_) if !tenure.shutdown().pause(pause).await => return Changed::Unknown(why),
                Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

/// Whether it rests on what somebody has seen: made again it would come to the same.
fn names_version(plan: &Plan) -> bool {
    let mut conditions = plan.effects.iter().map(|it| &it.effect.precondition);
    conditions.any(|it| matches!(it, Some(Precondition::Etag(_) | Precondition::Absent)))
}

fn told(setback: &Setback) -> String {
    match setback.place.as_str() {
        place if place == crate::target::JOINED => setback.error.clone(),
        place => format!("target `{place}`: {}", setback.error),
    }
}

fn not_here() -> Changed {
    Changed::NotNow(format!(
        "this runtime does not hold the lease of `{PIPELINE}`: another one makes the changes, or will soon"
    ))
}
