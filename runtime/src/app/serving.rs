//! Where the API meets the targets.

use crate::api::{BindError, Contracts, Server};
use crate::config::Config;
use crate::target::{Kind, Targets};
use std::sync::Arc;

/// The API, if it is configured. It listens, and answers nobody yet.
pub(super) async fn open(
    config: &Config,
    targets: &Arc<Targets>,
) -> Result<Option<Server>, BindError> {
    let Some(settings) = config.api.clone() else {
        return Ok(None);
    };
    let server = Server::bind(settings, contracts(config), targets.clone()).await?;
    Ok(Some(server))
}

/// The contracts of targets that can be read.
fn contracts(config: &Config) -> Contracts {
    let targets = config.targets.iter();
    let readable = targets.filter(|target| !matches!(target.kind, Kind::Subject { .. }));
    let with = readable.filter_map(|target| Some((target.name.clone(), target.contract.clone()?)));
    with.collect()
}
