//! What a later file of a contract breaks for those who keep to an earlier one.
//!
//! Two parties lean on a contract. *Writers* (plugins, routes, whoever calls the API) send what it
//! allows: it must go on being allowed. *Readers* (lookups, modules that follow) are sent what it
//! allows: it must go on being all there is, but for members and entities that they do not know,
//! which a reader passes over. A difference that is neither is compatible; what cannot be compared
//! is taken for breaking both.

mod alternatives;
mod arrays;
mod finding;
mod limits;
mod objects;
mod schemas;
mod shape;
mod values;

use super::document::{Contract, Entity, EtagPolicy, Verb};
use super::pointer::join;
use schemas::Comparison;
use shape::Side;
use std::collections::HashSet;

pub use finding::{Finding, Place};

/// Everything that differs, in the order of the later file, what it lacks first.
#[must_use]
pub fn compare(old: &Contract, new: &Contract) -> Vec<Finding> {
    let mut found = heads(old, new);
    let schemas = Comparison::new(Side::of(old.document()), Side::of(new.document()));
    for (kind, entity) in old.entities() {
        let at = join("/entities", kind);
        match new.entities().find(|(name, _)| *name == kind) {
            None => found.push(Finding::other(
                Place::Old(at),
                "entity-removed",
                format!("the entity `{kind}` is gone"),
            )),
            Some((_, later)) => found.extend(entities(&at, (entity, later), &schemas)),
        }
    }
    for (kind, _) in new.entities() {
        if old.entities().all(|(name, _)| name != kind) {
            let message = format!("the entity `{kind}` is new");
            let at = Place::New(join("/entities", kind));
            found.push(Finding::compatible(at, "entity-added", message));
        }
    }
    let mut seen = HashSet::new();
    found.retain(|finding| seen.insert((finding.place.clone(), finding.message.clone())));
    found.sort_by(|a, b| a.place.cmp(&b.place));
    found
}

fn heads(old: &Contract, new: &Contract) -> Vec<Finding> {
    let mut found = Vec::new();
    let here = |name: &str| Place::New(format!("/{name}"));
    if old.name() != new.name() {
        let message = format!(
            "it was the contract `{}`, and is `{}`",
            old.name(),
            new.name()
        );
        found.push(Finding::other(here("name"), "name-changed", message));
    }
    if old.version() > new.version() {
        let message = format!("version {} comes before {}", new.version(), old.version());
        found.push(Finding::other(here("version"), "version-lowered", message));
    }
    if old.default() != new.default() {
        let name = |kind: Option<&str>| kind.map_or("none".to_owned(), |kind| format!("`{kind}`"));
        let message = format!(
            "where no entity is named, {} was meant, and {} is",
            name(old.default()),
            name(new.default())
        );
        found.push(match old.default() {
            Some(_) => Finding::other(here("default"), "default-changed", message),
            None => Finding::compatible(here("default"), "default-added", message),
        });
    }
    found
}

/// What differs between two entities of one kind.
fn entities(at: &str, both: (&Entity, &Entity), schemas: &Comparison<'_>) -> Vec<Finding> {
    let mut found = operations(at, both);
    found.extend(etags(at, both));
    found.extend(keys(at, both, schemas));
    found.extend(schemas.at(&join(at, "schema")));
    found
}

fn operations(at: &str, (old, new): (&Entity, &Entity)) -> Vec<Finding> {
    let at = join(at, "operations");
    let mut found = Vec::new();
    for verb in old
        .operations
        .iter()
        .filter(|verb| !new.operations.contains(verb))
    {
        let message = format!("the operation `{}` is gone", verb.as_str());
        let make = match verb {
            Verb::Retrieve => Finding::wider,
            _ => Finding::narrower,
        };
        found.push(make(Place::New(at.clone()), "operation-removed", message));
    }
    for verb in new
        .operations
        .iter()
        .filter(|verb| !old.operations.contains(verb))
    {
        let message = format!("the operation `{}` is new", verb.as_str());
        found.push(Finding::compatible(
            Place::New(at.clone()),
            "operation-added",
            message,
        ));
    }
    found
}

fn etags(at: &str, (old, new): (&Entity, &Entity)) -> Option<Finding> {
    let make = match (old.etag, new.etag) {
        (before, now) if before == now => return None,
        (EtagPolicy::None, EtagPolicy::Optional) => Finding::compatible,
        (EtagPolicy::Required, EtagPolicy::Optional) => Finding::compatible,
        (_, EtagPolicy::Required) => Finding::narrower,
        // Those who wrote with etags are refused, and those who read have none to write with.
        (_, _) => Finding::other,
    };
    let (before, now) = (old.etag.as_str(), new.etag.as_str());
    let message = format!("etags were \"{before}\" and are \"{now}\"");
    Some(make(Place::New(join(at, "etag")), "etag-changed", message))
}

fn keys(at: &str, (old, new): (&Entity, &Entity), schemas: &Comparison<'_>) -> Vec<Finding> {
    let at = join(at, "key");
    let mut found = schemas.at(&join(&at, "schema"));
    if old.key.members != new.key.members {
        let list = |members: &[String]| match members {
            [] => "no member".to_owned(),
            members => format!("`{}`", members.join("`, `")),
        };
        let (before, now) = (list(&old.key.members), list(&new.key.members));
        let message = format!("the key was in {before} of the entity, and is in {now}");
        found.push(Finding::other(
            Place::New(join(&at, "members")),
            "key-changed",
            message,
        ));
    }
    found
}
