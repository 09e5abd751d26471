//! Where the plugins' `lookup` meets the targets.

use crate::plugin::{Entity, LookupError, Retrieve};
use crate::target::{ReadError, Targets};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Reads the configured targets.
pub(super) struct FromTargets {
    targets: Arc<Targets>,
}

impl FromTargets {
    pub(super) fn new(targets: Arc<Targets>) -> Self {
        Self { targets }
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
                return Err(LookupError::Invalid(format!(
                    "there is no target `{target}`"
                )));
            };
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
