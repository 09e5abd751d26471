//! Takes its time over some events: what is left is what that costs the others.

use std::time::{Duration, Instant};
use syncline_sdk::prelude::*;

/// How long it takes over an event that is to take long.
const TIME: Duration = Duration::from_millis(50);

plugin! {
    /// Hands every event on, one whose data begins with `slow` after 50 ms of work.
    Slow { process: hand_on }
}

fn hand_on(event: &Event) -> Verdict {
    let begun = Instant::now();
    while event.data().starts_with(b"slow") && begun.elapsed() < TIME {
        std::hint::spin_loop();
    }
    Verdict::pass()
}
