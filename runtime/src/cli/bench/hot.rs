//! What one hot key costs the others: their latency while the plugin takes long over its events,
//! and while no event takes long.

use super::super::print::Printer;
use super::Args;
use super::figures::{Figures, median, rounded};
use super::latency::{Flow, histogram};
use super::pipeline::AT_LEAST_ONCE;
use super::place::Place;

/// How often each has its turn.
const ROUNDS: u32 = 3;
/// How long one lasts: a few events of the hot key, over which more than one of a hundred others
/// would wait if they had to.
const SECONDS: u32 = 7;
/// Of how many events one is of the hot key.
const RARE: u64 = 10_000;

/// Both in turns, with the plugin that takes long where it is told to.
///
/// # Errors
/// When an event does not arrive.
pub(super) async fn measure(
    args: &Args,
    place: &Place,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let Some(slow) = args.slow.as_deref() else {
        return Ok(());
    };
    let flow = |hot| Flow {
        plugin: Some(slow),
        seconds: SECONDS,
        promises: AT_LEAST_ONCE,
        has_two: false,
        is_joined: false,
        hot,
    };
    let p99 = async |hot| {
        let measured = Box::pin(histogram(args, place, &flow(hot))).await?;
        anyhow::Ok(measured.value_at_quantile(0.99) as f64)
    };
    let (mut calm, mut beside_hot, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (without, with) = (p99(None).await?, p99(Some(RARE)).await?);
        printer.note(&format!(
            "p99 of the others: {with} us, without a hot key {without} us"
        ));
        calm.push(without);
        beside_hot.push(with);
        ratios.push(with / without);
    }
    figures.calm_p99_us = median(&calm);
    figures.hot_key_p99_us = median(&beside_hot);
    figures.ratio_hot_key = median(&ratios).map(|ratio| rounded(ratio, 3));
    Ok(())
}
