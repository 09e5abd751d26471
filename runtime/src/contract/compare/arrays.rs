//! Lists: their items, and how many.

use super::finding::Finding;
use super::limits::counts;
use super::schemas::{Both, Comparison};
use super::shape::{Node, Nodes, values};
use serde_json::Value;

pub(super) fn compare<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let mut found = counts(both, "minItems", "maxItems");
    found.extend(unique(both));
    let n_first = |nodes: &[Node<'a>]| {
        let lengths = nodes.iter().map(|node| node.items("prefixItems").len());
        lengths.max().unwrap_or_default()
    };
    let n_first = n_first(both.old).max(n_first(both.new));
    for n in 0..=n_first {
        let item = |nodes: &[Node<'a>]| nodes.iter().filter_map(|node| item(node, n)).collect();
        found.extend(comparison.bare(item(both.old), item(both.new)));
    }
    found.extend(contains(comparison, both));
    found.extend(comparison.unless_same(both, "unevaluatedItems"));
    found
}

/// What a schema says of the item at `n`.
fn item<'a>(node: &Node<'a>, n: usize) -> Option<Node<'a>> {
    let first = node.items("prefixItems").into_iter().nth(n);
    first.or_else(|| node.inner("items"))
}

fn unique(both: &Both<'_, '_>) -> Option<Finding> {
    let is_unique = |nodes: &[Node<'_>]| {
        let found = values(nodes, "uniqueItems");
        found.iter().any(|(_, value)| **value == Value::Bool(true))
    };
    let place = both.place("uniqueItems");
    match (is_unique(both.old), is_unique(both.new)) {
        (false, true) => {
            let message = "no item may be there twice any more".to_owned();
            Some(Finding::narrower(place, "unique-added", message))
        }
        (true, false) => {
            let message = "an item may be there twice".to_owned();
            Some(Finding::wider(place, "unique-removed", message))
        }
        _ => None,
    }
}

fn contains<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let with = |nodes: &[Node<'a>]| -> Nodes<'a> {
        let found = nodes.iter().filter(|node| node.get("contains").is_some());
        found.cloned().collect()
    };
    let (old, new) = (with(both.old), with(both.new));
    let place = || both.place("contains");
    match (old.as_slice(), new.as_slice()) {
        ([], []) => Vec::new(),
        ([], _) => {
            let message = "something has to be in the list".to_owned();
            vec![Finding::narrower(place(), "contains-added", message)]
        }
        (_, []) => {
            let message = "nothing has to be in the list any more".to_owned();
            vec![Finding::wider(place(), "contains-removed", message)]
        }
        ([before], [now]) => {
            let inner = |node: &Node<'a>| node.inner("contains").into_iter().collect();
            let mut found = comparison.bare(inner(before), inner(now));
            // With an upper limit, what is more within is less without.
            let is_breaking = found.iter().any(Finding::is_breaking);
            if is_breaking
                && [before, now]
                    .iter()
                    .any(|node| node.get("maxContains").is_some())
            {
                let message = "what is counted by `maxContains` is something else".to_owned();
                found.push(Finding::other(place(), "not-comparable", message));
            }
            found.extend(comparison.unless_same(both, "minContains"));
            found.extend(comparison.unless_same(both, "maxContains"));
            found
        }
        _ => comparison.unless_same(both, "contains"),
    }
}
