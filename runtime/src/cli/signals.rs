//! What the operating system asks of a running runtime.

use super::failure::{Exit, Failure};
use std::future::Future;
use std::pin::pin;
use syncline::shutdown::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    End,
    Reload,
}

impl Signals {
    /// Listens from now on: the default action of these signals is off.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new("cannot listen to signals").because(error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Runs `work`. The first request to end begins the shutdown, the second gives `work` up.
    ///
    /// # Errors
    /// When it was given up.
    pub(super) async fn during<T>(
        &mut self,
        shutdown: &Shutdown,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let mut work = pin!(work);
        loop {
            let request = tokio::select! {
                result = &mut work => return Ok(result),
                request = self.next() => request,
            };
            match request {
                Request::Reload => tracing::warn!(
                    "SIGHUP: reloading the configuration is not available yet; restart to apply \
                     changes (changed plugin files are swapped in by themselves)"
                ),
                Request::End if shutdown.has_begun() => {
                    let failure = Failure::new("ended before the events in flight were done");
                    return Err(failure
                        .why("asked to end a second time")
                        .exit(Exit::NotFine)
                        .into());
                }
                Request::End => {
                    tracing::info!("asked to end; once more aborts");
                    shutdown.begin();
                }
            }
        }
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::End,
            _ = self.terminate.recv() => Request::End,
            _ = self.hang_up.recv() => Request::Reload,
        }
    }
}
