//! "Did you mean": the known name that is closest to a mistyped one.

/// The end of a message: `; did you mean `x`?`, or nothing when no candidate is close.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    match closest(name, candidates) {
        Some(close) => format!("; did you mean `{close}`?"),
        None => String::new(),
    }
}

/// The candidate with the fewest edits, when a third of the letters or less has to change.
fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, candidate)| *edits * 3 <= name.len().max(candidate.len()))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits between two names; the same letters in another order count as one.
fn distance(left: &str, right: &str) -> usize {
    let sorted = |name: &str| {
        let mut letters: Vec<char> = name.to_lowercase().chars().collect();
        letters.sort_unstable();
        letters
    };
    let edits = edits(left, right);
    if sorted(left) == sorted(right) {
        edits.min(1)
    } else {
        edits
    }
}

/// Letters to insert, remove or replace to make `left` into `right`, case aside.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (n, a) in left.to_lowercase().chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut last = n + 1;
        next.push(last);
        for (pair, b) in row.windows(2).zip(&right) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            let replaced = diagonal + usize::from(a != *b);
            last = replaced.min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let cases = [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("stage", "stages", 1),
            ("Path", "path", 0),
        ];
        for (left, right, expected) in cases {
            assert_eq!(edits(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_close_names_are_suggested() {
        let known = ["subject", "subjects", "stream", "url"];
        assert_eq!(hint("subjcet", known), "; did you mean `subject`?");
        assert_eq!(hint("urls", known), "; did you mean `url`?");
        assert_eq!(hint("bucket", known), "");
        assert_eq!(hint("crm", ["cmr"]), "; did you mean `cmr`?");
        assert_eq!(hint("a", ["b"]), "");
    }
}
