//! One turn of a side: how long it took, and how much of the processors.

use tokio::time::Instant;

/// What the kernel counts processor time in.
const TICKS_PER_SECOND: f64 = 100.0;

/// A turn that goes on.
pub(super) struct Clock {
    begun: Instant,
    busy: Option<Busy>,
}

/// A turn that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lap {
    /// Events per second.
    pub(super) rate: f64,
    /// Microseconds of processor time for an event, in this process and in the server; none where
    /// the server is not our own. Unlike the rate it says something on a machine that is busy.
    pub(super) cost: Option<(f64, f64)>,
}

/// Processor time since the start, in ticks.
#[derive(Clone, Copy)]
struct Busy {
    own: f64,
    server: f64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            busy: Busy::now(),
            begun: Instant::now(),
        }
    }

    /// Ends the turn of so many events.
    pub(super) fn stop(self, n_events: u64) -> Lap {
        let took = self.begun.elapsed();
        let n_events = n_events as f64;
        let each = |before: f64, after: f64| (after - before) / TICKS_PER_SECOND * 1e6 / n_events;
        let cost = self.busy.zip(Busy::now()).map(|(before, after)| {
            let own = each(before.own, after.own);
            (own, each(before.server, after.server))
        });
        Lap {
            rate: n_events / took.as_secs_f64(),
            cost,
        }
    }
}

impl Lap {
    /// Microseconds of processor time for an event, over both processes.
    pub(super) fn total_cost(&self) -> Option<f64> {
        self.cost.map(|(own, server)| own + server)
    }
}

impl std::fmt::Display for Lap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} events/s", self.rate)?;
        match self.cost {
            Some((own, server)) => write!(f, " (CPU {own:.1} + server's {server:.1} us)"),
            None => Ok(()),
        }
    }
}

impl Busy {
    /// Of this process and of its children, of which the server is the only one that works.
    fn now() -> Option<Self> {
        let mut server = None;
        for task in std::fs::read_dir("/proc/self/task").ok()? {
            let children = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
            for child in children.split_whitespace() {
                let spent = ticks_of(child).unwrap_or_default();
                server = Some(server.unwrap_or_default() + spent);
            }
        }
        Some(Self {
            own: ticks_of("self")?,
            server: server?,
        })
    }
}

/// User and system time of a process: the 14th and 15th field of its line, the second of which is
/// a name in brackets that may hold anything.
fn ticks_of(process: &str) -> Option<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}
