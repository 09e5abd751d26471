//! The files of the repository as git knows them, and what is code in a Rust file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_owned()
}

/// A text file: its path from the root, with `/`, and what it holds.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// Every text file that git tracks, or would track: ignored ones are nobody's business.
pub(super) fn all() -> Vec<Source> {
    let root = root();
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&root)
        .output()
        .expect("git lists the files: the tidy tests need a clone");
    assert!(listed.status.success(), "git ls-files failed: {listed:?}");
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    paths.filter_map(|path| read(&root, path)).collect()
}

/// Every Rust file.
pub(super) fn rust() -> Vec<Source> {
    let mut files = all();
    files.retain(|file| file.path.ends_with(".rs"));
    assert!(files.len() > 100, "only {} Rust files", files.len());
    files
}

/// A deleted file is still listed, and a picture is no text.
fn read(root: &Path, path: &str) -> Option<Source> {
    let text = String::from_utf8(std::fs::read(root.join(path)).ok()?).ok()?;
    Some(Source {
        path: path.to_owned(),
        text,
    })
}

impl Source {
    /// Lines of code with their numbers; comments are cut off, lines that are nothing else left out.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter_map(|(index, line)| {
            let code = match line.find("//") {
                // An address in a string is no comment.
                Some(at) if !line[..at].ends_with(':') => &line[..at],
                _ => line,
            };
            (!code.trim().is_empty()).then_some((index + 1, code))
        })
    }

    /// The same, without the test module at the end of the file.
    pub(super) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.lines().position(|line| line == "#[cfg(test)]");
        let end = tests.map_or(usize::MAX, |index| index + 1);
        let of_tests = self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs");
        self.code()
            .filter(move |(number, _)| *number < end && !of_tests)
    }

    /// A place in the file, as compilers write it.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// The names behind each `prefix` that is not itself the end of a name: for `crate::event::Plan` and
/// `crate::` it is `event`, for `crate::{event, plugin}` both. Empty for a group of several lines.
pub(super) fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let places = code.match_indices(prefix);
    let places = places.filter(|(at, _)| !code[..*at].ends_with(is_name));
    let rests = places.map(|(at, _)| &code[at + prefix.len()..]);
    rests
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group
                .split(['}', ','])
                .take_while(|part| *part != ";")
                .map(|part| name_at(part.trim_start()))
                .collect(),
            None => vec![name_at(rest)],
        })
        .collect()
}

/// Whether `word` stands in `code` as a name of its own.
pub(super) fn has_name(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let after = &code[at + word.len()..];
        !code[..at].ends_with(is_name) && !after.starts_with(is_name)
    })
}

fn name_at(text: &str) -> &str {
    let end = text.find(|letter| !is_name(letter));
    &text[..end.unwrap_or(text.len())]
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
