//! `to`: where events that still stand after the last stage go.

use super::contracts;
use super::entry::Entry;
use super::keys;
use super::names::Names;
use super::targets::Flavor;
use crate::event::{Operation, TypePattern};
use crate::pipeline::RouteConfig;

/// The words of `operation`.
const OPERATIONS: [(&str, Option<Operation>); 4] = [
    ("upsert", Some(Operation::Upsert)),
    ("merge", Some(Operation::Merge)),
    ("delete", Some(Operation::Delete)),
    ("append", Some(Operation::Append)),
];

pub(super) fn read(entry: &Entry<'_>, known: &Names) -> Option<Vec<RouteConfig>> {
    let mut routes: Vec<RouteConfig> = Vec::new();
    for item in entry.items()? {
        let Some(route) = route(&item, known) else {
            continue;
        };
        let earlier = |other: &RouteConfig| other.target == route.target && other.when.is_none();
        if routes.iter().any(earlier) {
            item.report(format!(
                "this entry is never reached: an earlier one takes every event for `{}`; put \
                 entries with `when` first",
                route.target
            ));
        }
        routes.push(route);
    }
    Some(routes)
}

fn route(entry: &Entry<'_>, known: &Names) -> Option<RouteConfig> {
    let section = entry.section(&keys::ROUTE)?;
    let target = section.require("target", "name one of [targets]", |entry| {
        known.target(entry)
    });
    let entity = section.read("entity", Entry::text);
    let flavor = target.as_deref().and_then(|target| known.flavor(target));
    let operation = section.read("operation", |entry| operation(entry, flavor));
    let key = section.read("key", pointer);
    let when = section.read("when", when);
    let default = flavor.map_or(Operation::Upsert, Flavor::default_operation);
    let operation = operation.unwrap_or(default);
    let route = RouteConfig {
        target: target?,
        entity,
        operation,
        key,
        when,
    };
    contracts::check_route(&section, &route, known);
    Some(route)
}

fn operation(entry: &Entry<'_>, flavor: Option<Flavor>) -> Option<Operation> {
    let operation = entry.choose(&OPERATIONS)?;
    if (operation, flavor) == (Operation::Append, Some(Flavor::Kv)) {
        entry.report("a kv target cannot append: use \"upsert\", \"merge\" or \"delete\"");
        return None;
    }
    if operation != Operation::Append && flavor == Some(Flavor::Postgres { keyed: false }) {
        entry.report("a postgres target without `key` can only append: name its `key`");
        return None;
    }
    Some(operation)
}

/// A JSON pointer, with or without `json:` before it.
fn pointer(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let pointer = text.strip_prefix("json:").unwrap_or(&text);
    let escaped = pointer
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if !pointer.starts_with('/') || !escaped {
        entry.report(format!(
            "`{text}` is not a JSON pointer into the data: write it as in \"json:/id\""
        ));
        return None;
    }
    Some(pointer.to_owned())
}

fn when(entry: &Entry<'_>) -> Option<TypePattern> {
    let section = entry.section(&keys::WHEN)?;
    section.require(
        "type",
        "write an event type, as in \"*.deleted\"",
        |entry| {
            let text = entry.text()?;
            let inner = text.strip_prefix('*').unwrap_or(&text);
            if inner.strip_suffix('*').unwrap_or(inner).contains('*') {
                entry.report("`*` counts only at the beginning or the end of a type");
                return None;
            }
            Some(TypePattern::new(text))
        },
    )
}
