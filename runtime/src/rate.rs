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
    /// How many may be done at once after a quiet time; at least 1.
    burst: u32,
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
        (None, ..) => 1,
        (Some("burst"), Some(burst), None) => number(burst)?,
        _ => return None,
    };
    Some(Rate {
        interval: unit / count,
        burst,
    })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one every {:?}, {} at once", self.interval, self.burst)
    }
}

/// Keeps to a rate. Whoever asks first goes first.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// When a quiet time ends: everything that was let through has had its time by then.
    paid: Mutex<Instant>,
}

impl Limiter {
    /// Nothing was done yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
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

    /// Books a turn; none: it is now.
    fn book(&self, now: Instant) -> Option<Instant> {
        let mut paid = self.paid.lock();
        let ahead = self.rate.interval * (self.rate.burst - 1);
        let due = paid.checked_sub(ahead).filter(|due| *due > now);
        *paid = (*paid).max(now) + self.rate.interval;
        due
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
        assert_eq!(rate("500/s"), of(Duration::from_millis(2), 1));
        assert_eq!(rate("6/m burst 3"), of(Duration::from_secs(10), 3));
        assert_eq!(rate("1/h"), of(Duration::from_secs(3_600), 1));
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

    proptest! {
        #[test]
        fn no_time_sees_more_than_its_share(
            burst in 1_u32..5, gaps in prop::collection::vec(0_u64..300, 1..60)
        ) {
            let interval = Duration::from_millis(100);
            let limiter = Limiter::new(Rate { interval, burst });
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
