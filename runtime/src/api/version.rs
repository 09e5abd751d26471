//! The versions of a contract that are served side by side: which one is meant, what is said of those that will
//! go, and the way of entities between them and what the target holds.

use super::answer::{Entities, Modules};
use super::path::{self, Path, Place};
use super::problem::{Problem, Trouble};
use super::reply::Reply;
use crate::contract::{Contract, Retirement, Unadapted, UpError};
use crate::event::Effect;
use crate::target::Found;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use serde_json::Value;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Time};

/// Since when a version should not be begun to use (RFC 9745).
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// When it goes (RFC 8594).
const SUNSET: HeaderName = HeaderName::from_static("sunset");
/// A date as HTTP has it.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

impl Modules {
    /// The contract in the version that `place` names, if it is served.
    pub(super) fn version(&self, place: &Place) -> Option<&Contract> {
        let own = self.contracts.get(&place.target)?;
        if own.version() == place.version {
            return Some(own);
        }
        let adapted = self.adapted.get(&place.target, place.version)?;
        Some(&adapted.contract)
    }

    /// Every version that is served, with its target: of each target its own first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Contract, Retirement)> {
        self.contracts.iter().flat_map(|(target, own)| {
            let own = (target.as_str(), own.as_ref(), Retirement::default());
            let beside = self.adapted.of(target).iter();
            let beside = beside.map(|it| (target.as_str(), it.contract.as_ref(), it.retirement));
            std::iter::once(own).chain(beside)
        })
    }

    /// The versions of `target`, as messages name them.
    pub(super) fn versions(&self, target: &str) -> String {
        let all = self.all().filter(|(name, ..)| *name == target);
        let all: Vec<_> = all
            .map(|(_, contract, _)| contract.version().to_string())
            .collect();
        all.join(" and ")
    }

    /// Says in the answer how long the version is served that was asked for.
    pub(super) fn note_retirement(&self, parts: &Parts, reply: &mut Reply) {
        let Ok(Path::One(place, _) | Path::All(place) | Path::Several(place)) =
            path::read(parts.uri.path())
        else {
            return;
        };
        let Some(adapted) = self.adapted.get(&place.target, place.version) else {
            return;
        };
        let Retirement { deprecated, sunset } = adapted.retirement;
        let deprecated = deprecated.map(|date| format!("@{}", midnight(date).unix_timestamp()));
        let sunset = sunset.and_then(|date| midnight(date).format(HTTP_DATE).ok());
        for (name, value) in [(DEPRECATION, deprecated), (SUNSET, sunset)] {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                reply.headers_mut().insert(name, value);
            }
        }
    }
}

fn midnight(date: Date) -> time::OffsetDateTime {
    date.with_time(Time::MIDNIGHT).assume_utc()
}

/// Says of the operations at a path that nobody should begin to use them.
pub(super) fn deprecate(path: &mut Value) {
    let operations = path.as_object_mut().into_iter().flatten();
    for (_, operation) in operations.filter(|(name, _)| *name != "parameters") {
        if let Some(operation) = operation.as_object_mut() {
            operation.insert("deprecated".to_owned(), true.into());
        }
    }
}

impl Entities<'_> {
    /// What was found, in the version that was asked for.
    pub(super) async fn shown(&self, key: &str, found: Found) -> Result<Found, Problem> {
        let Some(adapted) = self.adapted else {
            return Ok(found);
        };
        let named = self.place.entity.as_deref();
        match adapted.down(named, key, &found.data).await {
            Ok(data) => Ok(Found { data, ..found }),
            Err(error) => {
                let (target, version) = (&self.place.target, self.place.version);
                let fault = format!(
                    "target `{target}`, entity `{}`, key `{key}`: not in version {version}: {error}",
                    self.kind
                );
                Err(Problem::new(trouble(&error, Trouble::NotReadable), fault))
            }
        }
    }

    /// `effect` in the version that the target holds.
    pub(super) async fn up(&self, effect: &Effect) -> Result<Effect, Problem> {
        let Some(adapted) = self.adapted else {
            return Ok(effect.clone());
        };
        adapted.up_unchecked(effect).await.map_err(|error| {
            let fault = format!("target `{}`: {error}", self.place.target);
            let trouble = match &error {
                UpError::Violation(_) => Trouble::NotInContract,
                UpError::Unadapted { cause, .. } => trouble(cause, Trouble::NotInContract),
            };
            Problem::new(trouble, fault)
        })
    }
}

fn trouble(error: &Unadapted, refused: Trouble) -> Trouble {
    match error {
        Unadapted::Refused(_) => refused,
        Unadapted::NotNow(_) => Trouble::Unavailable,
    }
}
