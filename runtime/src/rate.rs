//! At most so many in a time, for whoever has to wait for it.

use parking_lot::Mutex;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time for each.
    interval: Duration,
    /// How many may be done at once after a quiet time, where that is said; at least 1.
    burst: Option<u32>,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a rate: write how many in a second, minute or hour, as in \"500/s\" or \
    \"100/m burst 20\""
)]
pub struct InvalidRate(String);

/// The most in a second that waiting can tell apart.
const MOST: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        parse(text).ok_or_else(|| InvalidRate(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Rate> {
    let mut words = text.split_whitespace();
    let (count, unit) = words.next()?.split_once('/')?;
    let unit = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        _ => return None,
    };
    let number = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
    let count: u32 = number(count)?;
    let burst = match (words.next(), words.next(), words.next()) {
        (None, ..) => None,
        (Some("burst"), Some(burst), None) => Some(number(burst)?),
        _ => return None,
    };
    Some(Rate {
        interval: unit / count,
        burst,
    })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let burst = self.burst.unwrap_or(1);
        write!(f, "one every {:?}, {burst} at once", self.interval)
    }
}

/// Keeps to a rate. Whoever asks first goes first.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    /// How much of the time to come may be used up at once.
    ahead: Duration,
    /// When a quiet time ends: everything that was let through has had its time by then.
    paid: Mutex<Instant>,
}

impl Limiter {
    /// Nothing was done yet. One at once, unless the rate says otherwise.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::with(rate.interval, rate.burst.unwrap_or(1))
    }

    /// For those who are refused instead of waiting: what a second brings at once, unless the rate says otherwise.
    #[must_use]
    pub fn refusing(rate: Rate) -> Self {
        let in_a_second = Duration::from_secs(1).as_nanos() / rate.interval.as_nanos().max(1);
        let in_a_second = u32::try_from(in_a_second).unwrap_or(MOST).max(1);
        Self::with(rate.interval, rate.burst.unwrap_or(in_a_second))
    }

    fn with(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            ahead: interval * burst.saturating_sub(1),
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the next turn. Turns are given out in the order of asking; one that is not waited
    /// for passes unused.
    pub async fn turn(&self) {
        let due = self.book(Instant::now());
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }

    /// Takes a turn if it is now.
    ///
    /// # Errors
    /// How long it is until the next one, which is not booked.
    pub fn try_turn(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut paid = self.paid.lock();
        if let Some(due) = self.due(*paid, now) {
            return Err(due - now);
        }
        *paid = (*paid).max(now) + self.interval;
        Ok(())
    }

    /// Whether it is as if nothing had been done yet.
    #[must_use]
    pub fn is_rested(&self) -> bool {
        *self.paid.lock() <= Instant::now()
    }

    /// Books a turn; none: it is now.
    fn book(&self, now: Instant) -> Option<Instant> {
        let mut paid = self.paid.lock();
        let due = self.due(*paid, now);
        *paid = (*paid).max(now) + self.interval;
        due
    }

    /// When the next turn is, unless it is now.
    fn due(&self, paid: Instant, now: Instant) -> Option<Instant> {
        paid.checked_sub(self.ahead).filter(|due| *due > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read() {
        let rate = |text: &str| text.parse::<Rate>();
        let of = |interval, burst| Ok(Rate { interval, burst });
        assert_eq!(rate("500/s"), of(Duration::from_millis(2), None));
        assert_eq!(rate("6/m burst 3"), of(Duration::from_secs(10), Some(3)));
        assert_eq!(rate("1/h"), of(Duration::from_secs(3_600), None));
        for wrong in [
            "",
            "5",
            "0/s",
            "5/d",
            "-1/s",
            "5/s burst",
            "5/s burst 0",
            "5/s 3",
            "9999999/s",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_in_their_time() {
        let limiter = Limiter::new("10/s burst 3".parse().unwrap());
        let begun = Instant::now();
        let mut came = Vec::new();
        for _ in 0..6 {
            limiter.turn().await;
            came.push(begun.elapsed().as_millis());
        }
        assert_eq!(came, [0, 0, 0, 100, 200, 300]);
        // A quiet time saves up no more than the burst.
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        let turn = async |n: usize| {
            limiter.turn().await;
            (n, begun.elapsed().as_millis())
        };
        let came = futures::future::join_all((0..5).map(turn)).await;
        assert_eq!(came, [(0, 0), (1, 0), (2, 0), (3, 100), (4, 200)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_is_told_how_long_it_is() {
        let taken = |limiter: &Limiter| (0..9).take_while(|_| limiter.try_turn().is_ok()).count();
        let limiter = Limiter::refusing("4/s".parse().unwrap());
        assert!(limiter.is_rested());
        assert_eq!((taken(&limiter), limiter.is_rested()), (4, false));
        let wait = limiter.try_turn().unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        tokio::time::advance(wait).await;
        // Who was refused has used nothing up.
        assert_eq!(taken(&limiter), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.is_rested());
        assert_eq!(taken(&limiter), 4);
        for (rate, at_once) in [("30/m", 1), ("30/m burst 3", 3), ("10/s burst 1", 1)] {
            let limiter = Limiter::refusing(rate.parse().unwrap());
            assert_eq!(taken(&limiter), at_once, "{rate}");
        }
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_its_share(
            burst in 1_u32..5, gaps in prop::collection::vec(0_u64..300, 1..60)
        ) {
            let interval = Duration::from_millis(100);
            let limiter = Limiter::with(interval, burst);
            let (begun, mut now) = (Instant::now(), Instant::now());
            let mut times = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                times.push(limiter.book(now).unwrap_or(now).max(now) - begun);
            }
            prop_assert!(times.is_sorted(), "{times:?}");
            for (first, from) in times.iter().enumerate() {
                let until = *from + Duration::from_secs(1);
                let n_seen = times.iter().skip(first).filter(|at| **at < until).count();
                prop_assert!(n_seen <= 10 + burst as usize, "{n_seen} in a second: {times:?}");
            }
        }
    }
}
