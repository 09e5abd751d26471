//! `docs/cli.md` against the binary. (`docs/configuration.md` is checked by the room `config`.)

use super::no_faults;
use super::sources::root;
use crate::cli::command::{below, every_command, help};
use std::collections::{BTreeMap, BTreeSet};

type Flags = BTreeSet<String>;

#[test]
fn every_command_and_flag_is_in_the_manual_and_no_other() {
    let manual = manual();
    let mut built = BTreeMap::new();
    for words in every_command().into_iter().skip(1) {
        let help = help(&words);
        let is_group = help.lines().any(|line| line == "Commands:");
        let flags = below(&help, "Options:").filter_map(flag).collect::<Flags>();
        if !is_group {
            built.insert(words.join(" "), flags);
        }
    }
    let mut faults = Vec::new();
    for command in built.keys().chain(manual.keys()).collect::<BTreeSet<_>>() {
        match (built.get(command), manual.get(command)) {
            (Some(built), Some(manual)) => {
                let missing = built.difference(manual).map(|flag| (flag, "is missing"));
                let excess = manual
                    .difference(built)
                    .map(|flag| (flag, "does not exist"));
                let said = missing.chain(excess);
                faults.extend(said.map(|(flag, how)| format!("`{command}`: {flag} {how}")));
            }
            (Some(_), None) => faults.push(format!("`{command}` is missing")),
            (None, _) => faults.push(format!("`{command}` does not exist")),
        }
    }
    no_faults("docs/cli.md", &faults);
}

/// `--json` of `      --json` and of `  -c, --config <FILE>`; nothing of a line of explanation.
fn flag(line: &str) -> Option<String> {
    let mut words = line.split([' ', ',']).filter(|word| !word.is_empty());
    let first = words.next()?;
    let long = if first.starts_with("--") {
        Some(first)
    } else {
        words.next()
    };
    let is_flag = first.starts_with('-') && long.is_some_and(|word| word.starts_with("--"));
    // clap's own.
    let long = long.filter(|word| is_flag && *word != "--help" && *word != "--version")?;
    Some(long.to_owned())
}

/// Per command with a section of its own, the flags in its table.
fn manual() -> BTreeMap<String, Flags> {
    let text = std::fs::read_to_string(root().join("docs/cli.md")).expect("docs/cli.md");
    let mut sections: BTreeMap<String, Flags> = BTreeMap::new();
    let mut section = None;
    let mut has_usage = BTreeSet::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.strip_prefix("syncline ").map(str::to_owned);
        }
        let Some(command) = section.clone() else {
            continue;
        };
        if line.starts_with(&format!("syncline {command} ")) {
            has_usage.insert(command.clone());
        }
        let flags = sections.entry(command).or_default();
        let cell = line
            .strip_prefix("| ")
            .and_then(|row| row.split(" | ").next());
        let words = cell.unwrap_or_default().split(['`', ' ', ',']);
        flags.extend(
            words
                .filter(|word| word.starts_with("--"))
                .map(str::to_owned),
        );
    }
    // A section without a usage line introduces a group of commands.
    sections.retain(|command, _| has_usage.contains(command));
    sections
}
