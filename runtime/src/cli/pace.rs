//! At most so many per second.

use std::time::Duration;
use tokio::time::Instant;

/// Keeps to a rate: number n does not begin before its time, however long others took.
pub(super) struct Pace {
    rate: Option<f64>,
    started: Instant,
    n_begun: u32,
}

impl Pace {
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            rate,
            started: Instant::now(),
            n_begun: 0,
        }
    }

    pub(super) async fn wait(&mut self) {
        let Some(rate) = self.rate else { return };
        // Starts anew now and then, so that the count stays small.
        if self.n_begun == 1 << 20 {
            *self = Self::new(self.rate);
        }
        let due = Duration::try_from_secs_f64(f64::from(self.n_begun) / rate).unwrap_or_default();
        self.n_begun += 1;
        tokio::time::sleep_until(self.started + due).await;
    }
}

/// A rate as an argument.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("write a number above zero: events per second".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_above_zero() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "x"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn number_n_waits_for_its_time() {
        let begun = Instant::now();
        let mut pace = Pace::new(Some(10.0));
        for _ in 0..21 {
            pace.wait().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
