//! The reference in `docs/configuration.md` and the code say the same.

use super::http::LEVELS;
use super::keys::{self, Keys};
use super::pipelines::{GUARANTEES, ON_FAILURE};
use super::plugins::LATER_SCHEMES;
use super::targets::KINDS;
use super::{Config, Problems};
use crate::intake::Source;
use crate::plugin::Limits;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("/nowhere"), &|_: &str| None)
}

/// The section that a heading opens, as `keys.rs` names it.
fn section_of(heading: &str) -> String {
    match heading.trim_matches('#').trim() {
        "The file" => String::new(),
        heading => heading.trim_matches(['`', '[', ']']).to_owned(),
    }
}

/// The rows of the tables under each heading that begin with code: that, and the cells after it.
fn rows() -> BTreeMap<String, Vec<(String, Vec<String>)>> {
    let mut sections = BTreeMap::<String, Vec<_>>::new();
    let mut section = String::new();
    for line in REFERENCE.lines() {
        if line.starts_with("##") {
            section = section_of(line);
        } else if let Some(row) = line.strip_prefix("| `") {
            let mut cells = row
                .split(" | ")
                .map(|cell| cell.trim_end_matches(" |").to_owned());
            let first = cells
                .next()
                .unwrap_or_default()
                .trim_end_matches('`')
                .to_owned();
            sections
                .entry(section.clone())
                .or_default()
                .push((first, cells.collect()));
        }
    }
    sections
}

#[test]
fn every_key_is_in_the_reference_and_the_reverse() {
    let rows = rows();
    for Keys { section, known, .. } in keys::ALL {
        let documented: Vec<_> = rows
            .get(*section)
            .unwrap_or_else(|| panic!("there is no table for [{section}]"))
            .iter()
            .filter(|(_, cells)| cells.len() == 3)
            .map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(documented, *known, "the table of [{section}]");
    }
    let sections: BTreeSet<_> = keys::ALL.iter().map(|keys| keys.section).collect();
    for (section, rows) in rows
        .iter()
        .filter(|(section, _)| *section != "Not available yet")
    {
        let stray = !sections.contains(section.as_str());
        assert!(
            !stray,
            "the reference has [{section}], the code has not: {rows:?}"
        );
    }
}

#[test]
fn what_is_not_available_yet_is_in_the_reference_and_the_reverse() {
    let mut expected = BTreeSet::new();
    for Keys { section, later, .. } in keys::ALL {
        expected.extend(later.iter().map(|(key, _)| match *section {
            "" => (*key).to_owned(),
            section => format!("{section}.{key}"),
        }));
    }
    let mut later = |key: &str, word: &str| expected.insert(format!("{key} = \"{word}\""));
    KINDS.iter().filter(|w| w.1.is_none()).for_each(|w| {
        later("targets.NAME.kind", w.0);
    });
    LEVELS.iter().filter(|w| w.1.is_none()).for_each(|w| {
        later("targets.NAME.level", w.0);
    });
    GUARANTEES.iter().filter(|w| w.1.is_none()).for_each(|w| {
        later("pipelines.NAME.guarantee", w.0);
    });
    ON_FAILURE.iter().filter(|w| w.1.is_none()).for_each(|w| {
        later("pipelines.NAME.on_failure", w.0);
    });
    for scheme in LATER_SCHEMES {
        later("plugins.NAME.path", &format!("{scheme}://.."));
    }
    let rows = rows();
    let documented: BTreeSet<_> = rows["Not available yet"]
        .iter()
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(documented, expected);
}

/// `[section]` with the defaults that its table gives for `keys`.
fn defaults_of(section: &str, keys: &[&str]) -> String {
    let rows = rows();
    let lines = keys.iter().map(|key| {
        let (_, cells) = rows[section].iter().find(|(name, _)| name == key).unwrap();
        format!("{key} = {}\n", cells[1].trim_matches('`'))
    });
    let header = section.replace("NAME", "x");
    format!("[{header}]\n{}", lines.collect::<String>())
}

#[test]
fn the_defaults_in_the_reference_are_those_of_the_code() {
    let bare = "[plugins.x]\npath = \"x\"\n[pipelines.x]\nguarantee = \"at-least-once\"\n";
    let source = "[pipelines.x.source]\nstream = \"S\"\n";
    let target = "[targets.x]\nkind = \"kv\"\nbucket = \"b\"\n";
    let expected = parse(&[bare, source, target].concat()).unwrap();
    let only = |section: &str, keys: &[&str]| {
        let text = defaults_of(section, keys);
        text.split_once('\n').unwrap().1.to_owned()
    };
    let text = [
        "[nats]\n",
        &only("nats", &["url", "name"]),
        "tls = { required = false }\n",
        "[plugins.x]\npath = \"x\"\n",
        &defaults_of("plugins.NAME.grants", keys::GRANTS.known),
        &defaults_of("plugins.NAME.limits", keys::PLUGIN_LIMITS.known),
        target,
        &only("targets.NAME", &["create", "timeout"]),
        &defaults_of("targets.NAME.breaker", keys::BREAKER.known),
        "[pipelines.x]\nguarantee = \"at-least-once\"\n",
        &only("pipelines.NAME", &["stages", "to", "on_failure"]),
        source,
        &only("pipelines.NAME.source", &["create", "ack_wait"]),
        &defaults_of("pipelines.NAME.retry", keys::RETRY.known),
        &defaults_of("pipelines.NAME.limits", keys::PIPELINE_LIMITS.known),
    ]
    .concat();
    let written = parse(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert_eq!(written, expected);
    assert_eq!(written.plugins[0].limits, Limits::default());
    let Source::JetStream { durable, .. } = &written.pipelines[0].intake.source else {
        panic!()
    };
    assert_eq!(durable, "syncline-x");
}

#[test]
fn the_whole_file_of_the_reference_is_sound() {
    let (_, example) = REFERENCE.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let config = parse(example).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.pipelines[0].to.len(), 3);
}

/// A file in which the key of a section is a date with a time, which no key is.
fn with_wrong_type(section: &str, key: &str) -> (String, String) {
    let mut path = key.to_owned();
    let mut text = format!("{key} = 1979-05-27T07:32:00Z");
    for part in section.rsplit('.').filter(|part| !part.is_empty()) {
        let (name, list) = (
            part.replace("NAME", "x"),
            ["to", "versions"].contains(&part),
        );
        text = match list {
            true => format!("{name} = [{{ {text} }}]"),
            false => format!("{name} = {{ {text} }}"),
        };
        path = format!("{name}{}.{path}", if list { "[0]" } else { "" });
    }
    (text, path)
}

#[test]
fn every_key_is_read_and_its_type_checked() {
    for Keys { section, known, .. } in keys::ALL {
        for key in *known {
            let (text, path) = with_wrong_type(section, key);
            let problems = parse(&text).expect_err(&text);
            let told = problems.list.iter().find(|problem| problem.key == path);
            let told = told.unwrap_or_else(|| panic!("{path} is not read: {problems}"));
            assert!(!told.message.contains("unknown"), "{problems}");
        }
    }
}
