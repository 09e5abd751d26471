//! `syncline inspect`: what a component is and what it wants.

use super::component;
use super::failure::Exit;
use super::print::Printer;
use bytesize::ByteSize;
use serde::Serialize;
use std::path::{Path, PathBuf};
use syncline::plugin::{Component, Grants, Manifest};

/// Show what a component is: contract version, manifest, imports, size, digest, grants it wants
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    /// Version of the WIT package that it was built against.
    world: &'a str,
    size: usize,
    digest: &'a str,
    manifest: &'a Manifest,
    imports: &'a [String],
    wants: Wants,
}

/// The grants that its manifest asks for, by configuration key.
#[derive(Debug, Serialize)]
struct Wants {
    lookup: Vec<String>,
    secrets: Vec<String>,
    state: bool,
    http: Vec<String>,
}

/// Loads the component and describes it.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let engine = component::engine()?;
    let component = component::load(&engine, &args.file).await?;
    let report = Report::of(&args.file, &component);
    if args.json {
        printer.json(&report)?;
    } else {
        printer.text(&report.text())?;
    }
    Ok(Exit::Fine)
}

impl<'a> Report<'a> {
    fn of(file: &'a Path, component: &'a Component) -> Self {
        let Grants {
            lookup,
            secrets,
            state,
            http: _,
        } = Grants::all_of(component.manifest());
        let hosts = component.manifest().hosts().map(str::to_owned);
        Self {
            file,
            world: component.world_version(),
            size: component.size(),
            digest: component.digest(),
            manifest: component.manifest(),
            imports: component.imports(),
            wants: Wants {
                lookup,
                secrets,
                state,
                http: hosts.collect(),
            },
        }
    }

    fn text(&self) -> String {
        let manifest = self.manifest;
        let size = u64::try_from(self.size).unwrap_or(u64::MAX);
        let accepts = if manifest.accepts.is_empty() {
            "every event type".to_owned()
        } else {
            manifest.accepts.join(", ")
        };
        let mut rows = vec![
            ("name", format!("{} {}", manifest.name, manifest.version)),
            ("description", manifest.description.clone()),
            ("contract", format!("syncline:plugin@{}", self.world)),
            ("size", ByteSize(size).to_string()),
            ("digest", format!("sha256:{}", self.digest)),
            ("accepts", accepts),
            ("writes to", manifest.targets.join(", ")),
            ("wants", self.wants.grants()),
            ("imports", self.imports.join("\n")),
        ];
        // Hosts stand in what it wants.
        let others = manifest
            .attributes
            .iter()
            .filter(|(name, _)| name != "http");
        for (name, value) in others {
            rows.push((name, value.clone()));
        }
        if let Some(schema) = &manifest.config_schema {
            rows.push(("config", pretty(schema)));
        }
        rows.iter()
            .map(|(label, value)| block(label, value))
            .collect()
    }
}

impl Wants {
    /// As it would stand in the configuration.
    fn grants(&self) -> String {
        let list = |key: &str, names: &[String]| {
            let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            (!names.is_empty()).then(|| format!("{key} = [{}]", quoted.join(", ")))
        };
        let state = self.state.then(|| "state = true".to_owned());
        let lists = [
            list("lookup", &self.lookup),
            list("secrets", &self.secrets),
            state,
            list("http", &self.http),
        ];
        let wanted: Vec<_> = lists.into_iter().flatten().collect();
        if wanted.is_empty() {
            return "nothing".to_owned();
        }
        format!("grants = {{ {} }}", wanted.join(", "))
    }
}

/// The schema indented where it is JSON.
fn pretty(schema: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(schema);
    parsed.map_or_else(|_| schema.to_owned(), |value| format!("{value:#}"))
}

/// A label and its value, further lines below the first; nothing for an empty value.
fn block(label: &str, value: &str) -> String {
    let line = |(index, line): (usize, &str)| {
        let label = if index == 0 { label } else { "" };
        format!("{label:<13}{line}\n")
    };
    value.lines().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_are_written_as_the_configuration_would_grant_them() {
        let mut wants = Wants {
            lookup: vec![],
            secrets: vec![],
            state: false,
            http: vec![],
        };
        assert_eq!(wants.grants(), "nothing");
        wants.lookup = vec!["crm".into(), "billing".into()];
        wants.state = true;
        wants.http = vec!["api.example.com".into()];
        assert_eq!(
            wants.grants(),
            r#"grants = { lookup = ["crm", "billing"], state = true, http = ["api.example.com"] }"#
        );
    }

    #[test]
    fn values_of_several_lines_stay_in_their_column() {
        assert_eq!(block("imports", "a\nb"), "imports      a\n             b\n");
        assert_eq!(block("writes to", ""), "");
    }
}
