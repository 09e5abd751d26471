//! Wrong configurations: each with all its problems and their places.
//!
//! The files in `bad_tests/` hold them one after the other. The lines with `##` before each say
//! what has to be told, in order; ` .. ` stands for any text. The first line after them is line 1.

use super::Config;
use proptest::prelude::*;
use std::path::Path;

const FILES: [(&str, &str); 6] = [
    ("file.toml", include_str!("bad_tests/file.toml")),
    ("plugins.toml", include_str!("bad_tests/plugins.toml")),
    ("targets.toml", include_str!("bad_tests/targets.toml")),
    ("pipelines.toml", include_str!("bad_tests/pipelines.toml")),
    ("sources.toml", include_str!("bad_tests/sources.toml")),
    ("routes.toml", include_str!("bad_tests/routes.toml")),
];

/// What the configurations lean on; it stands after each.
const REST: &str = r#"
[plugins.only-eu]
path = "only_eu.wasm"
[targets.crm]
kind = "kv"
bucket = "crm"
[targets.search]
kind = "subject"
subject = "search.{key}"
[secrets.token]
env = "TOKEN"
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("t0p".to_owned()),
        "EMPTY" => Some(String::new()),
        "URL" => Some("http://user:pa55@host".to_owned()),
        _ => None,
    }
}

/// What is wrong with `text`, a line for each problem.
fn problems(text: &str) -> String {
    match Config::parse(text, Path::new("/nowhere"), &env) {
        Ok(config) => panic!("this should be refused: {text}\n{config:#?}"),
        Err(problems) => problems.to_string(),
    }
}

/// The configurations of a file with what is expected of them.
fn cases(file: &str) -> Vec<(Vec<&str>, String)> {
    let mut cases: Vec<(Vec<&str>, String)> = Vec::new();
    for line in file.lines() {
        match line.strip_prefix("## ") {
            Some(expected) => match cases.last_mut() {
                Some((all, text)) if text.is_empty() => all.push(expected),
                _ => cases.push((vec![expected], String::new())),
            },
            None => {
                let (_, text) = cases.last_mut().expect("a file begins with `##`");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    cases
}

/// Whether `told` begins with the first of the parts of `expected` and holds the others after it.
fn fits(told: &str, expected: &str) -> bool {
    let mut parts = expected.split(".. ").map(str::trim_end);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = told
        .strip_prefix("syncline.toml:")
        .and_then(|t| t.strip_prefix(first))
    else {
        return false;
    };
    parts.all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn every_problem_is_told_with_its_place() {
    let mut n_cases = 0;
    let mut wrong = Vec::new();
    for (file, content) in FILES {
        for (expected, text) in cases(content) {
            n_cases += 1;
            let told = problems(&format!("{text}{REST}"));
            let told: Vec<_> = told.lines().collect();
            let good = told.len() == expected.len()
                && told
                    .iter()
                    .zip(&expected)
                    .all(|(told, expected)| fits(told, expected))
                && !told.iter().any(|line| line.ends_with('.'));
            if !good {
                wrong.push(format!(
                    "{file}:\n{text}expected {expected:#?}\ntold {told:#?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(n_cases > 120, "only {n_cases} were read");
}

#[test]
fn no_password_of_a_url_is_told() {
    for url in [
        "${URL}",
        "nats://user:pa55@ho st",
        "user:pa55@host:port",
        "nats://pa55@",
    ] {
        let told = problems(&format!("[nats]\nurl = \"{url}\""));
        assert!(!told.contains("pa55"), "{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    let missing = Path::new("/nowhere/some.toml");
    let problems = Config::load(missing, &env).expect_err("there is no such file");
    let told = problems.to_string();
    assert!(
        told.starts_with("/nowhere/some.toml: cannot read the configuration: "),
        "{told}"
    );
}

proptest! {
    /// Files with a piece cut out and another put in: there may be problems, each has a place.
    #[test]
    fn no_file_is_too_broken(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        n_cut in 0_usize..40,
        put in r#"[\[\]{}=."'$#a-z0-9\n \u{e4}]{0,6}"#,
    ) {
        let content: Vec<char> = FILES[file].1.chars().collect();
        let start = at.index(content.len());
        let end = (start + n_cut).min(content.len());
        let text: String =
            content[..start].iter().copied().chain(put.chars()).chain(content[end..].iter().copied()).collect();
        if let Err(problems) = Config::parse(&text, Path::new("/nowhere"), &env) {
            prop_assert!(!problems.list.is_empty());
            for problem in problems.list {
                let line = problem.line.unwrap();
                prop_assert!(line >= 1 && line <= text.lines().count() + 1);
                prop_assert!(problem.column.unwrap() >= 1);
            }
        }
    }
}
