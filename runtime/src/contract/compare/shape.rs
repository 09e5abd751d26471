//! A schema as it counts: it and all that is said of the same value beside it, by `allOf` and
//! `$ref`, as one list.

use super::super::pointer::join;
use super::super::references::target;
use super::super::schema::{Holds, holds};
use super::finding::Place;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The earlier or the later file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    document: &'a Value,
}

/// A schema at its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) at: String,
    pub(super) schema: &'a Value,
}

/// Schemas that all hold for one value. None: anything is allowed.
pub(super) type Nodes<'a> = Vec<Node<'a>>;

/// Between a place and what is made up for it.
pub(super) const BESIDE: char = '\u{1}';

/// Schemas of one type each, to see a schema of several types as alternatives.
pub(super) static OF_ONE_TYPE: LazyLock<Vec<(u8, Value)>> = LazyLock::new(|| {
    let of = |(bits, name): &(u8, &str)| (*bits, serde_json::json!({ "type": name }));
    super::values::TYPES.iter().map(of).collect()
});

impl<'a> Side<'a> {
    pub(super) fn of(document: &'a Value) -> Self {
        Self { document }
    }

    /// The schema at `at`, as it counts; none where there is no such place.
    pub(super) fn at(&self, at: &str) -> Nodes<'a> {
        let node = |schema| Node {
            at: at.to_owned(),
            schema,
        };
        let found = self.document.pointer(at).map(node);
        self.all(found)
    }

    /// These schemas with all that they lead to.
    pub(super) fn all(&self, nodes: impl IntoIterator<Item = Node<'a>>) -> Nodes<'a> {
        let mut open: Vec<Node<'a>> = nodes.into_iter().collect();
        open.reverse();
        let mut found: Nodes<'a> = Vec::new();
        while let Some(node) = open.pop() {
            if found.iter().any(|other| other.at == node.at) {
                continue;
            }
            if let Some(at) = target(node.schema)
                && let Some(schema) = self.document.pointer(&at)
            {
                open.push(Node { at, schema });
            }
            open.extend(node.items("allOf"));
            found.push(node);
        }
        found
    }
}

impl<'a> Node<'a> {
    fn table(&self) -> Option<&'a Map<String, Value>> {
        self.schema.as_object()
    }

    /// What stands at `keyword`.
    pub(super) fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.table()?.get(keyword)
    }

    /// The place of `keyword`.
    pub(super) fn place(&self, keyword: &str) -> String {
        join(&self.at, keyword)
    }

    /// The schema at `keyword`.
    pub(super) fn inner(&self, keyword: &str) -> Option<Self> {
        let schema = self.get(keyword)?;
        let at = self.place(keyword);
        Some(Self { at, schema })
    }

    /// The schemas in the list at `keyword`.
    pub(super) fn items(&self, keyword: &str) -> Vec<Self> {
        let at = self.place(keyword);
        let items = self.get(keyword).and_then(Value::as_array);
        let items = items.into_iter().flatten().enumerate();
        let node = |(n, schema): (usize, &'a Value)| Self {
            at: join(&at, &n.to_string()),
            schema,
        };
        items.map(node).collect()
    }

    /// The schemas at `keyword`, by name.
    pub(super) fn named(&self, keyword: &str) -> Vec<(&'a str, Self)> {
        let at = self.place(keyword);
        let named = self.get(keyword).and_then(Value::as_object);
        let node = |(name, schema): (&'a String, &'a Value)| {
            let at = join(&at, name);
            (name.as_str(), Self { at, schema })
        };
        named.into_iter().flatten().map(node).collect()
    }

    /// Whether it says nothing but these keywords, and notes.
    pub(super) fn says_only(&self, keywords: &[&str]) -> bool {
        let Some(table) = self.table() else {
            return *self.schema == Value::Bool(true);
        };
        let is_note = |name: &str| matches!(holds(name), Some(Holds::Note) | None);
        let mut said = table.keys().map(String::as_str);
        said.all(|name| keywords.contains(&name) || is_note(name) || name == "$defs")
    }
}

/// What stands at `keyword` in any of these, with its place.
pub(super) fn values<'a>(nodes: &[Node<'a>], keyword: &str) -> Vec<(String, &'a Value)> {
    let found = nodes.iter().filter_map(|node| {
        let value = node.get(keyword)?;
        Some((node.place(keyword), value))
    });
    found.collect()
}

/// Whether nothing keeps to these.
pub(super) fn is_never(nodes: &[Node<'_>]) -> bool {
    nodes.iter().any(|node| *node.schema == Value::Bool(false))
}

fn real<'a, 'b>(nodes: &'b [Node<'a>]) -> impl Iterator<Item = &'b Node<'a>> {
    nodes.iter().filter(|node| !node.at.contains(BESIDE))
}

/// Where to point for a keyword: in the later file, where it says something there.
pub(super) fn place(old: &[Node<'_>], new: &[Node<'_>], keyword: &str) -> Place {
    let own = |nodes: &[Node<'_>]| {
        let mut found = values(nodes, keyword).into_iter().map(|(at, _)| at);
        found.rfind(|at| !at.contains(BESIDE))
    };
    match (own(new), own(old), real(new).next(), real(old).next()) {
        (Some(at), ..) => Place::New(at),
        (None, Some(at), ..) => Place::Old(at),
        (None, None, Some(node), _) => Place::New(node.at.clone()),
        (None, None, None, Some(node)) => Place::Old(node.at.clone()),
        (None, None, None, None) => Place::New(String::new()),
    }
}
