//! Two schemas, keyword by keyword, down to their members and items.

use super::finding::{Finding, Place};
use super::shape::{Node, Nodes, Side, is_never, place, values};
use super::values::{ARRAY, NUMBER, OBJECT, STRING, compare_values, types_of};
use super::{alternatives, arrays, limits, objects};
use std::cell::RefCell;
use std::collections::HashMap;

/// The places of two lists of schemas.
type Pair = (Vec<String>, Vec<String>);

/// Two files on their way to be compared.
pub(super) struct Comparison<'a> {
    pub(super) old: Side<'a>,
    pub(super) new: Side<'a>,
    notes: RefCell<Notes>,
}

/// What is known of pairs of schemas.
#[derive(Default)]
struct Notes {
    /// Being compared, outermost first. A pair that leads back to itself adds nothing.
    open: Vec<Pair>,
    /// The lowest of `open` that something rested on since.
    rests_on: Option<usize>,
    done: HashMap<Pair, Vec<Finding>>,
}

/// The schemas of both sides for one value.
pub(super) struct Both<'a, 'b> {
    pub(super) old: &'b [Node<'a>],
    pub(super) new: &'b [Node<'a>],
}

impl Both<'_, '_> {
    /// Where to point for a keyword.
    pub(super) fn place(&self, keyword: &str) -> Place {
        place(self.old, self.new, keyword)
    }
}

impl<'a> Comparison<'a> {
    pub(super) fn new(old: Side<'a>, new: Side<'a>) -> Self {
        Self {
            old,
            new,
            notes: RefCell::default(),
        }
    }

    /// What differs between the schemas at `at` of both files.
    pub(super) fn at(&self, at: &str) -> Vec<Finding> {
        self.schemas(self.old.at(at), self.new.at(at))
    }

    /// What differs between two schemas that are given without what they lead to.
    pub(super) fn bare(&self, old: Nodes<'a>, new: Nodes<'a>) -> Vec<Finding> {
        self.schemas(self.old.all(old), self.new.all(new))
    }

    fn schemas(&self, old: Nodes<'a>, new: Nodes<'a>) -> Vec<Finding> {
        if old.is_empty() && new.is_empty() {
            return Vec::new();
        }
        let places = |nodes: &[Node<'_>]| nodes.iter().map(|node| node.at.clone()).collect();
        let pair: Pair = (places(&old), places(&new));
        let depth = {
            let mut notes = self.notes.borrow_mut();
            if let Some(found) = notes.done.get(&pair) {
                return found.clone();
            }
            if let Some(depth) = notes.open.iter().position(|open| *open == pair) {
                notes.rests_on = Some(notes.rests_on.map_or(depth, |least| least.min(depth)));
                return Vec::new();
            }
            notes.open.push(pair.clone());
            notes.open.len() - 1
        };
        let found = self.fresh(&old, &new);
        let mut notes = self.notes.borrow_mut();
        notes.open.pop();
        // What rests on a pair that is still open is known only once that one is.
        if notes.rests_on.is_none_or(|least| least >= depth) {
            notes.rests_on = None;
            notes.done.insert(pair, found.clone());
        }
        found
    }

    fn fresh(&self, old: &[Node<'a>], new: &[Node<'a>]) -> Vec<Finding> {
        let both = Both { old, new };
        match (is_never(old), is_never(new)) {
            (true, true) => return Vec::new(),
            (true, false) => {
                let message = "nothing was allowed here, and now something is".to_owned();
                return vec![Finding::wider(both.place(""), "allowed", message)];
            }
            (false, true) => {
                let message = "nothing is allowed here any more".to_owned();
                return vec![Finding::narrower(both.place(""), "forbidden", message)];
            }
            (false, false) => {}
        }
        if let Some(found) = alternatives::instead(self, &both) {
            return found;
        }
        let mut found = compare_values(&both);
        let common = types_of(old) & types_of(new);
        if common & NUMBER != 0 {
            found.extend(limits::numbers(&both));
        }
        if common & STRING != 0 {
            found.extend(limits::strings(&both));
        }
        if common & ARRAY != 0 {
            found.extend(arrays::compare(self, &both));
        }
        if common & OBJECT != 0 {
            found.extend(objects::compare(self, &both));
        }
        found.extend(alternatives::beside(self, &both));
        found.extend(self.negations(&both));
        found.extend(self.conditions(&both));
        found
    }

    /// `not`: what is less within is more without.
    fn negations(&self, both: &Both<'a, '_>) -> Vec<Finding> {
        let inner = |nodes: &[Node<'a>]| -> Vec<Nodes<'a>> {
            let found = nodes.iter().filter_map(|node| node.inner("not"));
            found.map(|node| vec![node]).collect()
        };
        let (old, new) = (inner(both.old), inner(both.new));
        let place = || both.place("not");
        match (old.as_slice(), new.as_slice()) {
            ([], []) => Vec::new(),
            ([], _) => {
                let message = "a `not` is new".to_owned();
                vec![Finding::narrower(place(), "not-added", message)]
            }
            (_, []) => {
                let message = "a `not` is gone".to_owned();
                vec![Finding::wider(place(), "not-removed", message)]
            }
            ([before], [now]) => {
                let found = self.bare(before.clone(), now.clone());
                let breaking = found.into_iter().filter(Finding::is_breaking);
                breaking.map(Finding::turned).collect()
            }
            _ => self.unless_same(both, "not"),
        }
    }

    /// `if`, `then`, `else`: compared where the conditions say the same.
    fn conditions(&self, both: &Both<'a, '_>) -> Vec<Finding> {
        let with = |nodes: &[Node<'a>]| -> Nodes<'a> {
            let found = nodes.iter().filter(|node| node.get("if").is_some());
            found.cloned().collect()
        };
        let (old, new) = (with(both.old), with(both.new));
        match (old.as_slice(), new.as_slice()) {
            ([], []) => Vec::new(),
            ([], _) => {
                let message = "a condition is new".to_owned();
                vec![Finding::narrower(
                    both.place("if"),
                    "condition-added",
                    message,
                )]
            }
            (_, []) => {
                let message = "a condition is gone".to_owned();
                vec![Finding::wider(
                    both.place("if"),
                    "condition-removed",
                    message,
                )]
            }
            ([before], [now]) => {
                let part = |name: &str| {
                    let of = |node: &Node<'a>| node.inner(name).into_iter().collect::<Nodes<'a>>();
                    self.bare(of(before), of(now))
                };
                if part("if").iter().any(Finding::is_breaking) {
                    let message = "a condition says something else".to_owned();
                    return vec![Finding::other(
                        both.place("if"),
                        "condition-changed",
                        message,
                    )];
                }
                [part("then"), part("else")].concat()
            }
            _ => self.unless_same(both, "if"),
        }
    }

    /// Where a keyword stands several times, only the same is known to be the same.
    pub(super) fn unless_same(&self, both: &Both<'a, '_>, keyword: &str) -> Vec<Finding> {
        let said = |nodes: &[Node<'a>]| -> Vec<&'a serde_json::Value> {
            let found = values(nodes, keyword).into_iter();
            found.map(|(_, value)| value).collect()
        };
        if said(both.old) == said(both.new) {
            return Vec::new();
        }
        let message = format!("`{keyword}` says something else");
        let change = "not-comparable";
        vec![Finding::other(both.place(keyword), change, message)]
    }
}
