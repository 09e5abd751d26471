//! Numbers and strings: how large, how long, of which form.

use super::finding::Finding;
use super::schemas::Both;
use super::shape::{Node, values};
use super::values::{INTEGER, NUMBER, types_of};
use serde_json::Value;
use std::collections::BTreeSet;

/// A limit that a value may reach, or, where it is exclusive, must not reach.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Limit {
    value: f64,
    exclusive: bool,
}

/// From below or from above.
#[derive(Clone, Copy)]
struct Kind {
    keyword: &'static str,
    exclusive: &'static str,
    /// 1: the greater value is the stricter one; -1: the less.
    sign: f64,
}

const LOWER: Kind = Kind {
    keyword: "minimum",
    exclusive: "exclusiveMinimum",
    sign: 1.0,
};
const UPPER: Kind = Kind {
    keyword: "maximum",
    exclusive: "exclusiveMaximum",
    sign: -1.0,
};

/// The strictest limit, such that the greater one is the stricter; none: there is none.
fn strictest(nodes: &[Node<'_>], kind: Kind) -> Option<Limit> {
    let are_whole = types_of(nodes) & NUMBER == INTEGER;
    let read = |keyword: &str, exclusive: bool| -> Vec<Limit> {
        let found = values(nodes, keyword).into_iter();
        let found = found.filter_map(|(_, value)| value.as_f64());
        found
            .map(|value| Limit {
                value: value * kind.sign,
                exclusive,
            })
            .collect()
    };
    let all = [read(kind.keyword, false), read(kind.exclusive, true)].concat();
    // Of whole numbers, above 0 is from 1.
    let whole = |limit: Limit| match (are_whole, limit.exclusive) {
        (false, _) => limit,
        (true, false) => Limit {
            value: limit.value.ceil(),
            exclusive: false,
        },
        (true, true) => Limit {
            value: limit.value.floor() + 1.0,
            exclusive: false,
        },
    };
    let all = all.into_iter().map(whole);
    all.max_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
}

/// Limits and multiples of numbers.
pub(super) fn numbers(both: &Both<'_, '_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for kind in [LOWER, UPPER] {
        let (old, new) = (strictest(both.old, kind), strictest(both.new, kind));
        let keyword = match values(both.new, kind.exclusive).is_empty() {
            true => kind.keyword,
            false => kind.exclusive,
        };
        found.extend(limit(both, keyword, (old, new)));
    }
    found.extend(multiples(both));
    found
}

fn limit(
    both: &Both<'_, '_>,
    keyword: &str,
    (old, new): (Option<Limit>, Option<Limit>),
) -> Option<Finding> {
    let said = |limit: Option<Limit>| match limit {
        None => "none".to_owned(),
        Some(limit) if limit.value.is_infinite() => "none".to_owned(),
        Some(limit) => format!("{}", limit.value.abs()),
    };
    // None is less strict than any.
    let (change, make): (_, fn(_, _, _) -> _) = match new.partial_cmp(&old)? {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => ("limit-narrowed", Finding::narrower),
        std::cmp::Ordering::Less => ("limit-widened", Finding::wider),
    };
    let message = match (old, new) {
        (Some(a), Some(b)) if a.value == b.value => {
            format!(
                "`{keyword}` {} as such",
                if b.exclusive { "excludes" } else { "allows" }
            )
        }
        _ => format!("`{keyword}` was {}, and is {}", said(old), said(new)),
    };
    Some(make(both.place(keyword), change, message))
}

fn multiples(both: &Both<'_, '_>) -> Vec<Finding> {
    let of = |nodes: &[Node<'_>]| -> Vec<f64> {
        let found = values(nodes, "multipleOf").into_iter();
        let own = found.filter_map(|(_, value)| value.as_f64());
        let whole = (types_of(nodes) & NUMBER == INTEGER).then_some(1.0);
        own.chain(whole).collect()
    };
    // What is a multiple of the one is one of the other.
    let covers = |these: &[f64], other: f64| these.iter().any(|one| (one / other).fract() == 0.0);
    let (old, new) = (of(both.old), of(both.new));
    let mut found = Vec::new();
    let place = || both.place("multipleOf");
    let own = |nodes: &[Node<'_>]| !values(nodes, "multipleOf").is_empty();
    if own(both.new) && new.iter().any(|one| !covers(&old, *one)) {
        let message = "fewer numbers are multiples".to_owned();
        found.push(Finding::narrower(place(), "multiple-narrowed", message));
    }
    if own(both.old) && old.iter().any(|one| !covers(&new, *one)) {
        let message = "more numbers are multiples".to_owned();
        found.push(Finding::wider(place(), "multiple-widened", message));
    }
    found
}

/// Lengths, patterns and formats of strings.
pub(super) fn strings(both: &Both<'_, '_>) -> Vec<Finding> {
    let mut found = counts(both, "minLength", "maxLength");
    for keyword in [
        "pattern",
        "format",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
    ] {
        found.extend(forms(both, keyword));
    }
    found
}

/// How many there may be of something: at least none, unless said otherwise.
pub(super) fn counts(both: &Both<'_, '_>, least: &str, most: &str) -> Vec<Finding> {
    let all = |nodes: &[Node<'_>], keyword: &str| -> Vec<f64> {
        let found = values(nodes, keyword).into_iter();
        found.filter_map(|(_, value)| value.as_f64()).collect()
    };
    let from_below = |nodes: &[Node<'_>]| all(nodes, least).into_iter().fold(0.0, f64::max);
    let from_above =
        |nodes: &[Node<'_>]| all(nodes, most).into_iter().fold(f64::INFINITY, f64::min);
    let as_limit = |value| {
        Some(Limit {
            value,
            exclusive: false,
        })
    };
    let lower = (from_below(both.old), from_below(both.new));
    let upper = (-from_above(both.old), -from_above(both.new));
    let lower = limit(both, least, (as_limit(lower.0), as_limit(lower.1)));
    let upper = limit(both, most, (as_limit(upper.0), as_limit(upper.1)));
    lower.into_iter().chain(upper).collect()
}

/// What can only be the same or not.
fn forms(both: &Both<'_, '_>, keyword: &str) -> Option<Finding> {
    let said = |nodes: &[Node<'_>]| -> BTreeSet<String> {
        let found = values(nodes, keyword).into_iter();
        found
            .map(|(_, value): (_, &Value)| value.to_string())
            .collect()
    };
    let (old, new) = (said(both.old), said(both.new));
    let list = |said: &BTreeSet<String>| match said.is_empty() {
        true => "none".to_owned(),
        false => said.iter().cloned().collect::<Vec<_>>().join(" and "),
    };
    let (change, make): (_, fn(_, _, _) -> _) = match (old.is_subset(&new), new.is_subset(&old)) {
        (true, true) => return None,
        (true, false) => ("form-narrowed", Finding::narrower),
        (false, true) => ("form-widened", Finding::wider),
        (false, false) => ("form-changed", Finding::other),
    };
    let message = format!("`{keyword}` was {}, and is {}", list(&old), list(&new));
    Some(make(both.place(keyword), change, message))
}
