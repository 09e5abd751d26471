//! `syncline tx list`: what has not ended.

use super::super::connection::NatsArgs;
use super::super::failure::Exit;
use super::super::print::{Printer, cell};
use super::word;
use syncline::txn::{State, TransactionSummary};

const COLUMNS: [&str; 6] = ["gid", "since", "state", "pipeline", "key", "targets"];

/// List the transactions that have not ended, oldest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    nats: NatsArgs,

    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,

    /// Those as well that ended, as long as the log keeps them: a minute, a week where somebody
    /// resolved them
    #[arg(long)]
    ended: bool,

    /// Print one JSON object per transaction
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(args: &Args, printer: &Printer) -> anyhow::Result<Exit> {
    super::with_transactions(&args.nats, async |transactions| {
        let mut found = match transactions {
            Some(transactions) => transactions.list().await?,
            None => Vec::new(),
        };
        found.retain(|summary| args.means(summary));
        print(&found, args.json, printer)?;
        Ok(Exit::Fine)
    })
    .await
}

impl Args {
    fn means(&self, summary: &TransactionSummary) -> bool {
        let is_open = matches!(summary.state, State::Preparing | State::Heuristic);
        let pipeline = self.pipeline.as_ref();
        (is_open || self.ended) && pipeline.is_none_or(|name| *name == summary.pipeline)
    }
}

fn print(found: &[TransactionSummary], json: bool, printer: &Printer) -> anyhow::Result<()> {
    if json {
        return found.iter().try_for_each(|summary| printer.json(summary));
    }
    if found.is_empty() {
        return printer.line("no transactions");
    }
    let rows: Vec<_> = found.iter().map(row).collect();
    printer.table(&COLUMNS, &rows)
}

fn row(summary: &TransactionSummary) -> Vec<String> {
    vec![
        // It is what `tx show` asks for, so it is never cut.
        summary.gid.clone(),
        summary.since.clone(),
        word(summary.state).to_owned(),
        summary.pipeline.clone(),
        cell(&summary.key),
        cell(&summary.targets.join(", ")),
    ]
}
