//! Everything that reaches the terminal: results to stdout, notes and errors to stderr.

use super::environment;
use super::failure::explain;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// The longest text in one cell of a table.
const LONGEST_CELL: usize = 60;

/// The way to stdout and stderr.
#[derive(Debug)]
pub(super) struct Printer {
    colour: bool,
}

/// Whoever read our stdout has gone away; nothing is wrong with us.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
struct ReaderGone;

/// Whether an error only says that nobody reads our output any more, as in `syncline .. | head`.
pub(super) fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>()
}

impl Printer {
    /// A printer that colours diffs when stdout is a terminal and `NO_COLOR` is not set.
    pub(super) fn new() -> Self {
        Self {
            colour: io::stdout().is_terminal() && !environment::no_color(),
        }
    }

    /// One line of a result.
    pub(super) fn line(&self, text: &str) -> anyhow::Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// A result as it is.
    pub(super) fn text(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(output_error)
    }

    /// One value as one line of JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// A table: a header and rows of as many cells.
    pub(super) fn table<H: ToString>(
        &self,
        header: &[H],
        rows: &[Vec<String>],
    ) -> anyhow::Result<()> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header.iter().map(ToString::to_string));
        for row in rows {
            table.add_row(row);
        }
        let text: Vec<_> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        self.line(&text.join("\n"))
    }

    /// A unified diff, removed lines red and added ones green where colour is wanted.
    pub(super) fn diff(&self, diff: &str) -> anyhow::Result<()> {
        if !self.colour {
            return self.text(diff);
        }
        for line in diff.lines() {
            match line.chars().next() {
                Some('-') => self.line(&format!("\x1b[31m{line}\x1b[0m"))?,
                Some('+') => self.line(&format!("\x1b[32m{line}\x1b[0m"))?,
                _ => self.line(line)?,
            }
        }
        Ok(())
    }

    /// Something to know that is no part of the result. Lost when nobody reads stderr.
    pub(super) fn note(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _nobody_reads = writeln!(stderr, "{text}");
    }

    /// An error with its causes and what to do about it.
    pub(super) fn error(&self, error: &anyhow::Error) {
        let mut stderr = io::stderr().lock();
        let _nobody_reads = stderr.write_all(explain(error).as_bytes());
    }

    /// A counter of work done, shown on a terminal only.
    pub(super) fn progress(&self, what: &'static str) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg} ({per_sec})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// A buffered way to stdout for answers that stream.
pub(super) struct Stream(io::BufWriter<io::Stdout>);

impl Stream {
    /// A stream to stdout.
    pub(super) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout()))
    }

    /// One value as one line of JSON, not flushed.
    pub(super) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.0.write_all(&line).map_err(output_error)
    }

    /// Hands on what is written so far.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.0.flush().map_err(output_error)
    }
}

fn output_error(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return ReaderGone.into();
    }
    anyhow::Error::new(error).context("cannot write to stdout")
}

/// A text as one cell: one line, not longer than a terminal can show.
pub(super) fn cell(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST_CELL {
        return line.to_owned();
    }
    line.chars().take(LONGEST_CELL).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(cell("a\nb"), "a");
        assert_eq!(cell(&"x".repeat(61)).chars().count(), 61);
        assert_eq!(cell(""), "");
    }
}
