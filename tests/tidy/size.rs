//! How long files and functions may be, and that each file says what it is for.

use super::no_faults;
use super::sources::{Source, rust};

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;
const LONGEST_EXAMPLE: usize = 100;

#[test]
fn no_file_is_too_long() {
    let mut faults = Vec::new();
    for file in rust() {
        let n_lines = file.text.lines().count();
        if n_lines > LONGEST_FILE {
            faults.push(format!("{}: {n_lines} lines", file.path));
        }
    }
    no_faults("a file has one noun and at most 500 lines", &faults);
}

/// A test may be a long table: clippy's count, which leaves out comments and blank lines, is enough.
#[test]
fn no_function_is_too_long() {
    let mut faults = Vec::new();
    for file in rust()
        .iter()
        .filter(|file| !file.path.starts_with("tests/"))
    {
        for (line, n_lines) in functions(file) {
            if n_lines > LONGEST_FUNCTION {
                faults.push(format!("{}: {n_lines} lines", file.at(line)));
            }
        }
    }
    no_faults("a function has at most 70 lines", &faults);
}

/// First line and length of every function that has a body. After rustfmt a body ends with a brace
/// under the first letter of its declaration.
fn functions(file: &Source) -> Vec<(usize, usize)> {
    let lines: Vec<_> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let declaration = line.trim_start();
        if !is_function(declaration) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - declaration.len()]);
        let ends = |line: &&&str| line.trim_end().ends_with(['{', '}', ';']);
        let has_body = lines[start..].iter().find(ends);
        let has_body = has_body.is_some_and(|line| line.trim_end().ends_with('{'));
        let length = lines[start..].iter().position(|line| *line == end);
        if let (true, Some(length)) = (has_body, length) {
            found.push((start + 1, length + 1));
        }
    }
    found
}

fn is_function(declaration: &str) -> bool {
    let mut words = declaration.split_whitespace();
    let before = ["pub", "async", "const", "unsafe", "extern", "\"C\""];
    let first = words.find(|word| !before.contains(word) && !word.starts_with("pub("));
    first == Some("fn")
}

#[test]
fn functions_are_found() {
    let text = "fn short() {}\n\npub(super) async fn long(\n    a: u8,\n) -> u8\n{\n    a\n}\n\n\
                trait T {\n    fn none(&self);\n    fn some(&self) {\n        let f = || ();\n    }\n}\n";
    let file = Source {
        path: String::new(),
        text: text.to_owned(),
    };
    assert_eq!(functions(&file), [(3, 6), (12, 3)]);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = |file: &Source| !file.text.starts_with("//! ");
    let faults = rust().into_iter().filter(silent).map(|file| file.path);
    no_faults(
        "a file begins with `//! ` and what it is for",
        &faults.collect::<Vec<_>>(),
    );
}

/// The plugins that authors learn from. The others are tools.
const EXAMPLES: [&str; 4] = ["enrich", "filter-by-field", "redact", "route-by-type"];

#[test]
fn an_example_plugin_is_read_in_a_minute() {
    let mut faults = Vec::new();
    let mut n_examples = 0;
    for file in rust() {
        let is_example = |name: &str| file.path.starts_with(&format!("plugins/{name}/"));
        if !EXAMPLES.iter().any(|name| is_example(name)) || file.path.ends_with("tests.rs") {
            continue;
        }
        n_examples += 1;
        let n_lines = file.text.lines().count();
        if n_lines >= LONGEST_EXAMPLE {
            faults.push(format!("{}: {n_lines} lines", file.path));
        }
    }
    assert_eq!(n_examples, EXAMPLES.len(), "one file for each example");
    no_faults("an example has less than 100 lines", &faults);
}
