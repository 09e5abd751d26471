//! What the repository holds, and what must not be in it.

use super::no_faults;
use super::sources::{all, root};

#[test]
fn what_a_reader_looks_for_is_there() {
    let wanted = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "docs/cli.md",
        "docs/configuration.md",
        "docs/glossary.md",
    ];
    let missing = wanted.iter().filter(|path| !root().join(path).is_file());
    let missing: Vec<_> = missing.map(|path| (*path).to_owned()).collect();
    no_faults("missing", &missing);
}

/// Paths of somebody's machine work for nobody else.
#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // Taken apart, so that this file does not name any itself.
    let places = [
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/Us", "ers/"],
        ["/wo", "rk/"],
    ];
    let places = places.map(|parts| parts.concat());
    let mut faults = Vec::new();
    for file in all() {
        for (index, line) in file.text.lines().enumerate() {
            let found = places.iter().filter(|place| has_path(line, place));
            faults.extend(found.map(|place| format!("{}: {place}", file.at(index + 1))));
        }
    }
    no_faults("paths of one machine", &faults);
}

/// Whether a path in `line` begins with `place`; elsewhere it is the middle of a longer one.
fn has_path(line: &str, place: &str) -> bool {
    let goes_on = |letter: char| letter.is_alphanumeric() || "._-}".contains(letter);
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(goes_on))
}

/// A mirror that one machine uses must not become everybody's.
#[test]
fn packages_come_from_the_public_registries() {
    let mut faults = Vec::new();
    for file in all() {
        for (index, line) in file.text.lines().enumerate() {
            if names_another_registry(&file.path, line.trim_start()) {
                faults.push(format!("{}: {}", file.at(index + 1), line.trim()));
            }
        }
    }
    no_faults("another source of packages than the public one", &faults);
}

fn names_another_registry(path: &str, line: &str) -> bool {
    let is_other = |before: &str, public: &str| {
        line.strip_prefix(before)
            .is_some_and(|source| !source.starts_with(public))
    };
    match path.rsplit('/').next() {
        Some("Cargo.lock") => is_other(
            "source = \"",
            "registry+https://github.com/rust-lang/crates.io-index\"",
        ),
        Some("package-lock.json") => is_other("\"resolved\": \"", "https://registry.npmjs.org/"),
        Some("config.toml" | ".npmrc" | "pip.conf") => {
            line.starts_with("registry") || line.starts_with("index-url")
        }
        _ => false,
    }
}

#[test]
fn text_ends_with_a_line_break_and_lines_with_no_blanks() {
    let mut faults = Vec::new();
    for file in all() {
        // Generated, or what a test reads byte by byte.
        if file.path.contains("/bad_tests/") || file.path.ends_with(".snap") || file.text.is_empty()
        {
            continue;
        }
        if !file.text.ends_with('\n') {
            faults.push(format!("{}: no line break at the end", file.path));
        }
        let blanks = file
            .text
            .lines()
            .position(|line| line.ends_with([' ', '\t', '\r']));
        if let Some(index) = blanks {
            faults.push(format!("{}: blanks at the end", file.at(index + 1)));
        }
    }
    no_faults("blanks and line breaks", &faults);
}
