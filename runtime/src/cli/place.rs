//! Where in the configuration file a key stands.

use syncline::config::Problem;
use toml::de::{DeTable, DeValue};

/// Gives each problem without a place the one of its key, or of the section that should hold it;
/// then puts them in the order of the file.
pub(super) fn fill_in(problems: &mut [Problem], text: &str) {
    for problem in problems.iter_mut().filter(|problem| problem.line.is_none()) {
        if let Some((line, column)) = find(text, &problem.key) {
            problem.line = Some(line);
            problem.column = Some(column);
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
}

/// Line and column of the last part of `key` that is there.
fn find(text: &str, key: &str) -> Option<(usize, usize)> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut start = None;
    for part in key.split('.') {
        let Some((name, value)) = table.get_key_value(part) else {
            break;
        };
        start = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    let before = text.get(..start?)?;
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Some((line, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_or_the_section_that_should_hold_it() {
        let text = "# é\n[plugins.a]\npath = \"x\"\nlimits = { time = \"1s\" }\n\n[targets.b]\n";
        let cases = [
            ("plugins.a.path", Some((3, 1))),
            ("plugins.a.limits.time", Some((4, 12))),
            ("plugins.a.grants", Some((2, 10))),
            ("targets.b", Some((6, 10))),
            ("nats.url", None),
        ];
        for (key, expected) in cases {
            assert_eq!(find(text, key), expected, "{key}");
        }
    }
}
