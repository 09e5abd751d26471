//! What a module holds, or what a source has held since a time, handed to one pipeline as events.

mod origin;

use super::{AppError, connection};
use crate::config::Config;
use crate::dead_letter::{DeadLetterError, DeadLetters, HandError, Handed, Stand};
use crate::drift::{DriftError, Telling};
use async_nats::jetstream;
use std::collections::VecDeque;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

use origin::Origin;

/// Events of one page.
const PAGE: usize = 256;
/// Events that may be handed over and not handled.
const AHEAD: u64 = 2_048;
/// After so many events those that were handled are forgotten.
const FORGET: u64 = 8_192;
/// How often it is looked how far the pipeline is.
const LOOK: Duration = Duration::from_millis(100);
/// How often a page is handed over again that may not have been.
const ATTEMPTS: usize = 5;
/// After so long without anything handled it is said that nobody does.
const SILENCE: Duration = Duration::from_secs(10);

/// What is to be handed over.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// To which pipeline.
    pub pipeline: String,
    /// What.
    pub of: Of,
    /// The same for the same wish: a run that was interrupted goes on with it.
    pub goal: String,
    /// At most so many per second; none: as many as are handled.
    pub rate: Option<f64>,
    /// Begin anew, however far an earlier run came.
    pub restart: bool,
}

/// Where the events come from.
#[derive(Debug, Clone)]
pub enum Of {
    /// The entities of a target, of one kind or of all.
    Entities(Telling, Option<String>),
    /// The messages of the pipeline's source since a time.
    Since(OffsetDateTime),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It goes on where an earlier run ended, behind so many events.
    Resumed(u64),
    /// So many events were handed over in all.
    Handed(u64),
    /// Nothing was handled for a while.
    Silent,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// How far it is.
    pub stand: Stand,
    /// How many events this command handed over.
    pub n_handed: u64,
    /// Whether an earlier one had done it all.
    pub before: bool,
    /// Some of those that no message can hold.
    pub left_out: Vec<String>,
}

/// Why it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// What it takes cannot be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// It never can be done, as it was asked for.
    #[error("{0}")]
    Invalid(String),
    /// The pipeline has an unfinished one about something else.
    #[error("a backfill of {goal} was interrupted behind {n_events} events")]
    Unfinished {
        /// What it is about.
        goal: String,
        /// How far it came.
        n_events: u64,
    },
    /// What is to be handed over cannot be read.
    #[error(transparent)]
    Read(#[from] DriftError),
    /// Somebody else hands over at the same time.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The stream of replays cannot be used.
    #[error(transparent)]
    Letters(#[from] DeadLetterError),
}

/// Tells how far it is.
pub type Shown<'a> = &'a (dyn Fn(Stage) + Sync);

/// Hands over what is wanted, behind what earlier runs handed over, and waits until all of it was handled.
///
/// # Errors
/// [`BackfillError`]. The same again goes on where this one ended.
pub async fn backfill(
    config: &Config,
    wanted: &Backfill,
    shown: Shown<'_>,
) -> Result<Filled, BackfillError> {
    let (client, denials) = connection::open(&config.nats).await?;
    let context = connection::jetstream(&config.nats, client);
    let filled = denials
        .during(Box::pin(fill(config, wanted, (&context, shown))))
        .await;
    filled.unwrap_or_else(|denied| Err(denied.into_error(&config.nats).into()))
}

async fn fill(
    config: &Config,
    wanted: &Backfill,
    (context, shown): (&jetstream::Context, Shown<'_>),
) -> Result<Filled, BackfillError> {
    let mut pipelines = config.pipelines.iter();
    let pipeline = pipelines.find(|pipeline| pipeline.name == wanted.pipeline);
    let pipeline = pipeline.ok_or_else(|| {
        let name = &wanted.pipeline;
        BackfillError::Invalid(format!("the configuration has no pipeline `{name}`"))
    })?;
    let letters = DeadLetters::open(context, &config.nats.provision()).await?;
    letters.prepare_for_pages().await?;
    if !letters.is_served(&pipeline.name).await? {
        return Err(BackfillError::Invalid(format!(
            "pipeline `{}` has never run: start it with `syncline run`, so that somebody takes the events",
            pipeline.name
        )));
    }
    let found = letters.stand(&pipeline.name).await?;
    let (expected, stand) = match found {
        Some((at, stand)) if !wanted.restart && stand.goal == wanted.goal => (at, Some(stand)),
        Some((_, stand)) if !wanted.restart && !stand.done => {
            let Stand { goal, n_events, .. } = stand;
            return Err(BackfillError::Unfinished { goal, n_events });
        }
        Some((at, stand)) => (at, Some(anew(wanted, stand.run + 1))),
        None => (0, None),
    };
    let stand = stand.unwrap_or_else(|| anew(wanted, 0));
    if stand.done {
        return Ok(Filled {
            stand,
            n_handed: 0,
            before: true,
            left_out: Vec::new(),
        });
    }
    if stand.n_events > 0 {
        shown(Stage::Resumed(stand.n_events));
    }
    let source = Origin::open(config, (pipeline, &wanted.of), context).await?;
    let mut filling = Filling {
        letters: &letters,
        pipeline: &pipeline.name,
        shown,
        last: expected,
        n_handed: 0,
        n_kept: 0,
        ahead: VecDeque::new(),
        pace: Pace::new(wanted.rate),
        left_out: Vec::new(),
    };
    let stand = filling.run(&source, stand).await?;
    Ok(Filled {
        stand,
        n_handed: filling.n_handed,
        before: false,
        left_out: filling.left_out,
    })
}

/// A run from its beginning. Its number is part of what its effects are known by, so that it is another one
/// than that of any run before, and of any replay.
fn anew(wanted: &Backfill, at_least: u32) -> Stand {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    Stand {
        run: u32::try_from(now).unwrap_or(u32::MAX).max(at_least),
        goal: wanted.goal.clone(),
        n_events: 0,
        n_left_out: 0,
        next: Some(String::new()),
        done: false,
    }
}

/// A backfill at work.
struct Filling<'a> {
    letters: &'a DeadLetters,
    pipeline: &'a str,
    shown: Shown<'a>,
    /// Where the last message of the backfill lies.
    last: u64,
    n_handed: u64,
    /// Events that were handed over since those that were handled were forgotten.
    n_kept: u64,
    /// Where pages end that are not known to be handled, and how many events each has.
    ahead: VecDeque<(u64, u64)>,
    pace: Pace,
    left_out: Vec<String>,
}

impl Filling<'_> {
    async fn run(&mut self, origin: &Origin, mut stand: Stand) -> Result<Stand, BackfillError> {
        while let Some(next) = stand.next.clone() {
            let (mut events, after) = origin.page(&next, self.pace.page()).await?;
            stand.n_left_out += self.leave_out(&mut events);
            stand.next = after;
            let n_events = u64::try_from(events.len()).unwrap_or_default();
            if n_events == 0 && stand.next.is_some() {
                // Nothing that a later run would miss.
                continue;
            }
            stand.n_events += n_events;
            self.pace.wait(n_events).await;
            self.wait_until(AHEAD).await?;
            self.hand_over(events, &stand).await?;
            (self.n_handed, self.n_kept) = (self.n_handed + n_events, self.n_kept + n_events);
            (self.shown)(Stage::Handed(stand.n_events));
            if self.n_kept >= FORGET {
                self.forget().await?;
            }
        }
        // Also what a run before this one handed over last.
        self.ahead.push_back((self.last, 1));
        self.wait_until(0).await?;
        stand.done = true;
        self.hand_over(Vec::new(), &stand).await?;
        self.letters
            .forget_handled(self.pipeline, (self.last, self.last))
            .await?;
        Ok(stand)
    }

    /// Takes out what no message can hold, and says how many these are.
    fn leave_out(&mut self, events: &mut Vec<Handed>) -> u64 {
        let n_before = events.len();
        events.retain(|event| {
            let fits = self.letters.can_hold(event);
            if !fits && self.left_out.len() < PAGE {
                self.left_out.push(event.subject.clone());
            }
            fits
        });
        u64::try_from(n_before - events.len()).unwrap_or_default()
    }

    /// Hands a page over. Where it is not known whether it is, the stream tells.
    async fn hand_over(&mut self, events: Vec<Handed>, stand: &Stand) -> Result<(), BackfillError> {
        let n_events = u64::try_from(events.len()).unwrap_or_default();
        let mut n_tried = 0;
        let at = loop {
            n_tried += 1;
            let page = (events.clone(), stand);
            match self.letters.hand_over(self.pipeline, self.last, page).await {
                Ok(at) => break at,
                Err(HandError::Overtaken) if n_tried == 1 => {
                    return Err(HandError::Overtaken.into());
                }
                Err(error) => match self.letters.stand(self.pipeline).await {
                    Ok(Some((at, found))) if at > self.last && found == *stand => break at,
                    Ok(_) if n_tried < ATTEMPTS => {}
                    _ => return Err(error.into()),
                },
            }
        };
        self.last = at;
        self.ahead.push_back((at, n_events));
        Ok(())
    }

    /// Waits until so few events are handed over and not handled.
    async fn wait_until(&mut self, most: u64) -> Result<(), BackfillError> {
        let (mut since, mut was_said) = (Instant::now(), false);
        loop {
            let n_ahead: u64 = self.ahead.iter().map(|(_, n)| n).sum();
            if n_ahead <= most {
                return Ok(());
            }
            let handled = self.letters.handled(self.pipeline).await?;
            let n_before = self.ahead.len();
            while self.ahead.front().is_some_and(|(at, _)| *at <= handled) {
                self.ahead.pop_front();
            }
            if self.ahead.len() < n_before {
                (since, was_said) = (Instant::now(), false);
                continue;
            }
            if !was_said && since.elapsed() >= SILENCE {
                was_said = true;
                (self.shown)(Stage::Silent);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn forget(&mut self) -> Result<(), BackfillError> {
        let handled = self.letters.handled(self.pipeline).await?;
        let place = (handled, self.last);
        self.letters.forget_handled(self.pipeline, place).await?;
        self.n_kept = 0;
        Ok(())
    }
}

/// Keeps to a rate, a page at a time.
struct Pace {
    rate: Option<f64>,
    due: Instant,
}

impl Pace {
    fn new(rate: Option<f64>) -> Self {
        let due = Instant::now();
        Self { rate, due }
    }

    /// Events of a page: of a tenth of a second, where they are few.
    fn page(&self) -> usize {
        let tenth = self.rate.unwrap_or(f64::MAX) / 10.0;
        let is_in = |n: &usize| u32::try_from(*n).is_ok_and(|n| f64::from(n) <= tenth);
        (1..=PAGE).take_while(is_in).last().unwrap_or(1)
    }

    /// Waits until so many more may be handed over.
    async fn wait(&mut self, n_events: u64) {
        let Some(rate) = self.rate else { return };
        let n_events = u32::try_from(n_events).unwrap_or(u32::MAX);
        let share = Duration::try_from_secs_f64(f64::from(n_events) / rate).unwrap_or_default();
        // What waited for the pipeline is not made up for.
        self.due = self.due.max(Instant::now()) + share;
        tokio::time::sleep_until(self.due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_are_small_where_events_are_few_and_none_is_made_up_for() {
        for (rate, page) in [
            (None, PAGE),
            (Some(0.5), 1),
            (Some(100.0), 10),
            (Some(1e9), PAGE),
        ] {
            assert_eq!(Pace::new(rate).page(), page, "{rate:?}");
        }
        let begun = Instant::now();
        let mut pace = Pace::new(Some(10.0));
        pace.wait(20).await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.wait(20).await;
        assert_eq!(begun.elapsed().as_secs(), 64);
    }
}
