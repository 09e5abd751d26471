//! Versions of a contract that a target serves beside its own, by way of an adapter (ADR 43).
//!
//! Who writes by one of them is checked against it, then what was written goes *up* to the target's own version
//! and is checked against that. What is read comes *down*. Keys, kinds and etags are the same in all versions.

use super::check::Violation;
use super::document::{Contract, Verb};
use crate::event::{Effect, Operation};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::Date;

/// Which way something is adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the target's own version.
    Up,
    /// From there.
    Down,
}

impl Direction {
    /// As adapters know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What an adapter is given.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Which way.
    pub direction: Direction,
    /// What is done with it: `Retrieve` on the way down.
    pub verb: Verb,
    /// The contract's name.
    pub contract: &'a str,
    /// The version that it has.
    pub from: u32,
    /// The version that it is to have.
    pub to: u32,
    /// The kind of entity.
    pub entity: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The entity, the record or the patch, as JSON.
    pub data: &'a Bytes,
}

/// Why something was not adapted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unadapted {
    /// It cannot be said in the other version.
    #[error("{0}")]
    Refused(String),
    /// Later, perhaps.
    #[error("{0}")]
    NotNow(String),
}

/// Says in one version what was said in another.
pub trait Adapt: Send + Sync {
    /// What is told, in the other version.
    fn adapt<'a>(&'a self, told: Told<'a>) -> BoxFuture<'a, Result<Bytes, Unadapted>>;
}

/// How long a version is still served, for those who use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retirement {
    /// Since when nobody should begin to use it.
    pub deprecated: Option<Date>,
    /// When it goes.
    pub sunset: Option<Date>,
}

/// A version beside the target's own, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it takes and gives.
    pub contract: Arc<Contract>,
    /// The plugin that adapts.
    pub adapter: String,
    /// What it has to come through.
    pub cases: Arc<Vec<super::Case>>,
    /// How long.
    pub retirement: Retirement,
}

/// A version beside the target's own, at work.
pub struct Adapted {
    /// What it takes and gives.
    pub contract: Arc<Contract>,
    /// How long.
    pub retirement: Retirement,
    pub(super) own: Arc<Contract>,
    adapter: Arc<dyn Adapt>,
}

/// Why an effect was not brought to the target's own version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpError {
    /// It does not keep to the version in which it is written, or not to the target's own afterwards.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The adapter does not adapt it.
    #[error("{attempted}: {cause}")]
    Unadapted {
        /// What was to be said in which version.
        attempted: String,
        /// Why it was not.
        cause: Unadapted,
    },
}

impl Adapted {
    /// The version `beside` that `own`, by way of `adapter`.
    #[must_use]
    pub fn new(own: Arc<Contract>, beside: &Beside, adapter: Arc<dyn Adapt>) -> Self {
        Self {
            contract: beside.contract.clone(),
            retirement: beside.retirement,
            own,
            adapter,
        }
    }

    /// The effect, which keeps to this version, in the target's own.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn up(&self, effect: &Effect) -> Result<Effect, UpError> {
        self.contract.check(effect)?;
        let adapted = self.up_unchecked(effect).await?;
        self.own.check(&adapted)?;
        Ok(adapted)
    }

    /// The same, where it is checked elsewhere.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn up_unchecked(&self, effect: &Effect) -> Result<Effect, UpError> {
        // Of a deletion nothing is said but the key.
        if effect.operation == Operation::Delete {
            return Ok(effect.clone());
        }
        let named = effect.entity.as_deref();
        let kind = self.contract.entity(named).map_or("_", |(kind, _)| kind);
        let told = self.told(
            (Direction::Up, Verb::of(effect.operation)),
            (kind, &effect.key),
            &effect.payload,
        );
        let adapted = self.adapter.adapt(told).await;
        let payload = adapted.map_err(|cause| UpError::Unadapted {
            attempted: format!(
                "{}, entity `{kind}`, key `{}`, {}: to version {}",
                self.contract,
                effect.key.escape_debug(),
                effect.operation,
                self.own.version()
            ),
            cause,
        })?;
        Ok(Effect {
            payload,
            ..effect.clone()
        })
    }

    /// An entity that the target holds, in this version.
    ///
    /// # Errors
    /// Why it cannot be said in it.
    pub async fn down(
        &self,
        named: Option<&str>,
        key: &str,
        data: &Bytes,
    ) -> Result<Bytes, Unadapted> {
        let kind = self.contract.entity(named).map_or("_", |(kind, _)| kind);
        let told = self.told((Direction::Down, Verb::Retrieve), (kind, key), data);
        self.adapter.adapt(told).await
    }

    pub(super) fn told<'a>(
        &'a self,
        (direction, verb): (Direction, Verb),
        (entity, key): (&'a str, &'a str),
        data: &'a Bytes,
    ) -> Told<'a> {
        let (beside, own) = (self.contract.version(), self.own.version());
        let (from, to) = match direction {
            Direction::Up => (beside, own),
            Direction::Down => (own, beside),
        };
        Told {
            direction,
            verb,
            contract: self.own.name(),
            from,
            to,
            entity,
            key,
            data,
        }
    }
}

impl std::fmt::Debug for Adapted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Adapted({})", self.contract)
    }
}

/// The versions beside the targets' own, by target.
#[derive(Debug, Clone, Default)]
pub struct AdaptedVersions(Arc<BTreeMap<String, Vec<Arc<Adapted>>>>);

impl AdaptedVersions {
    /// Those of these targets.
    #[must_use]
    pub fn new(versions: impl IntoIterator<Item = (String, Adapted)>) -> Self {
        let mut by_target = BTreeMap::<String, Vec<Arc<Adapted>>>::new();
        for (target, adapted) in versions {
            by_target.entry(target).or_default().push(Arc::new(adapted));
        }
        Self(Arc::new(by_target))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of `target`.
    #[must_use]
    pub fn of(&self, target: &str) -> &[Arc<Adapted>] {
        self.0.get(target).map_or(&[], Vec::as_slice)
    }

    /// One of `target`.
    #[must_use]
    pub fn get(&self, target: &str, version: u32) -> Option<&Arc<Adapted>> {
        let mut versions = self.of(target).iter();
        versions.find(|adapted| adapted.contract.version() == version)
    }
}
