//! Where the plugins' `lookup` meets the targets.

use crate::contract::{Adapted, AdaptedVersions, Contract, Unadapted, Verb};
use crate::plugin::{Entity, LookupError, Retrieve};
use crate::target::{ReadError, Targets};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Reads the configured targets.
pub(super) struct FromTargets {
    targets: Arc<Targets>,
    contracts: BTreeMap<String, Arc<Contract>>,
    /// Known once the plugins that adapt are loaded, which look up as all others do.
    adapted: Arc<OnceLock<AdaptedVersions>>,
}

impl FromTargets {
    pub(super) fn new(targets: Arc<Targets>, contracts: BTreeMap<String, Arc<Contract>>) -> Self {
        Self {
            targets,
            contracts,
            adapted: Arc::default(),
        }
    }

    /// Where it is said once which versions there are beside the targets' own.
    pub(super) fn adapted(&self) -> Arc<OnceLock<AdaptedVersions>> {
        self.adapted.clone()
    }

    /// The version that `version` of the target's contract means, where it is not its own.
    fn version(&self, target: &str, version: &str) -> Result<Option<Arc<Adapted>>, LookupError> {
        let invalid = |fault: String| LookupError::Invalid(fault);
        let number: u32 = version
            .parse()
            .map_err(|_| invalid(format!("`{version}` is no version of target `{target}`")))?;
        if self
            .contracts
            .get(target)
            .is_some_and(|own| own.version() == number)
        {
            return Ok(None);
        }
        let adapted = self.adapted.get().and_then(|all| all.get(target, number));
        let adapted = adapted.cloned().map(Some);
        adapted.ok_or_else(|| invalid(format!("target `{target}` does not serve version {number}")))
    }

    /// Why the target's contract lets nobody read such an entity, if it does not.
    fn forbids(&self, target: &str, entity: Option<&str>) -> Option<LookupError> {
        let contract = self.contracts.get(target)?;
        let fault = match contract.entity(entity) {
            Ok((_, entity)) => entity.forbids(Verb::Retrieve)?,
            Err(fault) => fault,
        };
        let fault = format!("target `{target}`: {contract}: {fault}");
        Some(LookupError::Invalid(fault))
    }
}

impl Retrieve for FromTargets {
    fn retrieve<'a>(
        &'a self,
        target: &'a str,
        entity: Option<&'a str>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entity>, LookupError>> {
        async move {
            let (target, adapted) = match target.split_once('@') {
                Some((target, version)) => (target, self.version(target, version)?),
                None => (target, None),
            };
            let Some(found) = self.targets.get(target) else {
                return Err(LookupError::Unknown(format!(
                    "there is no target `{target}`"
                )));
            };
            if let Some(fault) = self.forbids(target, entity) {
                return Err(fault);
            }
            match found.read(entity, key).await {
                Ok(None) => Ok(None),
                Ok(Some(found)) => Ok(Some(Entity {
                    data: match &adapted {
                        None => found.data,
                        Some(adapted) => {
                            let down = adapted.down(entity, key, &found.data).await;
                            down.map_err(|error| unadapted(target, key, error))?
                        }
                    },
                    content_type: found.content_type,
                    etag: found.etag,
                })),
                Err(ReadError::Invalid(fault)) => Err(LookupError::Invalid(fault)),
                Err(ReadError::Unavailable(fault)) => Err(LookupError::Unavailable(fault)),
            }
        }
        .boxed()
    }
}

fn unadapted(target: &str, key: &str, error: Unadapted) -> LookupError {
    let fault = format!("target `{target}`, key `{key}`: {error}");
    match error {
        Unadapted::Refused(_) => LookupError::Invalid(fault),
        Unadapted::NotNow(_) => LookupError::Unavailable(fault),
    }
}
