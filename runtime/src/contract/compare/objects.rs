//! Objects: their members, which of them have to be there, and what others may.
//!
//! A member that the contract does not name belongs to nobody: a writer that sends one does so at
//! its own risk, and a reader passes it over. So naming one that was not named is compatible, unless
//! a schema for all others said what it had to be, and so is allowing others where none were.

use super::finding::{Finding, Place};
use super::limits::counts;
use super::schemas::{Both, Comparison};
use super::shape::{Node, Nodes, is_never, values};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The keywords that speak of members that are not named.
const OTHERS: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];

pub(super) fn compare<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let mut found = members(comparison, both);
    found.extend(required(both));
    found.extend(patterns(comparison, both));
    found.extend(others(comparison, both));
    found.extend(counts(both, "minProperties", "maxProperties"));
    let names = |nodes: &[Node<'a>]| {
        let found = nodes.iter().filter_map(|node| node.inner("propertyNames"));
        found.collect::<Nodes<'a>>()
    };
    found.extend(comparison.bare(names(both.old), names(both.new)));
    found.extend(dependent_names(both));
    found.extend(dependent_schemas(comparison, both));
    found
}

/// The members that are named, each with the place of its schema.
fn named<'a>(nodes: &[Node<'a>]) -> BTreeMap<&'a str, Node<'a>> {
    let all = nodes.iter().flat_map(|node| node.named("properties"));
    all.collect()
}

/// All that is said of the member `name`.
pub(super) fn said_of<'a>(nodes: &[Node<'a>], name: &str) -> Nodes<'a> {
    let mut found = Vec::new();
    for node in nodes {
        let own = node.named("properties").into_iter();
        let own = own.filter(|(known, _)| *known == name);
        let by_pattern = node.named("patternProperties").into_iter();
        let by_pattern = by_pattern.filter(|(pattern, _)| matches(pattern, name));
        let of_it: Vec<_> = own.chain(by_pattern).map(|(_, node)| node).collect();
        match of_it.is_empty() {
            false => found.extend(of_it),
            true => found.extend(node.inner("additionalProperties")),
        }
    }
    found
}

fn matches(pattern: &str, name: &str) -> bool {
    let schema = serde_json::json!({ "pattern": pattern });
    let validator = super::super::schema::options().build(&schema);
    validator.is_ok_and(|validator| validator.is_valid(&Value::String(name.to_owned())))
}

/// All that is said of members that are not named.
fn said_of_others<'a>(nodes: &[Node<'a>]) -> Nodes<'a> {
    let of = |node: &Node<'a>| OTHERS.map(|keyword| node.inner(keyword));
    nodes.iter().flat_map(of).flatten().collect()
}

/// Whether members that are not named are neither refused nor described.
fn is_open(nodes: &[Node<'_>]) -> bool {
    let is_anything = |node: &Node<'_>| node.says_only(&[]);
    nodes.iter().all(is_anything)
}

fn members<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let (before, now) = (named(both.old), named(both.new));
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let mut found = Vec::new();
    for name in names {
        let (old, new) = (said_of(both.old, name), said_of(both.new, name));
        match (before.get(name), now.get(name)) {
            (Some(_), Some(_)) => found.extend(comparison.bare(old, new)),
            (Some(node), None) if is_never(&old) => {
                let message = format!("the member `{name}` is not forbidden any more");
                let place = Place::Old(node.at.clone());
                found.push(Finding::compatible(place, "member-added", message));
            }
            (Some(node), None) => {
                let message = format!("the member `{name}` is gone");
                let place = Place::Old(node.at.clone());
                found.push(Finding::other(place, "member-removed", message));
            }
            (None, Some(node)) => {
                found.extend(added(comparison, (name, node), (old, new)));
            }
            (None, None) => {}
        }
    }
    found
}

/// A member that is named now. What had to be kept to before tells whether that is noticed.
fn added<'a>(
    comparison: &Comparison<'a>,
    (name, node): (&str, &Node<'a>),
    (old, new): (Nodes<'a>, Nodes<'a>),
) -> Vec<Finding> {
    let place = Place::New(node.at.clone());
    let message = format!("the member `{name}` is new");
    let mut found = vec![Finding::compatible(place, "member-added", message)];
    if !is_open(&old) && !is_never(&old) {
        found.extend(comparison.bare(old, new));
    }
    found
}

/// What has to be there, with the place that says so.
pub(super) fn demanded<'a>(nodes: &[Node<'a>]) -> BTreeMap<&'a str, String> {
    let mut found = BTreeMap::new();
    for (at, names) in values(nodes, "required") {
        let names = names.as_array().into_iter().flatten();
        found.extend(
            names
                .filter_map(Value::as_str)
                .map(|name| (name, at.clone())),
        );
    }
    found
}

fn required(both: &Both<'_, '_>) -> Vec<Finding> {
    let (old, new) = (demanded(both.old), demanded(both.new));
    let mut found = Vec::new();
    for (name, at) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let message = format!("the member `{name}` has to be there now");
        let place = Place::New(at.clone());
        found.push(Finding::narrower(place, "newly-required", message));
    }
    let (before, now) = (named(both.old), named(both.new));
    for (name, at) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        // That it is gone is said elsewhere.
        if before.contains_key(name) && !now.contains_key(name) {
            continue;
        }
        let message = format!("the member `{name}` need not be there any more");
        let place = Place::Old(at.clone());
        found.push(Finding::wider(place, "no-longer-required", message));
    }
    found
}

/// Members by pattern.
fn patterns<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let of = |nodes: &[Node<'a>]| {
        let mut found = BTreeMap::<&str, Nodes<'a>>::new();
        for (pattern, node) in nodes
            .iter()
            .flat_map(|node| node.named("patternProperties"))
        {
            found.entry(pattern).or_default().push(node);
        }
        found
    };
    let (old, new) = (of(both.old), of(both.new));
    let mut found = Vec::new();
    for (pattern, before) in &old {
        match (new.get(pattern), before.first()) {
            (Some(now), _) => found.extend(comparison.bare(before.clone(), now.clone())),
            (None, Some(node)) => {
                let message = format!("members by the pattern `{pattern}` are gone");
                let place = Place::Old(node.at.clone());
                found.push(Finding::other(place, "members-removed", message));
            }
            (None, None) => {}
        }
    }
    let others = said_of_others(both.old);
    for (pattern, now) in new
        .iter()
        .filter(|(pattern, _)| !old.contains_key(*pattern))
    {
        let Some(node) = now.first() else { continue };
        let message = format!("members by the pattern `{pattern}` are new");
        let place = Place::New(node.at.clone());
        found.push(Finding::compatible(place, "members-added", message));
        if !is_open(&others) && !is_never(&others) {
            found.extend(comparison.bare(others.clone(), now.clone()));
        }
    }
    found
}

/// Members that are not named.
fn others<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let (old, new) = (said_of_others(both.old), said_of_others(both.new));
    let word = |nodes: &[Node<'_>]| {
        let last = nodes.last().and_then(|node| node.at.rsplit('/').next());
        last.unwrap_or(OTHERS[0]).to_owned()
    };
    let place = || both.place(&word(if new.is_empty() { &old } else { &new }));
    match (is_never(&old), is_never(&new)) {
        (true, true) => Vec::new(),
        (false, true) => {
            let message = "members that are not named are refused now".to_owned();
            vec![Finding::narrower(place(), "closed", message)]
        }
        (true, false) => {
            let message = "members that are not named are allowed now".to_owned();
            vec![Finding::compatible(place(), "opened", message)]
        }
        (false, false) => comparison.bare(old, new),
    }
}

/// `dependentRequired`: names that go together.
fn dependent_names(both: &Both<'_, '_>) -> Vec<Finding> {
    let pairs = |nodes: &[Node<'_>]| -> BTreeSet<(String, String)> {
        let tables = values(nodes, "dependentRequired").into_iter();
        let tables = tables.filter_map(|(_, table)| table.as_object());
        let entries = tables.flatten().flat_map(|(name, needed)| {
            let needed = needed.as_array().into_iter().flatten();
            needed.map(move |one| (name.clone(), one.to_string()))
        });
        entries.collect()
    };
    let (old, new) = (pairs(both.old), pairs(both.new));
    let place = || both.place("dependentRequired");
    let mut found = Vec::new();
    for (name, needed) in new.difference(&old) {
        let message = format!("`{name}` cannot be there without {needed} any more");
        found.push(Finding::narrower(place(), "newly-required", message));
    }
    for (name, needed) in old.difference(&new) {
        let message = format!("`{name}` can be there without {needed}");
        found.push(Finding::wider(place(), "no-longer-required", message));
    }
    found
}

fn dependent_schemas<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let of = |nodes: &[Node<'a>]| {
        let mut found = BTreeMap::<&'a str, Nodes<'a>>::new();
        for (name, node) in nodes.iter().flat_map(|node| node.named("dependentSchemas")) {
            found.entry(name).or_default().push(node);
        }
        found
    };
    let (old, new) = (of(both.old), of(both.new));
    let names: BTreeSet<&'a str> = old.keys().chain(new.keys()).copied().collect();
    // Nothing said is the same as anything allowed.
    let part = |of: &BTreeMap<&'a str, Nodes<'a>>, name: &'a str| -> Nodes<'a> {
        of.get(name).cloned().unwrap_or_default()
    };
    let differ = |name: &'a str| comparison.bare(part(&old, name), part(&new, name));
    names.into_iter().flat_map(differ).collect()
}
