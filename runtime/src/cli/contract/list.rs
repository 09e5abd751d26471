//! `syncline contract list`: which target serves what.

use super::super::connection::ConfigArgs;
use super::super::failure::Exit;
use super::super::print::{Printer, cell};
use serde::Serialize;
use syncline::config::Config;

const COLUMNS: [&str; 4] = ["target", "contract", "version", "entities"];

/// List which targets serve which versions of which contracts
///
/// Reads the configuration and the contracts that it names, and connects to nothing. Targets without
/// a contract are left out.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Print one JSON object per target and version
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Served<'a> {
    target: &'a str,
    contract: &'a str,
    version: u32,
    entities: Vec<Kind<'a>>,
}

#[derive(Debug, Serialize)]
struct Kind<'a> {
    entity: &'a str,
    operations: Vec<&'static str>,
    etag: &'static str,
}

pub(super) fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let served = served(&config);
    if args.json {
        served.iter().try_for_each(|one| printer.json(one))?;
    } else if served.is_empty() {
        printer.line("no contracts")?;
    } else {
        let rows: Vec<_> = served.iter().map(row).collect();
        printer.table(&COLUMNS, &rows)?;
    }
    Ok(Exit::Fine)
}

fn served(config: &Config) -> Vec<Served<'_>> {
    let with = config.targets.iter().filter_map(|target| {
        let contract = target.contract.as_ref()?;
        let entities = contract.entities().map(|(entity, said)| Kind {
            entity,
            operations: said.operations.iter().map(|verb| verb.as_str()).collect(),
            etag: said.etag.as_str(),
        });
        Some(Served {
            target: &target.name,
            contract: contract.name(),
            version: contract.version(),
            entities: entities.collect(),
        })
    });
    with.collect()
}

fn row(served: &Served<'_>) -> Vec<String> {
    let entities = served.entities.iter().map(|kind| kind.entity);
    vec![
        served.target.to_owned(),
        served.contract.to_owned(),
        served.version.to_string(),
        cell(&entities.collect::<Vec<_>>().join(", ")),
    ]
}
