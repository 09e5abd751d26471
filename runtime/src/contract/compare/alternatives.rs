//! `anyOf` and `oneOf`: alternatives, each compared with the one that is most like it.

use super::finding::Finding;
use super::objects::{demanded, said_of};
use super::schemas::{Both, Comparison};
use super::shape::{BESIDE, Node, Nodes, OF_ONE_TYPE, Side};
use super::values::{OBJECT, have_no_value_in_common, repeat, types_of};

const KEYWORDS: [&str; 2] = ["anyOf", "oneOf"];
/// What a schema may say that leaves all to its alternatives.
const TRANSPARENT: [&str; 4] = ["anyOf", "oneOf", "allOf", "$ref"];

/// One list of alternatives.
struct Group<'a> {
    keyword: &'static str,
    branches: Vec<Node<'a>>,
}

/// The lists of `node` whose alternatives say nothing but one of these keywords.
pub(super) fn of_one_keyword<'a>(node: &Node<'a>, keywords: &[&str]) -> Vec<Vec<Node<'a>>> {
    let groups = groups_of(node).into_iter();
    let groups = groups.filter(|group| group.is_of(keywords));
    groups.map(|group| group.branches).collect()
}

impl Group<'_> {
    /// Whether it is one keyword in other words. With `oneOf`, what two alternatives name is refused.
    fn is_of(&self, keywords: &[&str]) -> bool {
        is_of(&self.branches, keywords) && !(self.keyword == "oneOf" && repeat(&self.branches))
    }
}

fn is_of(branches: &[Node<'_>], keywords: &[&str]) -> bool {
    let says = |node: &Node<'_>| {
        node.says_only(keywords) && keywords.iter().any(|word| node.get(word).is_some())
    };
    !branches.is_empty() && branches.iter().all(says)
}

fn groups_of<'a>(node: &Node<'a>) -> Vec<Group<'a>> {
    let group = |keyword: &'static str| Group {
        keyword,
        branches: node.items(keyword),
    };
    let groups = KEYWORDS.into_iter().map(group);
    groups.filter(|group| !group.branches.is_empty()).collect()
}

/// The lists that are no types and no values in other words.
fn real_groups<'a>(nodes: &[Node<'a>]) -> Vec<Group<'a>> {
    let groups = nodes.iter().flat_map(groups_of);
    let in_other_words =
        |group: &Group<'_>| group.is_of(&["type"]) || group.is_of(&["const", "enum"]);
    groups.filter(|group| !in_other_words(group)).collect()
}

/// What differs where one of the two says nothing but alternatives: the other one is seen as
/// alternatives too, one for each type.
pub(super) fn instead<'a>(
    comparison: &Comparison<'a>,
    both: &Both<'a, '_>,
) -> Option<Vec<Finding>> {
    let (old, new) = (only(both.old), only(both.new));
    if old.is_none() && new.is_none() {
        return None;
    }
    let word = |group: &Option<Group<'a>>| group.as_ref().map(|group| group.keyword);
    let words = (word(&old), word(&new));
    let list = |group: Option<Group<'a>>, nodes: &[Node<'a>]| match group {
        Some(group) => group.branches.into_iter().map(|node| vec![node]).collect(),
        None => by_type(nodes),
    };
    let lists = (list(old, both.old), list(new, both.new));
    Some(compare(comparison, both, (words, lists)))
}

/// The only list of alternatives, where nothing else is said.
fn only<'a>(nodes: &[Node<'a>]) -> Option<Group<'a>> {
    let mut groups = real_groups(nodes);
    let says_nothing_else = nodes.iter().all(|node| node.says_only(&TRANSPARENT));
    let is_one = groups.len() == 1 && nodes.iter().flat_map(groups_of).count() == 1;
    match is_one && says_nothing_else {
        true => groups.pop(),
        false => None,
    }
}

/// The same once for each of its types.
fn by_type<'a>(nodes: &[Node<'a>]) -> Vec<Nodes<'a>> {
    let mut left = types_of(nodes);
    let at = nodes.first().map_or("", |node| &node.at);
    let mut found = Vec::new();
    for (bits, schema) in OF_ONE_TYPE.iter() {
        if left & bits != *bits {
            continue;
        }
        left &= !bits;
        let name = schema.get("type").and_then(|name| name.as_str());
        let at = format!("{at}{BESIDE}{}", name.unwrap_or_default());
        let mut alternative = vec![Node { at, schema }];
        alternative.extend(nodes.iter().cloned());
        found.push(alternative);
    }
    found
}

/// What differs in lists of alternatives beside other things.
pub(super) fn beside<'a>(comparison: &Comparison<'a>, both: &Both<'a, '_>) -> Vec<Finding> {
    let mut old = real_groups(both.old);
    let mut new = real_groups(both.new);
    let differ = |old: &Group<'a>, new: &Group<'a>| {
        let lists = |group: &Group<'a>| {
            group
                .branches
                .iter()
                .map(|node| vec![node.clone()])
                .collect()
        };
        let words = (Some(old.keyword), Some(new.keyword));
        compare(comparison, both, (words, (lists(old), lists(new))))
    };
    let mut found = Vec::new();
    // Those that say the same first, whatever their order.
    old.retain(|group| {
        let same = |other: &Group<'a>| !differ(group, other).iter().any(Finding::is_breaking);
        let Some(n) = new.iter().position(same) else {
            return true;
        };
        found.extend(differ(group, &new.remove(n)));
        false
    });
    let pairs = old.len().min(new.len());
    for (old, new) in old.iter().zip(&new) {
        found.extend(differ(old, new));
    }
    for group in old.iter().skip(pairs) {
        let message = format!("`{}` is gone: more is allowed", group.keyword);
        found.push(Finding::wider(
            both.place(group.keyword),
            "alternatives-removed",
            message,
        ));
    }
    for group in new.iter().skip(pairs) {
        let message = format!("`{}` is new: less is allowed", group.keyword);
        found.push(Finding::narrower(
            both.place(group.keyword),
            "alternatives-added",
            message,
        ));
    }
    found
}

type Words = (Option<&'static str>, Option<&'static str>);
type Lists<'a> = (Vec<Nodes<'a>>, Vec<Nodes<'a>>);

fn compare<'a>(
    comparison: &Comparison<'a>,
    both: &Both<'a, '_>,
    (words, (old, new)): (Words, Lists<'a>),
) -> Vec<Finding> {
    let keyword = words.1.or(words.0).unwrap_or("anyOf");
    let overlap =
        |word, side, branches: &[Nodes<'a>]| word == Some("oneOf") && !are_apart(side, branches);
    let before = overlap(words.0, comparison.old, &old);
    let now = overlap(words.1, comparison.new, &new);
    let mut found = branch_by_branch(comparison, both, (keyword, old, new));
    if before || now {
        // Where only one may hold, what one alternative lets go the others may take up.
        let weigh = |finding: Finding| match finding.is_breaking() {
            true => finding.for_both(),
            false => finding,
        };
        found = found.into_iter().map(weigh).collect();
    }
    if before && words.1 != Some("oneOf") {
        let message = "several alternatives may hold where only one might".to_owned();
        found.push(Finding::wider(
            both.place(keyword),
            "overlap-allowed",
            message,
        ));
    }
    if now && words.0 != Some("oneOf") {
        let message = "only one alternative may hold where several might".to_owned();
        found.push(Finding::narrower(
            both.place(keyword),
            "overlap-refused",
            message,
        ));
    }
    found
}

/// Each alternative with the one that is most like it.
fn branch_by_branch<'a>(
    comparison: &Comparison<'a>,
    both: &Both<'a, '_>,
    (keyword, old, new): (&str, Vec<Nodes<'a>>, Vec<Nodes<'a>>),
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut left: Vec<Nodes<'a>> = new;
    let mut open: Vec<Nodes<'a>> = Vec::new();
    let differ = |old: &Nodes<'a>, new: &Nodes<'a>| comparison.bare(old.clone(), new.clone());
    let n_breaking =
        |found: &[Finding]| found.iter().filter(|finding| finding.is_breaking()).count();
    for branch in old {
        match left
            .iter()
            .position(|new| n_breaking(&differ(&branch, new)) == 0)
        {
            Some(n) => found.extend(differ(&branch, &left.remove(n))),
            None => open.push(branch),
        }
    }
    for branch in open {
        let close = left.iter().enumerate();
        match close.min_by_key(|(_, new)| n_breaking(&differ(&branch, new))) {
            Some((n, _)) => found.extend(differ(&branch, &left.remove(n))),
            None => {
                let message = "an alternative is gone".to_owned();
                let change = "alternative-removed";
                found.push(Finding::narrower(both.place(keyword), change, message));
            }
        }
    }
    for _ in left {
        let message = "there is one more alternative".to_owned();
        found.push(Finding::wider(
            both.place(keyword),
            "alternative-added",
            message,
        ));
    }
    found
}

/// Whether no value keeps to two of these.
fn are_apart<'a>(side: Side<'a>, branches: &[Nodes<'a>]) -> bool {
    let branches: Vec<_> = branches
        .iter()
        .map(|nodes| side.all(nodes.clone()))
        .collect();
    let pairs = branches.iter().enumerate();
    pairs.clone().all(|(n, one)| {
        let mut later = branches.iter().skip(n + 1);
        later.all(|other| tell_apart(side, one, other))
    })
}

/// Whether no value keeps to both: by its type, by values that are listed, or by those of a member that
/// both demand.
fn tell_apart<'a>(side: Side<'a>, one: &[Node<'a>], other: &[Node<'a>]) -> bool {
    if types_of(one) & types_of(other) == 0 || have_no_value_in_common(one, other) {
        return true;
    }
    let (a, b) = (demanded(one), demanded(other));
    let mut shared = a.keys().filter(|name| b.contains_key(*name));
    let are_objects = types_of(one) == OBJECT && types_of(other) == OBJECT;
    are_objects
        && shared.any(|name| {
            let (a, b) = (side.all(said_of(one, name)), side.all(said_of(other, name)));
            have_no_value_in_common(&a, &b)
        })
}
