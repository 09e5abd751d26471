//! A pipeline's post: who holds its lease works there, the others stand by.

use super::AppError;
use super::replays::FromDeadLetters;
use crate::dead_letter::DeadLetters;
use crate::event::{Delivery, OrderingKey};
use crate::intake::{self, Gate, Gauge, Handler, Intake, IntakeError, Replays};
use crate::pipeline::{Pipeline, Shift};
use crate::shutdown::Shutdown;
use crate::telemetry::PipelineMetrics;
use crate::txn::{Lease, Tenure};
use async_nats::jetstream;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The pause before an intake is opened that could not be.
const REOPEN: Duration = Duration::from_millis(500);

/// A pipeline that is ready to be worked on.
pub(super) struct Post {
    parts: Parts,
    /// None: the source needs no lease.
    lease: Option<Lease>,
    /// Where it is our turn already.
    opened: Option<(Shift, Intake)>,
}

/// What work at a post needs.
pub(super) struct Parts {
    pub(super) context: jetstream::Context,
    pub(super) config: intake::Config,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) replays: Replays,
    pub(super) dead_letters: DeadLetters,
    pub(super) metrics: Arc<PipelineMetrics>,
    pub(super) shutdown: Shutdown,
    pub(super) gauge: Gauge,
}

/// The right to act, as the intake sees it.
struct OfTenure(Tenure);

impl Gate for OfTenure {
    fn is_open(&self) -> bool {
        self.0.holds()
    }

    fn is_closed_for_good(&self) -> bool {
        self.0.has_ended()
    }

    fn opened(&self) -> BoxFuture<'_, bool> {
        self.0.held().boxed()
    }
}

impl Post {
    /// Finds or makes what the work will need, and begins it when it is our turn; no event is taken
    /// yet.
    ///
    /// # Errors
    /// [`AppError`] naming what is missing or wrong.
    pub(super) async fn open(parts: Parts, lease: Option<Lease>) -> Result<Self, AppError> {
        let tenure = match &lease {
            Some(lease) => lease.take_if_free(&parts.shutdown).await?,
            None => Some(Tenure::unleased(parts.shutdown.child())),
        };
        let opened = match tenure {
            Some(tenure) => {
                let shift = parts.pipeline.shift(&tenure);
                let intake = Box::pin(parts.open(&shift)).await?;
                Some((shift, intake))
            }
            None => None,
        };
        Ok(Self {
            parts,
            lease,
            opened,
        })
    }

    /// Works until the shutdown, whenever it is our turn; then waits for events at work, at most
    /// `grace`. Returns whether all of them ended.
    pub(super) async fn work(self, grace: Duration) -> bool {
        let Self {
            parts,
            lease,
            opened,
        } = self;
        let mut drained = true;
        if let Some((shift, intake)) = opened {
            drained = parts.run(lease.as_ref(), &shift, intake, grace).await;
        }
        let Some(lease) = lease else { return drained };
        while let Some(tenure) = lease.acquire(&parts.shutdown).await {
            let shift = parts.pipeline.shift(&tenure);
            match Box::pin(parts.open(&shift)).await {
                Ok(intake) => drained = parts.run(Some(&lease), &shift, intake, grace).await,
                Err(error) => {
                    let pipeline = &parts.config.pipeline;
                    warn!(%pipeline, %error, "intake not opened, trying again");
                    lease.end(&tenure, true).await;
                    parts.shutdown.pause(REOPEN).await;
                }
            }
        }
        drained
    }
}

impl Parts {
    async fn open(&self, shift: &Shift) -> Result<Intake, IntakeError> {
        let tenure = shift.tenure();
        let (pipeline, its) = (self.pipeline.clone(), shift.clone());
        let handler: Handler = Arc::new(move |delivery: Delivery| {
            let (pipeline, its) = (pipeline.clone(), its.clone());
            async move { pipeline.handle(delivery, &its).await }.boxed()
        });
        let parts = intake::Parts {
            metrics: self.metrics.clone(),
            shutdown: tenure.shutdown().clone(),
            handler,
            replays: self.replays.clone(),
            recall: Arc::new(FromDeadLetters {
                letters: self.dead_letters.clone(),
                pipeline: self.pipeline.clone(),
                shift: shift.clone(),
            }),
            gate: Arc::new(OfTenure(tenure.clone())),
            gauge: self.gauge.clone(),
        };
        Intake::open(&self.context, &self.config, parts).await
    }

    /// Takes events, and looks after what others left meanwhile; false when something of that did not end in
    /// time.
    async fn run_intake(&self, shift: &Shift, intake: Intake, grace: Duration) -> bool {
        let shutdown = shift.tenure().shutdown();
        let events = async {
            let drained = intake.run(grace).await;
            shutdown.begin();
            drained
        };
        let patrol = async {
            let mut rounds = pin!(self.pipeline.patrol(shift));
            tokio::select! {
                () = &mut rounds => return true,
                () = shutdown.begun() => {}
            }
            // What it has asked of a target must not be on its way when somebody else takes over.
            tokio::time::timeout(grace, rounds).await.is_ok()
        };
        let (drained, is_at_rest) = futures::join!(events, patrol);
        if !is_at_rest {
            warn!(pipeline = %self.config.pipeline, ?grace,
                "what an earlier run had left did not end in time: whoever takes over goes on with it");
        }
        drained && is_at_rest
    }

    async fn run(
        &self,
        lease: Option<&Lease>,
        shift: &Shift,
        intake: Intake,
        grace: Duration,
    ) -> bool {
        let tenure = shift.tenure();
        let takes = |subject: &str, key: &OrderingKey| match &self.config.partition {
            Some(partition) => partition.takes(subject, || key.clone()),
            // Whoever only writes events to their partitions holds none.
            None => !self.config.shares_out(),
        };
        let needed_elsewhere = async {
            if let Some(lease) = lease {
                lease.needed_elsewhere(tenure.shutdown()).await;
                tenure.shutdown().begin();
            }
        };
        let work = async {
            // Before anything new is taken: what was decided comes before it.
            match self.pipeline.recover(shift, &takes).await {
                true => self.run_intake(shift, intake, grace).await,
                false => true,
            }
        };
        let (drained, ()) = futures::join!(work, needed_elsewhere);
        self.pipeline.leave_off(shift).await;
        if !drained {
            warn!(pipeline = %self.config.pipeline, ?grace,
                "events at work did not end in time: they come again");
        }
        // What is still at work may not be, and whoever waits finds out by itself.
        if let Some(lease) = lease {
            lease.end(tenure, drained).await;
        }
        drained
    }
}
