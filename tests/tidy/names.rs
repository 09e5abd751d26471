//! Words that say nothing, and words that promise what is not there.

use super::no_faults;
use super::sources::rust;

/// Types are nouns of the glossary; these name a role that everything has.
const REFUSED: [&str; 11] = [
    "Manager",
    "Helper",
    "Util",
    "Common",
    "Processor",
    "Wrapper",
    "Info",
    "Data",
    "Impl",
    "Base",
    "Service",
];

/// File names that attract everything.
const REFUSED_FILES: [&str; 6] = ["types", "utils", "util", "helpers", "common", "misc"];

/// What is not finished is not committed. In two parts each, so that this file has none of them.
const UNFINISHED: [[&str; 2]; 5] = [
    ["to", "do!"],
    ["unimpl", "emented!"],
    ["#[ig", "nore"],
    ["FIX", "ME"],
    ["XX", "X:"],
];

#[test]
fn a_type_is_named_after_what_it_is() {
    let mut faults = Vec::new();
    for file in rust() {
        for (line, code) in file.code() {
            let Some(name) = declared_type(code) else {
                continue;
            };
            if REFUSED.contains(&last_word(name)) {
                faults.push(format!("{}: {name}", file.at(line)));
            }
        }
    }
    no_faults("these words fit every type and explain none", &faults);
}

/// The type that a line declares.
fn declared_type(code: &str) -> Option<&str> {
    let mut words = code
        .trim_start()
        .split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let kinds = ["struct", "enum", "trait", "type", "union"];
    let before = ["pub", "crate", "super", "unsafe", ""];
    let kind = words.find(|word| !before.contains(word))?;
    if !kinds.contains(&kind) {
        return None;
    }
    words.next()
}

/// `Data` of `EventData`.
fn last_word(name: &str) -> &str {
    name.rfind(char::is_uppercase)
        .map_or(name, |at| &name[at..])
}

#[test]
fn a_file_is_named_after_what_it_holds() {
    let mut faults = Vec::new();
    for file in rust() {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if REFUSED_FILES.contains(&name.trim_end_matches(".rs")) {
            faults.push(file.path);
        }
    }
    no_faults("these file names attract everything", &faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = UNFINISHED.map(|parts| parts.concat());
    let mut faults = Vec::new();
    for file in rust() {
        for (index, line) in file.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(word.as_str()));
            faults.extend(found.map(|word| format!("{}: {word}", file.at(index + 1))));
        }
    }
    no_faults("finish it, or write an issue", &faults);
}

/// A sleep is too short on a slow machine and too long on every other. `eventually` of the harness
/// is the one place that waits.
#[test]
fn no_test_sleeps() {
    let mut faults = Vec::new();
    for file in rust() {
        let in_tests = file.path.starts_with("tests/");
        if !in_tests
            || ["tests/harness/", "tests/guests/"]
                .iter()
                .any(|dir| file.path.starts_with(dir))
        {
            continue;
        }
        let sleeps = file
            .code()
            .filter(|(_, code)| code.contains(concat!("sleep", "(")));
        faults.extend(sleeps.map(|(line, _)| file.at(line)));
    }
    no_faults("wait for what is to happen, with a deadline", &faults);
}
