//! The way of one event, from its delivery to its settlement: think, act, settle.

mod admission;
mod attempts;
mod config;
mod hold;
mod letter;
mod lift;
mod outcome;
mod parking;
mod retry;
mod route;
mod stage;
mod work;

use crate::contract::{AdaptedVersions, Contract};
use crate::event::{self, DeadReason, Delivery, Disposition, Plan, Trail};
use crate::fault::{self, Point, Promise};
use crate::feed::Feeds;
use crate::plugin::{Held, Secrets, Session, Slot, Version};
use crate::rate::Limiter;
use crate::shutdown::Shutdown;
use crate::telemetry::PipelineMetrics;
use crate::txn::{Attempts, Coordinator};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outcome::{End, Outcome, Step};
use parking::Turn;
use route::RouteTable;
use work::Work;

pub use config::{Config, Guarantee, OnFailure, RouteConfig};
pub use hold::Shift;
pub use retry::RetryPolicy;

/// How often an event is thought again because a precondition did not hold, without an attempt
/// being counted.
const CONFLICTS: u32 = 5;

/// The pause while a target has nobody who speaks for it. A cluster needs some seconds to choose.
const AWAY: Duration = Duration::from_secs(1);

/// One pipeline at work.
pub struct Pipeline {
    name: Arc<str>,
    stages: Vec<Arc<Slot>>,
    routes: RouteTable,
    adapted: AdaptedVersions,
    limiter: Option<Limiter>,
    retry: RetryPolicy,
    on_failure: OnFailure,
    hops: u32,
    coordinator: Coordinator,
    attempts: Option<Attempts>,
    secrets: Arc<Secrets>,
    metrics: Arc<PipelineMetrics>,
    shutdown: Shutdown,
}

/// What a pipeline works with.
pub struct Parts {
    /// The places of its plugins, in order.
    pub stages: Vec<Arc<Slot>>,
    /// Which targets cannot do which operation, by target.
    pub kinds: BTreeMap<String, crate::target::Kind>,
    /// What targets take, by target; those that say nothing are not there.
    pub contracts: BTreeMap<String, Arc<Contract>>,
    /// Other versions of these, in which plugins may write.
    pub adapted: AdaptedVersions,
    /// Where changes of targets are published.
    pub feeds: Arc<Feeds>,
    /// Applies its plans.
    pub coordinator: Coordinator,
    /// Keeps what was tried, where somebody may take over; none: nobody does.
    pub attempts: Option<Attempts>,
    /// Kept out of dead letters.
    pub secrets: Arc<Secrets>,
    /// Counts its events.
    pub metrics: Arc<PipelineMetrics>,
    /// Ends all its work; given by itself where it stops at a failure.
    pub shutdown: Shutdown,
}

impl Pipeline {
    /// A pipeline of these parts.
    #[must_use]
    pub fn new(config: &Config, parts: Parts) -> Self {
        Self {
            name: config.name.as_str().into(),
            routes: RouteTable::new(config, parts.kinds, parts.contracts, parts.feeds),
            adapted: parts.adapted,
            limiter: config.rate.map(Limiter::new),
            retry: config.retry.clone(),
            on_failure: config.on_failure,
            hops: config.hops,
            stages: parts.stages,
            coordinator: parts.coordinator,
            attempts: parts.attempts,
            secrets: parts.secrets,
            metrics: parts.metrics,
            shutdown: parts.shutdown,
        }
    }

    /// Takes one delivery, which came in `shift`, from its envelope to its settlement.
    pub async fn handle(&self, delivery: Delivery, shift: &Shift) {
        self.metrics.received.increment();
        if delivery.past.is_some() {
            self.metrics.replayed.increment();
        }
        let (mut work, receipt) = Work::begin(delivery, shift);
        fault::reach(Point::Taken).await;
        let disposition = self.see_through(&mut work).await;
        work.answer(receipt, disposition); // the last line: nothing after the answer
    }

    async fn see_through(&self, work: &mut Work) -> Disposition {
        // Of a replay that has become a letter it is known that it ended, and that its key is held on.
        let turn = self.turn_of_replay(work);
        if turn == Some(Turn::Over) {
            return self.skip(work).await;
        }
        work.is_unchecked = !self.coordinator.suspects(&work.envelope, &work.tenure);
        if !work.is_unchecked {
            match self.has_ended(work).await {
                None => return Disposition::GiveBack,
                Some(true) => return self.skip(work).await,
                Some(false) => {}
            }
        }
        match turn.unwrap_or_else(|| self.turn_of_event(work)) {
            Turn::Over => self.skip(work).await,
            Turn::Wait => Box::pin(self.park(work)).await,
            Turn::Go if self.may_begin(work).await => self.work_off(work).await,
            Turn::Go => Disposition::GiveBack,
        }
    }

    /// How it goes on with an event that failed, where that is nothing new: it has ended before, and
    /// nobody had looked.
    async fn look_after_failure(&self, work: &mut Work) -> Option<Step> {
        if !std::mem::take(&mut work.is_unchecked) {
            return None;
        }
        match self.has_ended(work).await {
            None => Some(Step::End(Disposition::GiveBack)),
            Some(true) => Some(Step::End(self.skip(work).await)),
            Some(false) => None,
        }
    }

    /// Whether the event has ended before; none when the shutdown came before that was known.
    async fn has_ended(&self, work: &Work) -> Option<bool> {
        let mut n_failed = 1;
        loop {
            match self
                .coordinator
                .has_ended(&work.envelope, &work.tenure)
                .await
            {
                Ok(ended) => return Some(ended),
                Err(error) => {
                    tracing::warn!(pipeline = %self.name, %error, "trying again");
                }
            }
            if !self.pause_for_ever(&mut n_failed, work).await {
                return None;
            }
        }
    }

    /// Another copy of the event has ended: this one has nothing to do.
    async fn skip(&self, work: &mut Work) -> Disposition {
        if !self.release(work).await {
            return self.leave();
        }
        self.metrics.duplicate.increment();
        work.note_end(event::Outcome::Duplicate, 0);
        Disposition::Ack
    }

    /// Thinks and acts until the event has ended or is given back.
    async fn work_off(&self, work: &mut Work) -> Disposition {
        loop {
            let outcome = self.think(work).await; // stages, routes: nothing durable yet
            fault::reach(Point::Thought).await;
            let step = self.act(work, outcome).await;
            // Whoever has not tried lets the next one try.
            work.pass = None;
            match step {
                Step::End(disposition) => return disposition,
                Step::Again => {}
                Step::Hold(target) => {
                    let pass = self
                        .unless_shut_down(work, self.coordinator.pass(&target))
                        .await;
                    if pass.is_none() {
                        return Disposition::GiveBack;
                    }
                    work.pass = pass;
                }
                Step::Wait(pause) if work.tenure.shutdown().pause(pause).await => {
                    self.metrics.retries.increment();
                }
                Step::Wait(_) => return self.leave(),
            }
        }
    }

    /// What should become of the event, on one snapshot of the plugins.
    async fn think(&self, work: &mut Work) -> Outcome {
        if let Some(fault) = work.fault.take() {
            return Outcome::invalid(&fault);
        }
        if let Some(outcome) = self.cut_loop(work) {
            return outcome;
        }
        let mut session = Session::new();
        let versions = self.snapshot();
        work.note_plugins(&versions);
        let thought = stage::run(&versions, work, &mut session).await;
        match thought {
            Ok(thought) => {
                work.note_standing(&thought.standing);
                match self.lay_out(thought, work, &versions).await {
                    Ok(laid) => self.routes.plan(laid, work, session, &self.metrics),
                    Err(outcome) => outcome,
                }
            }
            Err(outcome) => outcome,
        }
    }

    /// What becomes of an event that a change of this pipeline's own led to, or too many pipelines.
    fn cut_loop(&self, work: &Work) -> Option<Outcome> {
        let trail = Trail::of(&work.envelope.event);
        if trail.leads_through(&self.name) && !fault::breaks(Promise::Loop) {
            self.metrics.dropped("loop");
            let (plan, held) = (Plan::default(), Held::default());
            return Some(Outcome::Filtered { plan, held });
        }
        (trail.n_hops() >= usize::try_from(self.hops).unwrap_or(usize::MAX)).then(|| {
            let error = format!(
                "changes led to the event through {} pipelines, and pipeline `{}` takes none of more than {} \
                 (`hops`): {}",
                trail.n_hops(),
                self.name,
                self.hops.saturating_sub(1),
                trail
            );
            Outcome::Dead(outcome::Fault::new(DeadReason::Hops, error))
        })
    }

    /// The version at work in each stage. A plugin that stands twice is at one version in both.
    fn snapshot(&self) -> Vec<Arc<Version>> {
        let mut versions: Vec<Arc<Version>> = Vec::with_capacity(self.stages.len());
        for (index, slot) in self.stages.iter().enumerate() {
            let earlier = self
                .stages
                .iter()
                .take(index)
                .position(|other| Arc::ptr_eq(other, slot));
            let known = earlier.and_then(|index| versions.get(index).cloned());
            versions.push(known.unwrap_or_else(|| slot.active()));
        }
        versions
    }

    /// The only call that changes the world.
    async fn act(&self, work: &mut Work, outcome: Outcome) -> Step {
        let (plan, mut held, end) = match outcome {
            Outcome::Apply { plan, held } => (plan, held, End::Done),
            Outcome::Filtered { plan, held } => (plan, held, End::Filtered),
            Outcome::Retry(failure) => return Box::pin(self.try_again(work, failure)).await,
            Outcome::Dead(failure) => return Box::pin(self.give_up(work, failure)).await,
        };
        if let Err(step) = self.admit(work, &plan, &mut held).await {
            return step;
        }
        let applied = self
            .coordinator
            .apply(&plan, &work.envelope, &work.tenure)
            .await;
        match outcome::after_apply(applied, work.conflicts < CONFLICTS) {
            outcome::After::End => {
                held.release();
                fault::reach(Point::Applied).await;
                if !self.mark(&plan, work).await {
                    return Step::End(Disposition::GiveBack);
                }
                fault::reach(Point::Marked).await;
                if !self.release(work).await {
                    return Step::End(self.leave());
                }
                self.count(end, plan.effects.len());
                work.note_end(end.outcome(), plan.effects.len());
                Step::End(Disposition::Ack)
            }
            outcome::After::Duplicate => Step::End(self.skip(work).await),
            outcome::After::Think { counted } => {
                work.conflicts += u32::from(counted);
                Step::Again
            }
            outcome::After::Retry(failure) if self.is_left_alone(&failure) => {
                self.hold(work, &failure)
            }
            outcome::After::Retry(failure) => Box::pin(self.try_again(work, failure)).await,
            outcome::After::Dead(failure) => Box::pin(self.give_up(work, failure)).await,
            outcome::After::Leave => Step::End(self.leave()),
        }
    }

    /// Whoever is next takes the event.
    fn leave(&self) -> Disposition {
        self.metrics.given_back.increment();
        Disposition::GiveBack
    }

    async fn try_again(&self, work: &mut Work, failure: outcome::Fault) -> Step {
        if let Some(step) = self.look_after_failure(work).await {
            return step;
        }
        let away = failure.away || !self.coordinator.is_connected();
        if !away && !self.recall_attempts(work).await {
            return Step::End(Disposition::GiveBack);
        }
        let pause = match self.retry.pause_after(work.attempt, work.seed()) {
            _ if failure.away => Some(AWAY),
            None if away => Some(self.retry.longest),
            pause => pause,
        };
        let Some(pause) = pause else {
            return self.give_up(work, failure.exhausted()).await;
        };
        let pause = failure.after.unwrap_or(pause);
        tracing::debug!(pipeline = %self.name, event = %work.envelope.origin.id,
            attempt = work.attempt, error = %self.secrets.redact(&failure.error), ?pause,
            "attempt failed, trying again");
        if away {
            work.note_accepted(&failure);
        } else {
            work.note_failure(&failure, &self.secrets);
            self.keep_attempts(work, pause).await;
            work.attempt += 1;
        }
        Step::Wait(pause)
    }

    /// What becomes of an event that failed for good.
    async fn give_up(&self, work: &mut Work, failure: outcome::Fault) -> Step {
        if let Some(step) = self.look_after_failure(work).await {
            return step;
        }
        match self.on_failure {
            OnFailure::DeadLetter | OnFailure::ParkKey => self.bury(work, failure).await,
            // Whoever took over comes to its own end.
            OnFailure::Stop if !work.tenure.held().await => Step::End(self.leave()),
            OnFailure::Stop => self.stop(work, &failure),
        }
    }

    /// Takes no more events; this one is the next for whoever begins again.
    fn stop(&self, work: &Work, failure: &outcome::Fault) -> Step {
        tracing::error!(pipeline = %self.name, event = %work.envelope.origin.id,
            stream = %work.envelope.origin.stream, sequence = work.envelope.origin.sequence,
            reason = failure.reason.as_str(), error = %self.secrets.redact(&failure.error),
            "an event failed for good: the pipeline stops at it, as `on_failure` says");
        self.metrics.stopped.increment();
        self.metrics.given_back.increment();
        self.shutdown.begin();
        Step::End(Disposition::GiveBack)
    }

    /// What was applied is known to have ended, however long that takes; false at the shutdown.
    async fn mark(&self, plan: &Plan, work: &Work) -> bool {
        let mut n_failed = 1;
        while let Err(error) = self.coordinator.mark(plan, &work.envelope).await {
            tracing::warn!(pipeline = %self.name, %error, "trying again");
            if !self.pause_for_ever(&mut n_failed, work).await {
                return false;
            }
        }
        true
    }

    /// The pause before what has to succeed in the end is tried again; false at the shutdown.
    async fn pause_for_ever(&self, n_failed: &mut u32, work: &Work) -> bool {
        let policy = RetryPolicy {
            attempts: u32::MAX,
            ..self.retry.clone()
        };
        let pause = policy.pause_after(*n_failed, work.seed());
        *n_failed += 1;
        let pause = pause.unwrap_or(self.retry.longest);
        let goes_on = work.tenure.shutdown().pause(pause).await;
        if !goes_on {
            self.metrics.given_back.increment();
        }
        goes_on
    }

    fn count(&self, end: End, n_effects: usize) {
        self.metrics
            .effects
            .add(u64::try_from(n_effects).unwrap_or(u64::MAX));
        match end {
            End::Done => self.metrics.done.increment(),
            End::Filtered => self.metrics.filtered.increment(),
            End::Dead => self.metrics.dead.increment(),
            End::Parked => self.metrics.parked.increment(),
        }
    }
}
