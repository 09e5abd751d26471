//! `syncline test`: a plugin's cases, in the real host.

use super::build;
use super::case::Case;
use super::component::{self, Lone};
use super::failure::{Exit, Failure};
use super::print::Printer;
use super::project::Project;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use std::path::{Path, PathBuf};
use syncline::plugin::{Component, Engine};

/// Run a plugin's cases offline in the real host
///
/// Builds the project first, then runs each file of `cases/` in an instance of its own: its events
/// in order, with its `config`, and with `entities`, `state` and `secrets` in memory. The verdicts
/// are compared with `expect`; a difference is shown and the exit code is 1, as it is when there is
/// no case.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plugin project, or a component with a `cases` folder beside it
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    path: PathBuf,

    /// Print one JSON object per case
    #[arg(long)]
    json: bool,
}

/// How one case ended.
#[derive(Debug, Serialize)]
struct Report {
    case: String,
    file: PathBuf,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<Value>,
}

/// Builds, runs the cases, compares.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let (file, folder) = component_and_cases(&args.path).await?;
    let files = case_files(&folder)?;
    let engine = component::engine()?;
    let component = component::load(&engine, &file).await?;
    let mut n_failed = 0_usize;
    for file in &files {
        let report = run(&engine, &component, file).await;
        n_failed += usize::from(!report.ok);
        if args.json {
            printer.json(&report)?;
        } else {
            show(&report, printer)?;
        }
    }
    if !args.json {
        let (n_cases, n_ok) = (files.len(), files.len() - n_failed);
        let cases = if n_cases == 1 { "case" } else { "cases" };
        printer.line(&format!("{n_cases} {cases}: {n_ok} ok, {n_failed} failed"))?;
    }
    Ok(if n_failed == 0 {
        Exit::Fine
    } else {
        Exit::NotFine
    })
}

/// The component under test and the folder of its cases.
async fn component_and_cases(path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    if path.is_dir() {
        let project = Project::at(path)?;
        let file = project.component()?;
        build::build(&project, &file).await?;
        return Ok((file, path.join("cases")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok((path.to_owned(), folder.join("cases")))
}

fn case_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failure = || {
        Failure::new(format!("no case to run in `{}`", folder.display())).remedy(
            "write one: { \"event\": {..}, \"expect\": [{ \"verdict\": \"drop\", .. }] }; \
             `syncline call` prints verdicts to start from",
        )
    };
    let entries = std::fs::read_dir(folder).map_err(|error| failure().because(error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failure().because(error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        Err(failure().into())
    } else {
        Ok(files)
    }
}

async fn run(engine: &Engine, component: &Component, file: &Path) -> Report {
    let mut report = Report {
        case: file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        file: file.to_owned(),
        ok: false,
        error: None,
        expected: None,
        actual: None,
    };
    let result = match Case::read(file) {
        Ok(case) => {
            report.case = case.name.clone().unwrap_or(report.case);
            let verdicts = verdicts(engine, component, &case).await;
            verdicts.map(|verdicts| (case.expect, verdicts))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok((expected, actual)) if expected == actual => report.ok = true,
        Ok((expected, actual)) => {
            report.expected = Some(expected.into());
            report.actual = Some(actual.into());
        }
        Err(error) => report.error = Some(super::failure::explain(&error)),
    }
    report
}

/// What the plugin says about the events of a case, in order.
async fn verdicts(
    engine: &Engine,
    component: &Component,
    case: &Case,
) -> anyhow::Result<Vec<Value>> {
    let envelopes = case.envelopes()?;
    let plugin = Lone::start(engine, component, case.world()).await?;
    let mut verdicts = Vec::with_capacity(envelopes.len());
    for envelope in &envelopes {
        let answer = plugin.answer(envelope, case.attempt()).await?;
        verdicts.push(serde_json::to_value(answer)?);
    }
    Ok(verdicts)
}

fn show(report: &Report, printer: &Printer) -> anyhow::Result<()> {
    if report.ok {
        return printer.line(&format!("ok      {}", report.case));
    }
    printer.line(&format!(
        "failed  {}  ({})",
        report.case,
        report.file.display()
    ))?;
    if let Some(error) = &report.error {
        return printer.text(error);
    }
    let pretty = |value: &Option<Value>| format!("{:#}\n", value.as_ref().unwrap_or(&Value::Null));
    let (expected, actual) = (pretty(&report.expected), pretty(&report.actual));
    let diff = TextDiff::from_lines(&expected, &actual);
    let unified = diff.unified_diff().header("expected", "actual").to_string();
    printer.diff(&unified)
}
