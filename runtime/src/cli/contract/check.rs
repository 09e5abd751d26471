//! `syncline contract check`: whether a later version of a contract breaks those who keep to an
//! earlier one.

use super::super::failure::{Exit, Failure};
use super::super::print::Printer;
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};
use syncline::contract::{Contract, Finding, Place, compare};

/// Tell what a later file of a contract breaks for those who keep to an earlier one
///
/// Writers (plugins, routes) go on sending what OLD allowed: NEW has to allow it. Readers (lookups,
/// other modules) go on expecting what OLD allowed: NEW must not allow anything else, but for
/// members and entities that they do not know. Prints every difference with its place. Exit code 1
/// when one of them breaks somebody; 2 when a file is no contract.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The earlier file
    old: PathBuf,

    /// The later file
    new: PathBuf,

    /// Ask about one party only
    #[arg(long = "for", value_name = "PARTY")]
    party: Option<Party>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Party {
    Writers,
    Readers,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    old: &'a Path,
    new: &'a Path,
    compatible: bool,
    findings: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    file: &'static str,
    path: &'a str,
    change: &'a str,
    breaks: Vec<&'static str>,
    message: &'a str,
}

pub(super) fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let mut found = compare(&old, &new);
    found.retain(|finding| args.means(finding));
    let n_breaking = found.iter().filter(|it| it.is_breaking()).count();
    if args.json {
        printer.json(&Report {
            old: &args.old,
            new: &args.new,
            compatible: n_breaking == 0,
            findings: found.iter().map(row).collect(),
        })?;
    } else {
        for finding in &found {
            printer.line(&args.line(finding))?;
        }
        printer.line(&summary(n_breaking, found.len()))?;
    }
    Ok(match n_breaking {
        0 => Exit::Fine,
        _ => Exit::NotFine,
    })
}

fn load(file: &Path) -> anyhow::Result<Contract> {
    Contract::load(file).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let failure = Failure::new(format!("cannot read the contract `{}`", file.display()));
        let failure = failure.why(faults.join("\n"));
        let remedy = "correct the file: docs/contracts.md says what a contract holds";
        failure.remedy(remedy).usage().into()
    })
}

impl Args {
    /// Whether a finding is about the party that is asked about, or about nobody.
    fn means(&self, finding: &Finding) -> bool {
        let concerned = match self.party {
            None => true,
            Some(Party::Writers) => finding.breaks_writers,
            Some(Party::Readers) => finding.breaks_readers,
        };
        concerned || !finding.is_breaking()
    }

    fn line(&self, finding: &Finding) -> String {
        let (file, at) = match &finding.place {
            Place::Old(at) => (&self.old, at),
            Place::New(at) => (&self.new, at),
        };
        let verdict = match finding.is_breaking() {
            true => format!("breaks {}", finding.breaks().join(" and ")),
            false => "compatible".to_owned(),
        };
        format!("{}#{at}: {verdict}: {}", file.display(), finding.message)
    }
}

fn row(finding: &Finding) -> Row<'_> {
    let (file, path) = match &finding.place {
        Place::Old(at) => ("old", at),
        Place::New(at) => ("new", at),
    };
    Row {
        file,
        path,
        change: finding.change,
        breaks: finding.breaks(),
        message: &finding.message,
    }
}

fn summary(n_breaking: usize, n_found: usize) -> String {
    match (n_breaking, n_found) {
        (0, 0) => "compatible: no differences".to_owned(),
        (0, 1) => "compatible: 1 difference".to_owned(),
        (0, _) => format!("compatible: {n_found} differences"),
        (_, 1) => "breaking: 1 difference".to_owned(),
        (_, _) => format!("breaking: {n_breaking} of {n_found} differences"),
    }
}
