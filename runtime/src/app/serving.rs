//! Where the API meets the targets and whoever changes them.

use super::{AppError, Shared, uses, way};
use crate::api::{Change, Modules, Nobody, Server};
use crate::change::{self, Clerk, Relay};
use crate::config::Config;
use crate::txn::{Coordinator, Lease, Ledger, Members, Way};
use std::sync::Arc;
use std::time::Duration;

/// The only share of the changes that there is.
const ALL: u32 = 0;
/// How long a runtime that makes changes may be silent.
const LEASE: Duration = Duration::from_secs(5);

/// The API, which listens and answers nobody yet, and who makes its changes.
pub(super) struct Serving {
    pub(super) server: Server,
    /// None: nobody may change anything.
    pub(super) clerk: Option<Arc<Clerk>>,
}

/// The API, if it is configured.
///
/// # Errors
/// [`AppError`] naming what is missing or wrong.
pub(super) async fn open(
    config: &Config,
    shared: &Shared,
    grace: Duration,
) -> Result<Option<Serving>, AppError> {
    let Some(settings) = config.api.clone() else {
        return Ok(None);
    };
    let clerk = match settings.permits_changes() {
        true => Some(Clerk::new(clerk(config, shared, grace).await?)),
        false => None,
    };
    let changes: Arc<dyn Change> = match &clerk {
        Some(clerk) => {
            let relay = Relay::new(clerk.clone(), shared.presence.client());
            let (tasks, shutdown) = (shared.tasks.clone(), shared.shutdown.clone());
            shared.tasks.spawn(relay.clone().serve(tasks, shutdown));
            relay
        }
        None => Arc::new(Nobody),
    };
    let modules = Modules {
        contracts: uses::contracts(config),
        adapted: shared.adapted.clone(),
        source: shared.targets.clone(),
        changes,
    };
    let server = Server::bind(settings, modules).await?;
    Ok(Some(Serving { server, clerk }))
}

async fn clerk(
    config: &Config,
    shared: &Shared,
    grace: Duration,
) -> Result<change::Parts, AppError> {
    let (name, provision) = (change::PIPELINE, config.nats.provision());
    let place = (&shared.context, &provision);
    let ledger = Ledger::open(place, name, way::HORIZON, shared.targets.clone()).await?;
    let coordinator = Coordinator::new(
        name,
        shared.targets.clone(),
        None,
        shared.dead_letters.clone(),
        Way::Atomic(ledger),
    );
    let keeping = (shared.presence.clone(), shared.tasks.clone());
    let calling = (shared.presence.clone(), &shared.tasks);
    let members = Members::join((name, 1), LEASE, calling, shared.shutdown.clone()).await?;
    Ok(change::Parts {
        coordinator,
        feeds: shared.feeds.clone(),
        lease: Lease::open(place, (name, ALL), LEASE, members, keeping).await?,
        tasks: shared.tasks.clone(),
        grace,
    })
}
