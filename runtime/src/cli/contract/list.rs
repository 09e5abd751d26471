//! `syncline contract list`: which target serves what.

use super::super::connection::{ConfigArgs, connect};
use super::super::failure::Exit;
use super::super::print::{Printer, cell};
use serde::Serialize;
use syncline::config::Config;
use syncline::contract::{Contract, Retirement};
use syncline::control::{self, ContractUse, RuntimeStatus};

const COLUMNS: [&str; 6] = [
    "target", "contract", "version", "entities", "until", "used by",
];

/// List which targets serve which versions of which contracts
///
/// Reads the configuration and the contracts that it names, and connects to nothing unless `--connect` is given.
/// Targets without a contract are left out.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Ask the runtimes who uses what: plugins by their manifests, tokens since the runtimes started
    #[arg(long)]
    connect: bool,

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
    /// The plugin that adapts; none: the target holds this version.
    adapter: Option<&'a str>,
    deprecated: Option<String>,
    sunset: Option<String>,
    /// None: nobody was asked.
    uses: Option<Vec<ContractUse>>,
}

#[derive(Debug, Serialize)]
struct Kind<'a> {
    entity: &'a str,
    operations: Vec<&'static str>,
    etag: &'static str,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let mut served = served(&config);
    if args.connect {
        let client = connect(&config.nats).await?;
        let runtimes = control::ask(&client).await?;
        note_uses(&mut served, &runtimes);
        if runtimes.is_empty() {
            printer.note("no runtime answers: nobody knows who uses what");
        }
    }
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
    let mut all = Vec::new();
    for target in &config.targets {
        let Some(own) = &target.contract else {
            continue;
        };
        all.push(Served::of(&target.name, own));
        for beside in &target.versions {
            let Retirement { deprecated, sunset } = beside.retirement;
            all.push(Served {
                adapter: Some(&beside.adapter),
                deprecated: deprecated.map(|date| date.to_string()),
                sunset: sunset.map(|date| date.to_string()),
                ..Served::of(&target.name, &beside.contract)
            });
        }
    }
    all
}

impl<'a> Served<'a> {
    fn of(target: &'a str, contract: &'a Contract) -> Self {
        let entities = contract.entities().map(|(entity, said)| Kind {
            entity,
            operations: said.operations.iter().map(|verb| verb.as_str()).collect(),
            etag: said.etag.as_str(),
        });
        Self {
            target,
            contract: contract.name(),
            version: contract.version(),
            entities: entities.collect(),
            adapter: None,
            deprecated: None,
            sunset: None,
            uses: None,
        }
    }

    /// How long it is served.
    fn until(&self) -> String {
        match (&self.deprecated, &self.sunset) {
            (None, None) => String::new(),
            (Some(since), None) => format!("deprecated since {since}"),
            (_, Some(sunset)) => sunset.clone(),
        }
    }

    /// Who uses it, each once over all runtimes.
    fn users(&self) -> String {
        let Some(uses) = &self.uses else {
            return String::new();
        };
        let mut users: Vec<_> = uses.iter().map(|used| used.by.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        users.join(", ")
    }
}

fn note_uses(served: &mut [Served<'_>], runtimes: &[RuntimeStatus]) {
    for one in served {
        let all = runtimes.iter().flat_map(|runtime| &runtime.contracts);
        let of_it = all.filter(|used| used.target == one.target && used.version == one.version);
        one.uses = Some(of_it.cloned().collect());
    }
}

fn row(served: &Served<'_>) -> Vec<String> {
    let entities = served.entities.iter().map(|kind| kind.entity);
    vec![
        served.target.to_owned(),
        served.contract.to_owned(),
        served.version.to_string(),
        cell(&entities.collect::<Vec<_>>().join(", ")),
        served.until(),
        cell(&served.users()),
    ]
}
