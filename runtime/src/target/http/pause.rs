//! `Retry-After`: when a module asks not to be asked.

use parking_lot::Mutex;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;

/// However long a module asks for.
const LONGEST: Duration = Duration::from_secs(300);

/// Until when a module asks not to be asked.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Waits until the module may be asked.
    pub(super) async fn over(&self) {
        loop {
            let until = *self.0.lock();
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// Takes note of what an answer asks for.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let asked = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        if let Some(pause) = asked.and_then(|text| pause_of(text, SystemTime::now())) {
            let until = Instant::now() + pause.min(LONGEST);
            let mut noted = self.0.lock();
            *noted = Some(noted.map_or(until, |before| before.max(until)));
        }
    }
}

/// Seconds, or a date.
fn pause_of(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // HTTP writes GMT where mail writes a number.
    let until = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    SystemTime::from(until).duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        let cases = [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(77)),
            // It is over.
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                pause_of(text, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_that_was_asked_for_holds_and_none_is_endless() {
        let pause = Pause::default();
        let asked = |seconds: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, seconds.parse().unwrap());
            pause.note(&headers);
        };
        asked("10");
        asked("2");
        let begun = Instant::now();
        pause.over().await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        asked("99999999");
        let begun = Instant::now();
        pause.over().await;
        assert_eq!(begun.elapsed(), LONGEST);
    }
}
