//! `[targets.NAME.contract]`, and what the contracts of targets say to `to`.

use super::entry::Entry;
use super::keys;
use super::names::Names;
use super::section::Section;
use crate::contract::{Contract, Verb};
use crate::pipeline::RouteConfig;
use crate::target;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) fn read(entry: &Entry<'_>) -> Option<Arc<Contract>> {
    read_version(&entry.section(&keys::CONTRACT)?)
}

/// The version that `section` names, and its file.
pub(super) fn read_version(section: &Section<'_>) -> Option<Arc<Contract>> {
    let advice = "write the major version that the target serves, as in version = 2";
    let version = section.require("version", advice, Entry::positive_count);
    let advice = "name the file of the contract, as in \"contracts/crm.v2.json\"";
    section.demand("schema", advice);
    let schema = section.get("schema")?;
    let file = schema.path()?;
    let contract = load(&schema, &file)?;
    if let Some(version) = version.filter(|version| *version != contract.version()) {
        let fault = format!(
            "`{}` holds version {}, not {version}: name the file of the version that the target \
             serves",
            file.display(),
            contract.version()
        );
        section.read("version", |entry| -> Option<()> {
            entry.report(fault);
            None
        });
    }
    Some(Arc::new(contract))
}

/// The contract in `file`, whose name has to say which one it is.
fn load(entry: &Entry<'_>, file: &Path) -> Option<Contract> {
    let contract = match Contract::load(file) {
        Ok(contract) => contract,
        Err(faults) => {
            faults
                .iter()
                .for_each(|fault| entry.report(fault.to_string()));
            return None;
        }
    };
    let name = format!("{}.v{}.json", contract.name(), contract.version());
    if file.file_name().is_none_or(|said| said != name.as_str()) {
        entry.report(format!(
            "`{}` holds version {} of the contract `{}`: call it `{name}`",
            file.display(),
            contract.version(),
            contract.name()
        ));
    }
    Some(contract)
}

/// The contracts of targets by the name of the target.
pub(super) fn of(targets: &[target::Config]) -> BTreeMap<String, Arc<Contract>> {
    let with = targets.iter().filter_map(|target| {
        let contract = target.contract.clone()?;
        Some((target.name.clone(), contract))
    });
    with.collect()
}

/// Notes what an entry of `to` asks for that its target's contract never allows: every event would
/// become a dead letter.
pub(super) fn check_route(section: &Section<'_>, route: &RouteConfig, known: &Names) {
    let Some(contract) = known.contracts.get(&route.target) else {
        return;
    };
    let (kind, entity) = match contract.entity(route.entity.as_deref()) {
        Ok(found) => found,
        Err(fault) => {
            return report(
                section,
                "entity",
                &format!("target `{}`: {fault}", route.target),
            );
        }
    };
    let about = format!("target `{}`: {contract}, entity `{kind}`", route.target);
    if let Some(fault) = entity.forbids(Verb::of(route.operation)) {
        return report(section, "operation", &format!("{about}: {fault}"));
    }
    if let Some(fault) = entity.needs_precondition(route.operation) {
        let fault = format!("{about}: {fault}, which `to` cannot: let a plugin write it");
        report(section, "operation", &fault);
    }
}

/// Notes a fault at `key`, or at the entry where it does not say so.
fn report(section: &Section<'_>, key: &str, fault: &str) {
    match section.get(key) {
        Some(entry) => entry.report(fault),
        None => section.report(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use serde_json::{Value, json};

    const REST: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
contract = { version = 2, schema = "contracts/crm.v2.json" }

[pipelines.p]
source = { stream = "S" }
"#;

    fn contract() -> Value {
        let customer = json!({ "operations": ["upsert"], "schema": true });
        let strict = json!({ "operations": ["upsert"], "schema": true, "etag": "required" });
        let entities = json!({ "customer": customer, "account": strict });
        json!({ "name": "crm", "version": 2, "entities": entities, "default": "customer" })
    }

    /// What is wrong with a configuration of these lines beside the contract.
    fn problems(contract: &Value, lines: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("contracts")).unwrap();
        let file = folder.path().join("contracts/crm.v2.json");
        std::fs::write(file, contract.to_string()).unwrap();
        let text = format!("{REST}{lines}");
        let read = Config::parse(&text, folder.path(), &|_: &str| None);
        read.err()
            .map_or(String::new(), |problems| problems.to_string())
    }

    #[test]
    fn the_file_is_of_the_version_that_the_target_serves() {
        assert_eq!(problems(&contract(), ""), "");
        let mut other = contract();
        other["version"] = json!(1);
        let told = problems(&other, "");
        assert!(
            told.contains("5:24: targets.crm.contract.version: "),
            "{told}"
        );
        assert!(
            told.contains("crm.v2.json` holds version 1, not 2"),
            "{told}"
        );
        assert!(
            told.contains("version 1 of the contract `crm`: call it `crm.v1.json`"),
            "{told}"
        );
        other = contract();
        other["name"] = json!("sales");
        let told = problems(&other, "");
        assert!(
            told.contains("5:36: targets.crm.contract.schema: "),
            "{told}"
        );
        assert!(
            told.contains("of the contract `sales`: call it `sales.v2.json`"),
            "{told}"
        );
    }

    #[test]
    fn every_fault_of_the_file_is_told() {
        let mut wrong = contract();
        wrong["entities"]["customer"]["operations"] = json!(["updat"]);
        wrong["entities"]["account"]["schema"] = json!({ "type": "strng" });
        let told = problems(&wrong, "");
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.contains("crm.v2.json#/entities/customer/operations/0: \"updat\" is no"));
        assert!(told.contains("crm.v2.json#/entities/account/schema/type: it is no JSON Schema"));
    }

    #[test]
    fn what_no_event_could_do_is_refused_in_to() {
        for (entry, expected) in [
            ("", ""),
            (", entity = \"customer\", operation = \"upsert\"", ""),
            (
                ", operation = \"merge\"",
                "9:37: pipelines.p.to[0].operation: target `crm`: contract crm v2, entity `customer`: \
                 `merge` is none of its operations: upsert",
            ),
            (
                ", entity = \"note\"",
                "9:34: pipelines.p.to[0].entity: target `crm`: contract crm v2 has no entity `note`",
            ),
            (
                ", entity = \"account\"",
                "9:7: pipelines.p.to[0]: target `crm`: contract crm v2, entity `account`: its etag is \
                 required",
            ),
        ] {
            let told = problems(
                &contract(),
                &format!("to = [{{ target = \"crm\"{entry} }}]\n"),
            );
            assert!(told.contains(expected), "{entry}: {told}");
            assert_eq!(told.is_empty(), expected.is_empty(), "{entry}: {told}");
        }
    }
}
