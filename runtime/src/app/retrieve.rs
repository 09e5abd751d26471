//! Where the plugins' `lookup` meets the targets.

use crate::contract::{Contract, Verb};
use crate::plugin::{Entity, LookupError, Retrieve};
use crate::target::{ReadError, Targets};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads the configured targets.
pub(super) struct FromTargets {
    targets: Arc<Targets>,
    contracts: BTreeMap<String, Arc<Contract>>,
}

impl FromTargets {
    pub(super) fn new(targets: Arc<Targets>, contracts: BTreeMap<String, Arc<Contract>>) -> Self {
        Self { targets, contracts }
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
            let Some(found) = self.targets.get(target) else {
                return Err(LookupError::Unknown(format!(
                    "there is no target `{target}`"
                )));
            };
            if let Some(fault) = self.forbids(target, entity) {
                return Err(fault);
            }
            match found.read(entity, key).await {
                Ok(found) => Ok(found.map(|found| Entity {
                    content_type: found.content_type,
                    etag: found.etag,
                    data: found.data,
                })),
                Err(ReadError::Invalid(fault)) => Err(LookupError::Invalid(fault)),
                Err(ReadError::Unavailable(fault)) => Err(LookupError::Unavailable(fault)),
            }
        }
        .boxed()
    }
}
