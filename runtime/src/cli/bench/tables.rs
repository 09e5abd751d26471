//! Tables: an atomic pipeline against a bare loop that writes the same rows with as many connections, in turns;
//! into one database, and into two at once.

mod bare;
mod ground;

use super::super::print::Printer;
use super::Args;
use super::figures::{Figures, median, rounded};
use super::lap::Lap;
use super::pipeline::{self, ATOMIC, Tracks, carry};
use super::place::Place;
use super::streams::{Track, order};
use ground::Ground;
use std::collections::HashSet;

/// Events of a turn, at most: each is a transaction of its own, on a disk.
const EVENTS: u64 = 20_000;
/// How often each side has its turn, at most.
const ROUNDS: u32 = 3;

/// What both sides came to: events per second, and how they compare.
#[derive(Default)]
struct Compared {
    ours: Vec<f64>,
    bare: Vec<f64>,
    ratios: Vec<f64>,
}

struct Turn<'a> {
    args: Args,
    place: &'a Place,
    source: Track,
    ground: Ground,
    n_customers: i64,
}

/// Both with one database and with two.
///
/// # Errors
/// When the server cannot be reached, or does not hold what it must in the end.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let Some(url) = &args.postgres else {
        return Ok(());
    };
    let one = compare(args, (place, url, 1), printer).await?;
    figures.postgres_eps = median(&one.ours).map(f64::round);
    figures.bare_postgres_eps = median(&one.bare).map(f64::round);
    figures.ratio_postgres = median(&one.ratios).map(|ratio| rounded(ratio, 3));
    let two = compare(args, (place, url, 2), printer).await?;
    figures.two_databases_eps = median(&two.ours).map(f64::round);
    figures.bare_two_databases_eps = median(&two.bare).map(f64::round);
    figures.ratio_two_databases = median(&two.ratios).map(|ratio| rounded(ratio, 3));
    Ok(())
}

/// Both in turns, the bare loop first and last: each turn of the pipeline is compared with the loop's before
/// and after it.
async fn compare(
    args: &Args,
    (place, url, n_databases): (&Place, &str, usize),
    printer: &Printer,
) -> anyhow::Result<Compared> {
    let args = Args {
        events: args.events.min(EVENTS),
        ..args.clone()
    };
    let source = Track::lay(place, "rows").await?;
    source.fill(&args).await?;
    let customers: HashSet<_> = (0..args.events).map(|n| order(n, &args).0).collect();
    let turn = Turn {
        n_customers: i64::try_from(customers.len())?,
        ground: Ground::make(url, n_databases).await?,
        args,
        place,
        source,
    };
    // Warms up, and makes the tables that both write to.
    turn.pipeline().await?;
    let mut compared = Compared::default();
    let mut before = turn.bare().await?;
    compared.bare.push(before.rate);
    for _ in 0..turn.args.rounds.min(ROUNDS) {
        let ours = turn.pipeline().await?;
        let after = turn.bare().await?;
        printer.note(&format!(
            "tables of {n_databases}: pipeline {ours}, bare loop {after}"
        ));
        let ratio = ours.rate / f64::midpoint(before.rate, after.rate);
        compared.ratios.push(ratio);
        compared.ours.push(ours.rate);
        compared.bare.push(after.rate);
        before = after;
    }
    turn.ground.drop_all().await?;
    turn.source.lift().await?;
    Ok(compared)
}

impl Turn<'_> {
    /// The pipeline's.
    async fn pipeline(&self) -> anyhow::Result<Lap> {
        let tracks = Tracks {
            source: &self.source,
            targets: &[],
            tables: self.ground.urls(),
            is_idle: false,
        };
        let carried = carry(self.place, None, tracks, self.args.events, ATOMIC);
        let lap = Box::pin(carried).await?;
        // The next turn has the same events.
        pipeline::forget(self.place).await?;
        self.clear().await?;
        Ok(lap)
    }

    /// The bare loop's.
    async fn bare(&self) -> anyhow::Result<Lap> {
        let lap = Box::pin(bare::write(&self.args, self.ground.urls())).await?;
        self.clear().await?;
        Ok(lap)
    }

    /// Makes sure that everything has arrived.
    async fn clear(&self) -> anyhow::Result<()> {
        let n_events = i64::try_from(self.args.events)?;
        self.ground.clear(self.n_customers, n_events).await
    }
}
