//! `syncline diff`: whether one target holds what another one says that it should.

use super::connection::{self, ConfigArgs};
use super::failure::{Exit, Failure};
use super::print::Printer;
use super::run;
use super::telling::TellingArgs;
use indicatif::ProgressBar;
use serde::Serialize;
use syncline::app::{self, Drift, DriftFailure};
use syncline::drift::{Difference, DriftError, Outcome, Report, Step, What};

/// Compare what two targets hold, through a plugin that maps one onto the other
///
/// Every entity of TARGET_A is given to the plugin as an event; its effects say what TARGET_B should
/// hold. What differs is read again from both before it is told. Exit code 1 when something differs
/// (after --repair: still differs), 2 when they cannot be compared.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The target whose entities say what should be
    #[arg(value_name = "TARGET_A")]
    from: String,

    /// The target that should hold it
    #[arg(value_name = "TARGET_B")]
    onto: String,

    #[command(flatten)]
    config: ConfigArgs,

    /// The plugin that says what comes of an entity [default: the entity itself]
    #[arg(long, value_name = "PLUGIN")]
    via: Option<String>,

    #[command(flatten)]
    telling: TellingArgs,

    /// Look for this kind of entity in TARGET_B; repeatable [default: the kinds that the mapping
    /// writes]
    #[arg(long = "into", value_name = "KIND")]
    into: Vec<String>,

    /// Change in TARGET_B what is missing or another, unless somebody changes it meanwhile
    #[arg(long)]
    repair: bool,

    /// With --repair, also delete what nothing in TARGET_A comes to
    #[arg(long, requires = "repair")]
    delete: bool,

    /// List at most so many differences
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    from: &'a str,
    onto: &'a str,
    in_step: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Compares and reports.
pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let wanted = Drift {
        telling: args.telling.of(&args.from),
        entity: args.telling.entity.clone(),
        onto: args.onto.clone(),
        into: args.into.clone(),
        via: args.via.clone(),
        folder: std::env::temp_dir(),
        limit: args.limit,
        repair: args.repair,
        delete: args.delete,
    };
    let bar = match args.json {
        true => ProgressBar::hidden(),
        false => printer.progress("entities"),
    };
    let show = |step| advance(&bar, step);
    let report = app::drift(&config, &run::options(), &wanted, &show).await;
    bar.finish_and_clear();
    let report = report.map_err(|error| failed(args, error))?;
    print(args, &report, printer)?;
    Ok(match report.is_in_step() {
        true => Exit::Fine,
        false => Exit::NotFine,
    })
}

fn advance(bar: &ProgressBar, step: Step) {
    let (what, n) = match step {
        Step::Told(n) => ("entities told", n),
        Step::Read(n) => ("entities of the other side read", n),
        Step::Compared(n) => ("entities compared", n),
    };
    if bar.message() != what {
        bar.reset();
        bar.set_message(what);
    }
    bar.inc(n);
}

fn failed(args: &Args, error: DriftFailure) -> anyhow::Error {
    let attempted = format!("cannot compare `{}` and `{}`", args.from, args.onto);
    let failure = || Failure::new(attempted.clone());
    match error {
        DriftFailure::App(error) => match connection::failed(error) {
            Ok(failure) => failure.into(),
            Err(error) => failure().because(error).usage().into(),
        },
        DriftFailure::Drift(error) => {
            let is_away = matches!(error, DriftError::Unavailable(_));
            let failure = failure().because(error);
            match is_away {
                true => failure.unreachable().into(),
                false => failure.usage().into(),
            }
        }
    }
}

fn print(args: &Args, report: &Report, printer: &Printer) -> anyhow::Result<()> {
    if args.json {
        return printer.json(&Told {
            from: &args.from,
            onto: &args.onto,
            in_step: report.is_in_step(),
            report,
        });
    }
    for difference in &report.differences {
        printer.line(&line(difference))?;
    }
    let n_found = report.missing + report.changed + report.surplus + report.unfit;
    let n_listed = u64::try_from(report.differences.len())?;
    if n_found > n_listed && n_listed > 0 {
        printer.line(&format!("and {} more", n_found - n_listed))?;
    }
    printer.line(&summary(args, report))
}

fn line(difference: &Difference) -> String {
    let word = match difference.what {
        What::Missing => "missing",
        What::Changed => "changed",
        What::Surplus => "surplus",
        What::Unfit => "unfit  ",
    };
    let key = difference.key.escape_debug();
    let name = match &difference.entity {
        Some(entity) => format!("{}/{key}", entity.escape_debug()),
        None => key.to_string(),
    };
    let mut line = format!("{word}  {name}");
    if !difference.at.is_empty() {
        line.push_str(&format!("  at {}", difference.at.join(", ")));
    }
    let outcome = match difference.outcome {
        Some(Outcome::Repaired) => "  repaired",
        Some(Outcome::Overtaken) => "  changed meanwhile, left as it is",
        Some(Outcome::Failed) => "  not repaired",
        Some(Outcome::Left) | None => "",
    };
    line.push_str(outcome);
    if let Some(why) = &difference.why {
        line.push_str(&format!(": {}", why.escape_debug()));
    }
    line
}

fn summary(args: &Args, report: &Report) -> String {
    let mut parts = vec![format!("{} as they should be", report.same)];
    let counts = [
        (report.missing, "missing"),
        (report.changed, "changed"),
        (report.surplus, "surplus"),
        (report.unfit, "unfit"),
        (report.repaired, "repaired"),
        (report.overtaken, "changed meanwhile"),
        (report.failed, "not repaired"),
        (report.records, "records not compared"),
        (report.elsewhere, "effects on other targets"),
        (report.unseen, "not accepted by the plugin"),
        (report.nameless, "under names that no key has"),
    ];
    let said = counts.iter().filter(|(n, _)| *n > 0);
    parts.extend(said.map(|(n, what)| format!("{n} {what}")));
    format!("{} -> {}: {}", args.from, args.onto, parts.join(", "))
}
