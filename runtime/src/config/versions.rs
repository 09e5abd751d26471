//! `[targets.NAME.versions]`: versions of a contract beside the one that the target holds.

use super::contracts;
use super::entry::Entry;
use super::keys;
use super::names::Names;
use super::section::Section;
use crate::contract::{Beside, Case, Contract, Retirement};
use std::sync::Arc;
use time::Date;
use time::macros::format_description;
use toml::de::DeValue;

/// The versions that `target` serves beside `own`.
pub(super) fn read(target: &Section<'_>, own: Option<&Contract>, known: &Names) -> Vec<Beside> {
    let Some(entry) = target.get("versions") else {
        return Vec::new();
    };
    let mut versions: Vec<Beside> = Vec::new();
    for item in entry.items().unwrap_or_default() {
        let Some(beside) = one(&item, known) else {
            continue;
        };
        if let Some(fault) = clash(&beside, own, &versions) {
            item.report(fault);
        }
        versions.push(beside);
    }
    if own.is_none() && !target.has("contract") {
        entry
            .report("the target has no contract of its own: name the newest version as `contract`");
    }
    versions
}

fn one(entry: &Entry<'_>, known: &Names) -> Option<Beside> {
    let section = entry.section(&keys::VERSIONS)?;
    let contract = contracts::read_version(&section);
    let advice = "name the plugin that adapts between this version and that of `contract`";
    section.demand("adapter", advice);
    let adapter = section.read("adapter", |entry| known.plugin(entry));
    let advice = "name a file of cases that have to come through the adapter and back";
    section.demand("cases", advice);
    let cases = section.read("cases", |entry| {
        let file = entry.path()?;
        let loaded = Case::load(&file);
        loaded.map_err(|fault| entry.report(fault)).ok()
    });
    let retirement = Retirement {
        deprecated: section.read("deprecated", date),
        sunset: section.read("sunset", date),
    };
    if let (Some(deprecated), Some(sunset)) = (retirement.deprecated, retirement.sunset)
        && sunset < deprecated
    {
        section.report("it goes before it is deprecated: let `sunset` come after `deprecated`");
    }
    Some(Beside {
        contract: contract?,
        adapter: adapter?,
        cases: Arc::new(cases?),
        retirement,
    })
}

/// Why the version cannot stand beside the others, if it cannot.
fn clash(beside: &Beside, own: Option<&Contract>, others: &[Beside]) -> Option<String> {
    let (contract, own) = (&beside.contract, own?);
    let version = contract.version();
    let is_there = |other: &Beside| other.contract.version() == version;
    if contract.name() != own.name() {
        let (name, other) = (contract.name(), own.name());
        return Some(format!(
            "it is one of the contract `{name}`, and the target's is `{other}`"
        ));
    }
    if version == own.version() || others.iter().any(is_there) {
        return Some(format!(
            "version {version} is served already: remove one of the two"
        ));
    }
    let foreign = contract
        .entities()
        .find(|(kind, _)| own.entity(Some(kind)).is_err());
    foreign.map(|(kind, _)| {
        format!(
            "{own} has no entity `{kind}`: kinds have the same name in all versions that a target serves"
        )
    })
}

/// `"2027-06-30"`, or the same without quotes.
fn date(entry: &Entry<'_>) -> Option<Date> {
    let text = match entry.value {
        DeValue::Datetime(date) => date.to_string(),
        _ => entry.text()?,
    };
    let format = format_description!("[year]-[month]-[day]");
    match Date::parse(&text, format) {
        Ok(date) => Some(date),
        Err(_) => {
            entry.report(format!(
                "`{text}` is no date: write one as in \"2027-06-30\""
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use serde_json::json;

    const REST: &str = r#"
[plugins.adapt]
path = "adapt.wasm"
[plugins.adapt.grants]

[targets.crm]
kind = "kv"
bucket = "crm"
contract = { version = 2, schema = "crm.v2.json" }

[pipelines.p]
source = { stream = "S" }
"#;

    /// What is wrong where `versions` stand beside the target's own.
    fn problems(versions: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let contract = |name: &str, version: u32, kind: &str| {
            let entities = json!({ kind: { "operations": ["upsert"], "schema": true } });
            let contract = json!({ "name": name, "version": version, "entities": entities });
            let file = folder.path().join(format!("{name}.v{version}.json"));
            std::fs::write(file, contract.to_string()).unwrap();
        };
        contract("crm", 1, "customer");
        contract("crm", 2, "customer");
        contract("crm", 3, "person");
        contract("erp", 1, "customer");
        let cases = json!([{ "key": "a", "data": {} }]).to_string();
        std::fs::write(folder.path().join("cases.json"), cases).unwrap();
        std::fs::write(folder.path().join("none.json"), "[]").unwrap();
        std::fs::write(folder.path().join("adapt.wasm"), "").unwrap();
        let versions = format!("bucket = \"crm\"\nversions = [{versions}]\n");
        let text = REST.replace("bucket = \"crm\"\n", &versions);
        let read = Config::parse(&text, folder.path(), &|_: &str| None);
        read.err()
            .map_or(String::new(), |problems| problems.to_string())
    }

    #[test]
    fn a_version_beside_the_own_names_all_that_it_needs() {
        const ONE: &str =
            r#"version = 1, schema = "crm.v1.json", adapter = "adapt", cases = "cases.json""#;
        assert_eq!(problems(&format!("{{ {ONE} }}")), "");
        let dated = format!(r#"{{ {ONE}, deprecated = "2026-11-01", sunset = 2027-06-30 }}"#);
        assert_eq!(problems(&dated), "");
        for (versions, expected) in [
            (
                ONE.replace(r#"adapter = "adapt", "#, ""),
                "name the plugin that adapts",
            ),
            (
                ONE.replace(r#", cases = "cases.json""#, ""),
                "name a file of cases",
            ),
            (ONE.replace("cases.json", "none.json"), "has no case"),
            (
                ONE.replace("cases.json", "crm.v1.json"),
                "is no list of cases",
            ),
            (
                ONE.replace("\"adapt\"", "\"adopt\""),
                "no plugin `adopt` is configured",
            ),
            (ONE.replace("crm.v1", "erp.v1"), "the target's is `crm`"),
            (
                ONE.replace("version = 1", "version = 2")
                    .replace("crm.v1", "crm.v2"),
                "version 2 is served already",
            ),
            (
                ONE.replace("version = 1", "version = 3")
                    .replace("crm.v1", "crm.v3"),
                "has no entity `person`",
            ),
            (
                ONE.replace("version = 1", "version = 4"),
                "holds version 1, not 4",
            ),
            (format!("{ONE}, sunset = \"soon\""), "`soon` is no date"),
            (
                format!("{ONE}, deprecated = \"2027-01-01\", sunset = \"2026-01-01\""),
                "it goes before it is deprecated",
            ),
        ] {
            let told = problems(&format!("{{ {versions} }}"));
            assert!(told.contains(expected), "{versions}: {told}");
            assert_eq!(told.lines().count(), 1, "{versions}: {told}");
        }
        let twice = problems(&format!("{{ {ONE} }}, {{ {ONE} }}"));
        assert!(twice.contains("version 1 is served already"), "{twice}");
    }
}
