//! What a plan comes to with `guarantee = "atomic"`: what is decided, what is done before that, and what
//! each participant has to prepare. Making one changes nothing.

use super::ledger::Ledger;
use super::record::{Decided, Part, Record, State};
use super::{Applied, Coordinator, Setback};
use crate::atomic_batch::{LARGEST, Message};
use crate::dead_letter::Draft;
use crate::event::{DeadLetter, Envelope, Plan, PlannedEffect};
use crate::target::{Image, NoImage, Promise, Target, Work};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Room for what a decision says around a dead letter.
const AROUND_LETTER: usize = 16 * 1_024;

/// The longest subject, of what a server takes for a line of its protocol.
const LONGEST_SUBJECT: usize = 3_000;

/// A plan on its way to its decision.
pub(super) struct Intent {
    /// What is written down before anything is done; none where nothing is before the decision.
    pub(super) log: Option<Record>,
    /// What is written down as the decision. Where it is [`State::Delegated`], a database makes it.
    pub(super) decision: Record,
    /// What is written on the stream of decisions together with the decision.
    pub(super) joined: Vec<Message>,
    /// What each branch does.
    branches: Vec<Vec<PlannedEffect>>,
}

/// The effects of a plan, by what their targets promise.
#[derive(Default)]
struct Sorted<'a> {
    /// To be carried out after the decision, or changed before it.
    decided: Vec<Decided>,
    /// To be written with the decision.
    joined: Vec<PlannedEffect>,
    /// Where the streams of their targets are.
    after: BTreeMap<String, u64>,
    /// For each participant that prepares a target of it, and the effects there.
    branches: Vec<(Arc<str>, &'a Target, Vec<PlannedEffect>)>,
}

impl Intent {
    /// What is to be done before the decision.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.log.as_ref().map(Record::parts).unwrap_or_default();
        if self.decision.head.state == State::Delegated {
            parts.retain(|part| !matches!(part, Part::Branch(_)));
        }
        parts
    }

    /// What the branch of this number does.
    pub(super) fn work_of(&self, n: u32) -> &[PlannedEffect] {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        self.branches.get(n).map(Vec::as_slice).unwrap_or_default()
    }
}

impl<'a> Sorted<'a> {
    fn add_to_branch(&mut self, target: &'a Target, planned: &PlannedEffect) {
        let mut branches = self.branches.iter_mut();
        match branches.find(|(_, other, _)| target.shares_branch(other)) {
            Some((_, _, effects)) => effects.push(planned.clone()),
            None => {
                let branch = (planned.target.clone(), target, vec![planned.clone()]);
                self.branches.push(branch);
            }
        }
    }

    fn has_changes(&self) -> bool {
        self.decided.iter().any(|decided| decided.image.is_some())
    }

    /// Whether the only participant, a database, decides instead of being prepared. It needs nothing for
    /// that, but where it refuses, what others have seen changed is changed back.
    fn delegates(&self, plan: &Plan) -> bool {
        match self.branches.as_slice() {
            [(_, target, _)] => {
                let is_alone = !(self.has_changes() && target.prepares());
                target.decides() && plan.writes.is_empty() && is_alone
            }
            _ => false,
        }
    }
}

impl Coordinator {
    /// What `plan` comes to, where it can be made atomic.
    pub(super) async fn intent(
        &self,
        ledger: &Ledger,
        (plan, envelope): (&Plan, &Envelope),
        (partition, epoch): (u32, u64),
    ) -> Result<Intent, Applied> {
        let letter = match &plan.dead_letter {
            Some(letter) => Some(self.draft(ledger, letter).await?),
            None => None,
        };
        let gid = ledger.new_gid(&envelope.origin, (partition, epoch));
        let mut sorted = self.sorted(plan, (envelope, &gid)).await?;
        // In one order in every runtime, so that two that need several do not wait for each other.
        sorted.branches.sort_by_key(|(_, target, _)| target.place());
        let state = match State::of(plan) {
            State::Done if sorted.delegates(plan) => State::Delegated,
            state => state,
        };
        let joined = self.joined(ledger, &mut sorted, (plan, envelope), state)?;
        let is_prepared = !sorted.branches.is_empty() && state != State::Delegated;
        let mut branches = sorted.branches.iter();
        let unprepared = branches.find(|(_, target, _)| !target.prepares());
        if let (true, Some((name, ..))) = (is_prepared, unprepared) {
            let why = format!(
                "the event changes several databases, modules that prepare or plugin state, and this database \
                 prepares no transactions: {REMEDY}"
            );
            return Err(Applied::Refused(Setback::at(name, &why)));
        }
        let is_logged = is_prepared || sorted.has_changes();
        let names = sorted.branches.iter().map(|(name, ..)| name.clone());
        let record = Record::new(
            (if is_logged { State::Preparing } else { state }, gid),
            (partition, epoch),
            (&envelope.origin, envelope.event.traceparent()),
            (sorted.decided, letter),
            (names.collect(), sorted.after),
        );
        for branch in record.branches() {
            let named = ledger.branch(&record, branch);
            named.map_err(|why| Applied::Refused(Setback::at(branch.target, &why)))?;
        }
        let (log, decision) = match is_logged {
            true => (Some(record.clone()), record.decision(state)),
            false => (None, record),
        };
        Ok(Intent {
            log,
            decision,
            joined,
            branches: sorted
                .branches
                .into_iter()
                .map(|(.., effects)| effects)
                .collect(),
        })
    }

    /// What is written with the decision: effects on its stream, and plugin state. A decision that a database
    /// makes is written before that, so that there effects wait until it is made.
    fn joined(
        &self,
        ledger: &Ledger,
        sorted: &mut Sorted<'_>,
        (plan, envelope): (&Plan, &Envelope),
        state: State,
    ) -> Result<Vec<Message>, Applied> {
        let mut joined = Vec::new();
        for planned in std::mem::take(&mut sorted.joined) {
            if state == State::Delegated {
                sorted.decided.push(Decided {
                    message_id: self.message_id(&planned, envelope),
                    planned,
                    image: None,
                });
                continue;
            }
            let cause = self.cause(&planned, envelope);
            let target = self.targets.get(&planned.target);
            joined.extend(target.and_then(|t| t.message(&planned, &cause, ledger.horizon)));
        }
        if let Some(kept) = &self.state {
            let state = kept.messages(&plan.reads, &plan.writes);
            joined.extend(state.into_iter().flatten());
        }
        let largest = ledger.largest();
        let fits = |message: &&Message| {
            message.size() <= largest && message.subject.len() <= LONGEST_SUBJECT
        };
        if let Some(message) = joined.iter().find(|message| !fits(message)) {
            let subject: String = message.subject.chars().take(100).collect();
            let why = format!(
                "what is to be written on `{subject}` has {} bytes, and a message there holds at most {} \
                 (`max_payload` of the server), its subject {LONGEST_SUBJECT}",
                message.size(),
                largest
            );
            return Err(Applied::Refused(Setback::at("TX", &why)));
        }
        let largest = LARGEST - 1;
        if joined.len() > largest {
            let why = format!(
                "the event writes {} messages together with its decision, and the server takes {largest} at \
                 once",
                joined.len()
            );
            return Err(Applied::Refused(Setback::at("TX", &why)));
        }
        Ok(joined)
    }

    async fn draft(&self, ledger: &Ledger, letter: &DeadLetter) -> Result<Draft, Applied> {
        let room = AROUND_LETTER + ledger.narrowed_by();
        let draft = self.dead_letters.draft(letter, room).await;
        draft.map_err(|error| {
            Applied::Unknown(Setback::at(crate::dead_letter::STREAM, &error.to_string()))
        })
    }

    /// The effects of `plan`, each seen to be one that its target cannot refuse after the decision, or with
    /// what its change would replace, or on a table.
    async fn sorted(
        &self,
        plan: &Plan,
        (envelope, gid): (&Envelope, &str),
    ) -> Result<Sorted<'_>, Applied> {
        let mut sorted = Sorted::default();
        for planned in &plan.effects {
            let refused = |why: &str| Applied::Refused(Setback::at(&planned.target, why));
            let Some(target) = self.targets.get(&planned.target) else {
                return Err(refused("there is no such target"));
            };
            let mut message_id = self.message_id(planned, envelope);
            let image = match target.promise(planned) {
                Promise::Deferred => None,
                Promise::Joined => {
                    sorted.joined.push(planned.clone());
                    continue;
                }
                Promise::Transactional => {
                    sorted.add_to_branch(target, planned);
                    continue;
                }
                Promise::Undoable => {
                    // Another attempt at the same change is another change.
                    message_id = format!("{message_id}.{gid}").into();
                    Some(image(target, planned).await?)
                }
                Promise::None(why) => {
                    let why = format!("`{}` cannot be atomic: {why}", planned.effect.operation);
                    return Err(refused(&why));
                }
            };
            if let Some(position) = target.position() {
                sorted.after.insert(planned.target.to_string(), position);
            }
            let is_same = |other: &&Decided| is_same_entity(&other.planned, planned);
            let other = sorted.decided.iter().find(is_same);
            if other.is_some_and(|other| image.is_some() || other.image.is_some()) {
                return Err(refused(
                    "two changes of one entity by one event cannot be atomic",
                ));
            }
            sorted.decided.push(Decided {
                planned: planned.clone(),
                message_id,
                image,
            });
        }
        Ok(sorted)
    }

    /// The effects with their targets, as participants take them.
    pub(super) fn work<'a>(&'a self, effects: &'a [PlannedEffect]) -> Vec<Work<'a>> {
        let work = |planned: &'a PlannedEffect| {
            let target = self.targets.get(&planned.target)?;
            Some(Work { target, planned })
        };
        effects.iter().filter_map(work).collect()
    }
}

/// What to do about a database that prepares nothing.
const REMEDY: &str = "set `max_prepared_transactions` of the server to as many as are to be on their way \
                      at once, and restart it";

async fn image(target: &Target, planned: &PlannedEffect) -> Result<Image, Applied> {
    target.image(&planned.effect).await.map_err(|stopped| {
        let setback = |why: &str| Setback::at(&planned.target, why);
        match stopped {
            NoImage::Conflict(why) => Applied::Conflict(setback(&why)),
            NoImage::Refused(why) => Applied::Refused(setback(&why)),
            NoImage::Unknown(why) => Applied::Unknown(setback(&why)),
        }
    })
}

fn is_same_entity(one: &PlannedEffect, other: &PlannedEffect) -> bool {
    one.target == other.target
        && one.effect.entity == other.effect.entity
        && one.effect.key == other.effect.key
}
