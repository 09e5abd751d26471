//! Where keys stand: offsets to lines, keys to offsets.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A key or an item of a list, and where it stands.
struct Found<'a> {
    /// The whole path.
    path: &'a str,
    /// Its last name; items of lists have none.
    name: Option<&'a str>,
    key_at: usize,
    value_at: usize,
    is_table: bool,
}

/// Line and column of a byte, both from 1; columns are characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A key's path: `parent.name`, quoted where TOML would ask for it.
pub(super) fn join(parent: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    };
    match parent {
        "" => name,
        parent => format!("{parent}.{name}"),
    }
}

/// Where the value of `key` stands in `text`, or of the closest key above it that is there.
pub(super) fn place_of(text: &str, key: &str) -> Option<(usize, usize)> {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut best: Option<(usize, usize)> = None;
    walk(table.get_ref(), "", usize::MAX, &mut |found| {
        let rest = key.strip_prefix(found.path);
        let above = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if above && best.is_none_or(|(length, _)| length < found.path.len()) {
            let at = if found.is_table {
                found.key_at
            } else {
                found.value_at
            };
            best = Some((found.path.len(), at));
        }
    });
    best.map(|(_, offset)| line_and_column(text, offset))
}

/// The path of the key at `offset` that stands twice: the last of that name before, in a table that
/// is still open there.
pub(super) fn path_of_duplicate(table: &DeTable<'_>, name: &str, offset: usize) -> String {
    let name = name.trim_matches(['"', '\'']);
    let mut best = (0, name.to_owned());
    walk(table, "", offset, &mut |found| {
        if found.name == Some(name) && (best.0..=offset).contains(&found.key_at) {
            best = (found.key_at, found.path.to_owned());
        }
    });
    best.1
}

/// Shows every key to `visit`, but for the inside of inline values that end before `open_at`
/// (`usize::MAX`: none is left out).
fn walk(table: &DeTable<'_>, path: &str, open_at: usize, visit: &mut dyn FnMut(&Found<'_>)) {
    for (key, value) in table.iter() {
        let path = join(path, key.get_ref());
        let (key_at, key_end) = (key.span().start, key.span().end);
        visit(&Found {
            path: &path,
            name: Some(key.get_ref()),
            key_at,
            // A table made by a header or by dotted keys has no place after its key.
            value_at: value.span().start.max(key_at),
            is_table: value.get_ref().is_table(),
        });
        let inline = value.span().start >= key_end;
        if !inline || open_at == usize::MAX || value.span().end > open_at {
            walk_value(value, &path, open_at, visit);
        }
    }
}

fn walk_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    open_at: usize,
    visit: &mut dyn FnMut(&Found<'_>),
) {
    match value.get_ref() {
        DeValue::Table(table) => walk(table, path, open_at, visit),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let (path, at) = (format!("{path}[{index}]"), item.span().start);
                let is_table = item.get_ref().is_table();
                visit(&Found {
                    path: &path,
                    name: None,
                    key_at: at,
                    value_at: at,
                    is_table,
                });
                walk_value(item, &path, open_at, visit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_or_the_closest_above_them() {
        let text = "[plugins.a]\npath = \"x\"\nconfig = { b = [1, { c = 2 }] }\n\
                    [[pipelines.p.to]]\ntarget = \"t\"\n[[pipelines.p.to]]\ntarget = \"u\"\n\
                    [plugins.ab.grants]\nstate = true\n";
        let cases = [
            ("plugins", Some((1, 2))),
            ("plugins.a", Some((1, 10))),
            ("plugins.a.path", Some((2, 8))),
            ("plugins.a.config.b[1].c", Some((3, 26))),
            ("plugins.a.config.b[1].d", Some((3, 20))),
            ("plugins.a.config.b[7]", Some((3, 16))),
            ("plugins.a.limits.time", Some((1, 10))),
            ("plugins.ab", Some((8, 10))),
            ("plugins.ab.grants", Some((8, 13))),
            ("plugins.abc", Some((1, 2))),
            ("pipelines.p.to[1].target", Some((7, 10))),
            ("nats.url", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(place_of(text, key), expected, "{key}");
        }
    }
}
