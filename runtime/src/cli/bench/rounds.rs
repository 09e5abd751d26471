//! The throughput: the same stream emptied by the forwarder and by the pipeline, in turns.

use super::super::print::Printer;
use super::Args;
use super::figures::{Figures, median, range, rounded};
use super::lap::Lap;
use super::pipeline::{self, AT_LEAST_ONCE, ATOMIC, DEDUPE, Tracks, carry};
use super::place::Place;
use super::streams::Track;
use super::{example, forwarder};

/// Turns with and without `dedupe`, at most, of atomic pipelines, and of the examples.
const DEDUPE_ROUNDS: u32 = 3;
const ATOMIC_ROUNDS: u32 = 3;
const EXAMPLE_ROUNDS: u32 = 3;
/// How many events may be in flight where each group of decisions is measured.
const IN_FLIGHT: [u32; 6] = [1, 4, 16, 64, 256, 1_024];

/// Both sides in turns, the forwarder first and last: each turn of the pipeline is compared with
/// the forwarder's before and after it, each of the forwarder's with its next.
///
/// # Errors
/// When an event does not arrive.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    printer.note(&format!("storing {} events ..", args.events));
    let source = Track::lay(place, "orders").await?;
    source.fill(args).await?;
    let turn = Turn {
        args,
        place,
        source,
    };
    printer.note("warming up ..");
    turn.forwarder().await?;
    turn.pipeline(AT_LEAST_ONCE).await?;
    let (mut forwarder, mut pipeline) = (vec![turn.forwarder().await?], Vec::new());
    for round in 1..=args.rounds {
        let ours = turn.pipeline(AT_LEAST_ONCE).await?;
        let bare = turn.forwarder().await?;
        printer.note(&format!("round {round}: pipeline {ours}, forwarder {bare}"));
        pipeline.push(ours);
        forwarder.push(bare);
    }
    compare(&forwarder, &pipeline, figures);
    compare_dedupe(&turn, printer, figures).await?;
    compare_atomic(&turn, printer, figures).await?;
    compare_examples(&turn, printer, figures).await?;
    turn.source.lift().await?;
    figures.all_arrived = Some(true);
    Ok(())
}

/// The pipeline with and without `dedupe`, in turns.
async fn compare_dedupe(
    turn: &Turn<'_>,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..turn.args.rounds.min(DEDUPE_ROUNDS) {
        let without = turn.pipeline(AT_LEAST_ONCE).await?;
        let with = turn.pipeline(DEDUPE).await?;
        pipeline::forget(turn.place).await?;
        printer.note(&format!("dedupe: with {with}, without {without}"));
        rates.push(with.rate);
        ratios.push(with.rate / without.rate);
    }
    figures.dedupe_eps = median(&rates).map(f64::round);
    figures.ratio_dedupe = median(&ratios).map(|ratio| rounded(ratio, 3));
    Ok(())
}

/// The forwarder and an atomic pipeline with two effects for each event, in turns; and pipelines whose
/// events have no effects, atomic and not.
async fn compare_atomic(
    turn: &Turn<'_>,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut rates, mut ratios, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = turn.forwarder().await?;
    for _ in 0..turn.args.rounds.min(ATOMIC_ROUNDS) {
        let atomic = turn.atomic().await?;
        let after = turn.forwarder().await?;
        printer.note(&format!("atomic {atomic}, forwarder {after}"));
        rates.push(atomic.rate);
        ratios.push(atomic.rate / f64::midpoint(before.rate, after.rate));
        before = after;
    }
    compare_joined(turn, printer, figures).await?;
    for _ in 0..turn.args.rounds.min(ATOMIC_ROUNDS) {
        let without = turn.idle(AT_LEAST_ONCE).await?;
        let with = turn.idle(ATOMIC).await?;
        printer.note(&format!(
            "without effects: atomic {with}, at-least-once {without}"
        ));
        idle.push(with.rate / without.rate);
    }
    figures.atomic_eps = median(&rates).map(f64::round);
    figures.ratio_atomic = median(&ratios).map(|ratio| rounded(ratio, 3));
    figures.ratio_atomic_idle = median(&idle).map(|ratio| rounded(ratio, 3));
    Ok(())
}

/// The forwarder and an atomic pipeline whose two effects are written with the decision, in turns; then the
/// pipeline alone with fewer and more events in flight, which is what a group of decisions is made of.
async fn compare_joined(
    turn: &Turn<'_>,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    let mut before = turn.forwarder().await?;
    for _ in 0..turn.args.rounds.min(ATOMIC_ROUNDS) {
        let joined = turn.joined(ATOMIC, turn.args.events).await?;
        let after = turn.forwarder().await?;
        printer.note(&format!(
            "written with the decision {joined}, forwarder {after}"
        ));
        rates.push(joined.rate);
        ratios.push(joined.rate / f64::midpoint(before.rate, after.rate));
        before = after;
    }
    figures.joined_eps = median(&rates).map(f64::round);
    figures.ratio_joined = median(&ratios).map(|ratio| rounded(ratio, 3));
    for in_flight in IN_FLIGHT {
        let promises = format!("{ATOMIC}\nlimits = {{ events = {in_flight} }}");
        // With few in flight each waits for a write of its own.
        let n_events = turn.args.events.min(u64::from(in_flight) * 200);
        let lap = turn.joined(&promises, n_events).await?;
        printer.note(&format!(
            "written with the decision, {in_flight} in flight: {lap}"
        ));
        let point = (in_flight, lap.rate.round());
        figures.joined_eps_by_in_flight.push(point);
    }
    Ok(())
}

/// The forwarder and the examples of async-nats, in turns.
async fn compare_examples(
    turn: &Turn<'_>,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut laps, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..turn.args.rounds.min(EXAMPLE_ROUNDS) {
        let example = turn.example().await?;
        let bare = turn.forwarder().await?;
        printer.note(&format!("forwarder {bare}, as the examples {example}"));
        ratios.push(bare.rate / example.rate);
        laps.push(example);
    }
    figures.forwarder_example_eps = rate(&laps);
    figures.forwarder_example_cpu_us = cost(&laps);
    figures.ratio_forwarder_example = median(&ratios).map(|ratio| rounded(ratio, 3));
    Ok(())
}

fn compare(forwarder: &[Lap], pipeline: &[Lap], figures: &mut Figures) {
    let neighbours = || forwarder.iter().zip(forwarder.iter().skip(1));
    let control: Vec<_> = neighbours()
        .map(|(before, after)| after.rate / before.rate)
        .collect();
    let ratios: Vec<_> = neighbours()
        .zip(pipeline)
        .map(|((before, after), ours)| ours.rate / f64::midpoint(before.rate, after.rate))
        .collect();
    figures.forwarder_eps = rate(forwarder);
    figures.forwarder_cpu_us = cost(forwarder);
    figures.at_least_once_eps = rate(pipeline);
    figures.at_least_once_cpu_us = cost(pipeline);
    figures.forwarder_aa_ratio = median(&control).map(|ratio| rounded(ratio, 3));
    figures.forwarder_aa_range = range(&control);
    figures.ratio_at_least_once = median(&ratios).map(|ratio| rounded(ratio, 3));
    figures.ratio_at_least_once_range = range(&ratios);
}

/// Events per second, in the middle.
fn rate(laps: &[Lap]) -> Option<f64> {
    let rates: Vec<_> = laps.iter().map(|lap| lap.rate).collect();
    median(&rates).map(f64::round)
}

/// Processor time for an event, in the middle.
fn cost(laps: &[Lap]) -> Option<f64> {
    let costs: Vec<_> = laps.iter().filter_map(Lap::total_cost).collect();
    median(&costs).map(|cost| rounded(cost, 1))
}

struct Turn<'a> {
    args: &'a Args,
    place: &'a Place,
    source: Track,
}

impl Turn<'_> {
    /// The forwarder's.
    async fn forwarder(&self) -> anyhow::Result<Lap> {
        let target = Track::lay(self.place, "forwarded").await?;
        let (url, n_events) = (&self.place.url, self.args.events);
        let lap = Box::pin(forwarder::forward(url, &self.source, &target, n_events)).await?;
        self.check(target).await?;
        Ok(lap)
    }

    /// That of the examples.
    async fn example(&self) -> anyhow::Result<Lap> {
        let target = Track::lay(self.place, "by_example").await?;
        let (url, n_events) = (&self.place.url, self.args.events);
        let lap = Box::pin(example::forward(url, &self.source, &target, n_events)).await?;
        self.check(target).await?;
        Ok(lap)
    }

    /// The pipeline's, with these promises.
    async fn pipeline(&self, promises: &str) -> anyhow::Result<Lap> {
        let target = Track::lay(self.place, "carried").await?;
        let lap = self.carry(&[&target], false, promises).await?;
        self.check(target).await?;
        Ok(lap)
    }

    /// That of an atomic pipeline with two effects for each event.
    async fn atomic(&self) -> anyhow::Result<Lap> {
        let first = Track::lay(self.place, "carried").await?;
        let second = Track::lay(self.place, "carried_too").await?;
        let lap = self.carry(&[&first, &second], false, ATOMIC).await?;
        // The next turn has the same events.
        pipeline::forget(self.place).await?;
        self.check(first).await?;
        self.check(second).await?;
        Ok(lap)
    }

    /// That of an atomic pipeline with two effects for each event, written with the decision.
    async fn joined(&self, promises: &str, n_events: u64) -> anyhow::Result<Lap> {
        let first = Track::lay_among_decisions(self.place, "joined").await?;
        let second = Track::lay_among_decisions(self.place, "joined_too").await?;
        let tracks = Tracks {
            source: &self.source,
            targets: &[&first, &second],
            tables: &[],
            is_idle: false,
        };
        let plugin = self.args.plugin.as_deref();
        let carried = carry(self.place, plugin, tracks, n_events, promises);
        let lap = Box::pin(carried).await?;
        pipeline::forget(self.place).await?;
        if n_events == self.args.events {
            first.expect(n_events).await?;
            second.expect(n_events).await?;
        }
        first.lift().await?;
        second.lift().await?;
        Ok(lap)
    }

    /// That of a pipeline whose events have no effects.
    async fn idle(&self, promises: &str) -> anyhow::Result<Lap> {
        let target = Track::lay(self.place, "carried").await?;
        let lap = self.carry(&[&target], true, promises).await?;
        target.lift().await?;
        Ok(lap)
    }

    async fn carry(
        &self,
        targets: &[&Track],
        is_idle: bool,
        promises: &str,
    ) -> anyhow::Result<Lap> {
        let tracks = Tracks {
            source: &self.source,
            targets,
            tables: &[],
            is_idle,
        };
        let plugin = self.args.plugin.as_deref();
        let carried = carry(self.place, plugin, tracks, self.args.events, promises);
        Box::pin(carried).await
    }

    /// Makes sure that everything has arrived.
    async fn check(&self, target: Track) -> anyhow::Result<()> {
        target.expect(self.args.events).await?;
        target.lift().await
    }
}
