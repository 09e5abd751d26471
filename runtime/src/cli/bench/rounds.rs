//! The throughput: the same stream emptied by the forwarder and by the pipeline, in turns.

use super::super::print::Printer;
use super::Args;
use super::figures::{Figures, median, range, rounded};
use super::forwarder::forward;
use super::pipeline::carry;
use super::place::Place;
use super::streams::Track;
use std::time::Duration;

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
    turn.pipeline().await?;
    let (mut forwarder, mut pipeline) = (vec![turn.forwarder().await?], Vec::new());
    for round in 1..=args.rounds {
        pipeline.push(turn.pipeline().await?);
        forwarder.push(turn.forwarder().await?);
        if let (Some(bare), Some(ours)) = (forwarder.last(), pipeline.last()) {
            printer.note(&format!(
                "round {round}: forwarder {bare:.0} events/s, pipeline {ours:.0}"
            ));
        }
    }
    turn.source.lift().await?;
    let neighbours = || forwarder.iter().zip(forwarder.iter().skip(1));
    let control: Vec<_> = neighbours().map(|(before, after)| after / before).collect();
    let ratios: Vec<_> = neighbours()
        .zip(&pipeline)
        .map(|((before, after), ours)| ours / f64::midpoint(*before, *after))
        .collect();
    figures.forwarder_eps = median(&forwarder).map(f64::round);
    figures.at_least_once_eps = median(&pipeline).map(f64::round);
    figures.forwarder_aa_ratio = median(&control).map(|ratio| rounded(ratio, 3));
    figures.forwarder_aa_range = range(&control);
    figures.ratio_at_least_once = median(&ratios).map(|ratio| rounded(ratio, 3));
    figures.ratio_at_least_once_range = range(&ratios);
    figures.all_arrived = true;
    Ok(())
}

struct Turn<'a> {
    args: &'a Args,
    place: &'a Place,
    source: Track,
}

impl Turn<'_> {
    /// Events per second of the forwarder.
    async fn forwarder(&self) -> anyhow::Result<f64> {
        let target = Track::lay(self.place, "forwarded").await?;
        let (url, n_events) = (&self.place.url, self.args.events);
        let took = Box::pin(forward(url, &self.source, &target, n_events)).await?;
        self.rate(target, took).await
    }

    /// Events per second of the pipeline.
    async fn pipeline(&self) -> anyhow::Result<f64> {
        let target = Track::lay(self.place, "carried").await?;
        let tracks = (&self.source, &target);
        let plugin = self.args.plugin.as_deref();
        let took = Box::pin(carry(self.place, plugin, tracks, self.args.events)).await?;
        self.rate(target, took).await
    }

    /// The rate, once it is sure that everything has arrived.
    async fn rate(&self, target: Track, took: Duration) -> anyhow::Result<f64> {
        target.expect(self.args.events).await?;
        target.lift().await?;
        let n_events = u32::try_from(self.args.events)?;
        Ok(f64::from(n_events) / took.as_secs_f64())
    }
}
