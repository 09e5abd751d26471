//! The `syncline` binary as a user meets it: arguments and stdin in, text and an exit code out.

use crate::harness::binary;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run of the binary said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `syncline ARGS` in `dir`. Nothing of our own environment but what finds programs gets through.
pub(crate) fn command<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(binary());
    command.args(args).current_dir(dir).env("NO_COLOR", "1");
    for ours in ["NATS_URL", "RUST_LOG", "SYNCLINE_NATS_SERVER", "COLUMNS"] {
        command.env_remove(ours);
    }
    command
}

/// Runs it with `stdin` to its end.
pub(crate) fn run(mut command: Command, stdin: &str) -> Said {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("syncline starts");
    let mut input = child.stdin.take().expect("its stdin is a pipe");
    let stdin = stdin.to_owned();
    // Aside, since it may answer before it has read everything. It may also not want to read.
    let writer = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || drop(input.write_all(stdin.as_bytes())))
        .expect("a thread starts");
    let output = child.wait_with_output().expect("syncline ends");
    writer.join().expect("stdin was written");
    Said::of(&output)
}

/// `syncline ARGS` in an empty folder.
pub(crate) fn syncline(args: &[&str]) -> Said {
    let dir = tempfile::tempdir().expect("a temporary folder");
    run(command(dir.path(), args.iter().copied()), "")
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, when it ended well.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// All of it as one text, for snapshots.
    pub(crate) fn whole(&self) -> String {
        let mut text = format!("exit code {}\n", self.code);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text.push_str(&format!("--- {name}\n{}\n", stream.trim_end()));
            }
        }
        text
    }
}

/// Every command and subcommand, as words: `["dlq", "list"]`; first none, for `syncline` itself.
pub(crate) fn every_command() -> Vec<Vec<String>> {
    let mut found = vec![vec![]];
    let mut next = 0;
    while let Some(words) = found.get(next).cloned() {
        next += 1;
        let help = help(&words);
        let names = below(&help, "Commands:");
        let names = names.filter_map(|line| line.strip_prefix("  "));
        let names = names.filter(|line| !line.starts_with(' '));
        let names = names.filter_map(|line| line.split_whitespace().next());
        for name in names.filter(|name| *name != "help") {
            let deeper = words.iter().cloned().chain([name.to_owned()]);
            found.push(deeper.collect());
        }
    }
    found
}

/// What `syncline WORDS --help` prints.
pub(crate) fn help(words: &[String]) -> String {
    let args = words.iter().map(String::as_str).chain(["--help"]);
    syncline(&args.collect::<Vec<_>>()).fine()
}

/// The lines of a help text below `heading`.
pub(crate) fn below<'a>(help: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading);
    lines
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
}
