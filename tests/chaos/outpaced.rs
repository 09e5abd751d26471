//! A runtime that is outpaced: it stands still after its last change, another one takes over and takes the
//! change back, and then the first goes on and decides.

use super::patiently;
use super::report::OUTPACED;
use super::storm::{DIES, Storm};
use crate::harness::{Process, stall};
use std::time::Duration;

/// Long enough to have some stand there that have changed something, and to be stopped. Once the lease is lost, it is over.
const STALL: &str = "stall=deciding:1:2000";
const GATHER: Duration = Duration::from_millis(300);
const STALLS: &str = "fault: events stand still here";
/// Whoever takes over dies before it begins what it has taken back anew: then its decision would be first.
const UNTIL_TAKEN_BACK: &str = "die=taken:1";
const TAKEN_BACK: &str = "a transaction of an earlier run was ended";

impl Storm<'_> {
    /// Deals that blow while no runtime is there. Gives the outpaced one, if it came to that.
    pub(super) async fn outpace(&mut self) -> Option<Process> {
        let mut slow = self.start(STALL);
        let mut stalls = false;
        patiently("an event stands still before its decision", async || {
            stalls = slow.log().contains(STALLS);
            stalls || slow.has_ended() || self.publisher.has_caught_up().await
        })
        .await;
        if !stalls {
            self.kill(slow);
            return None;
        }
        // Some that have nothing to change may be there first.
        stall(GATHER).await;
        slow.pause();
        let mut fast = self.start(UNTIL_TAKEN_BACK);
        let mut ended = false;
        patiently("another one takes over", async || {
            ended = fast.has_ended();
            ended || self.publisher.has_caught_up().await
        })
        .await;
        let log = fast.log();
        let came_first = log.contains(DIES) && log.contains(TAKEN_BACK);
        self.kill(fast);
        slow.resume();
        self.dealt.stop("runtime");
        if !came_first {
            self.kill(slow);
            return None;
        }
        self.dealt.fire(OUTPACED);
        Some(slow)
    }
}
