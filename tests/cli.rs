//! Every command as its user meets it: help, results, errors, exit codes. The snapshots are the
//! promise; they change only with the behaviour.

pub(crate) mod command;

use crate::harness::{Ce, TestEnv, check_law, eventually, guests};
use async_nats::HeaderMap;
use command::{Said, command, every_command, help, run, syncline};
use serde_json::{Value, json};
use std::path::Path;

/// A port that nobody listens on.
const NOBODY: &str = "nats://127.0.0.1:1";

/// What differs from run to run, and from one Rust to the next: places, times, digests, sizes, which
/// parts of WASI the standard library names.
const FILTERS: [(&str, &str); 10] = [
    // Of a letter that holds its key: which copy of the event it is about.
    (
        r"(\b[a-z]+\.[A-Za-z0-9_-]{43})\.[A-Za-z0-9_-]{8}",
        "$1.[copy]",
    ),
    (r"[0-9a-f]{64}", "[digest]"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]"),
    // As wide as the longest in its column.
    (r"\[time\] {2,}", "[time]  "),
    // The column is as wide as the time is exact.
    (r"\bat +reason", "at  reason"),
    (r"127\.0\.0\.1:\d{5}", "127.0.0.1:[port]"),
    (r#"("stream_created"): \d{19}"#, "$1: [nanoseconds]"),
    (r"\d+(\.\d+)? [KM]iB", "[size]"),
    (
        r"( +wasi:[a-z]+/[a-z-]+@0\.2\.\d+\n)+",
        "             [wasi]\n",
    ),
    (r"[ \t]+\n", "\n"),
];

macro_rules! assert_said {
    ($name:expr, $text:expr) => {
        insta::with_settings!({ filters => FILTERS, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

/// `syncline ARGS` in `dir`, with the guests' files in its environment.
pub(crate) fn in_dir(dir: &Path, args: &[&str], stdin: &str) -> Said {
    let mut command = command(dir, args.iter().copied());
    command.envs(guests::all());
    command.env("SYNCLINE_CACHE", &*TestEnv::cache());
    run(command, stdin)
}

#[test]
fn help_of_every_command() {
    let commands = every_command();
    assert!(commands.len() > 12, "{commands:?}");
    for words in commands {
        let name = [&["help".to_owned()], words.as_slice()].concat().join("-");
        assert_said!(name, help(&words));
    }
}

#[test]
fn a_command_that_does_not_exist_is_a_usage_error() {
    let said = syncline(&["vallidate"]);
    assert_eq!(said.code, 2);
    assert_said!("unknown-command", said.whole());
    let said = syncline(&["inspect"]);
    assert_eq!(said.code, 2);
    assert_said!("missing-argument", said.whole());
}

#[test]
fn the_version_is_printed() {
    let version = syncline(&["--version"]).fine();
    assert_eq!(version, format!("syncline {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_missing_configuration_says_how_to_make_one() {
    for command in ["run", "dev"] {
        let said = syncline(&[command]);
        assert_eq!(said.code, 2);
        assert_said!("missing-config", said.whole());
    }
}

const BROKEN: &str = r#"
[plugins.a]
pth = "a.wasm"

[targets.crm]
kind = "tables"

[pipelines.p]
source = { stream = "S", subjects = ["s.>"] }
stages = ["a", "b"]
to = [{ target = "crn" }]
"#;

#[test]
fn every_problem_of_a_configuration_is_reported_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("syncline.toml"), BROKEN).unwrap();
    let said = in_dir(dir.path(), &["validate"], "");
    assert_eq!(said.code, 1);
    assert_said!("broken-config-validate", said.whole());
    let said = in_dir(dir.path(), &["validate", "--json"], "");
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert!(
        report["problems"].as_array().unwrap().len() >= 4,
        "{report:#}"
    );
    let said = in_dir(dir.path(), &["run"], "");
    assert_eq!(said.code, 2);
    assert_said!("broken-config-run", said.whole());
}

#[test]
fn a_plugin_that_is_none_is_a_problem_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.wasm"), "no component").unwrap();
    let config = r#"
[plugins.text]
path = "text.wasm"

[plugins.picky]
path = "${PICKY}"

[targets.crm]
kind = "kv"
bucket = "crm"

[pipelines.p]
source = { stream = "S", subjects = ["s.>"] }
stages = ["text", "picky"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
"#;
    std::fs::write(dir.path().join("syncline.toml"), config).unwrap();
    let said = in_dir(dir.path(), &["validate"], "");
    assert_eq!(said.code, 1);
    assert_said!("bad-plugins", said.whole());
}

#[test]
fn a_server_that_does_not_answer_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("[nats]\nurl = \"{NOBODY}\"\n");
    std::fs::write(dir.path().join("syncline.toml"), config).unwrap();
    for args in [
        &["send", "a.b"][..],
        &["dlq", "list"],
        &["dlq", "show", "x"],
        &["tx", "list"],
    ] {
        let args = [args, &["--nats", NOBODY]].concat();
        let said = in_dir(dir.path(), &args, "{}\n");
        assert_eq!(said.code, 3, "{args:?}: {said:?}");
        assert_said!("unreachable", said.whole());
    }
    let said = in_dir(dir.path(), &["dlq", "list"], "");
    assert_eq!(said.code, 3, "the server of ./syncline.toml: {said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_dead_letters_no_stream_of_them_is_made() {
    let env = TestEnv::start().await;
    let url = env.nats.url();
    for args in [
        &["list"][..],
        &["replay", "--pipeline", "p"],
        &["purge", "--pipeline", "p"],
    ] {
        let args = [&["dlq"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, "").fine();
    }
    let tx = |args: &[&str]| {
        let args = [&["tx"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, "")
    };
    assert_eq!(tx(&["list"]).fine(), "no transactions\n");
    for args in [&["show", "x"][..], &["resolve", "x", "--as", "done"]] {
        let said = tx(args);
        assert_eq!(said.code, 1);
        assert_said!(format!("tx-{}-none", args[0]), said.whole());
    }
    let said = in_dir(env.folder(), &["dlq", "show", "x", "--nats", &url], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(env.js.get_stream("SYNCLINE_DLQ").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_half_way_is_exit_code_3_and_what_was_done_is_done_once() {
    let env = TestEnv::start().await;
    let config = "[pipelines.p]\nsource = { stream = \"S\", subjects = [\"s.>\"], create = true }\n\
                  guarantee = \"at-least-once\"\n";
    let runtime = env.run(config).await;
    for _ in 0..3 {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents+json");
        env.publish("s.a", headers, "nonsense".into()).await;
    }
    runtime.settled("p", 3).await;
    check_law(&runtime.drain().await);
    let (url, folder) = (env.nats.url(), env.folder().to_owned());
    let replay = move || {
        let args = [
            "dlq",
            "replay",
            "--pipeline",
            "p",
            "--rate",
            "1",
            "--json",
            "--nats",
            &url,
        ];
        in_dir(&folder, &args, "")
    };
    let half = tokio::task::spawn_blocking(replay.clone());
    eventually("the first is replayed", async || {
        env.n_messages("SYNCLINE_DLQ").await == 4
    })
    .await;
    env.nats.kill();
    let said = half.await.unwrap();
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.stderr.contains("NATS does not answer any more"),
        "{said:?}"
    );
    env.nats.restart().await;
    let said = tokio::task::spawn_blocking(replay).await.unwrap().fine();
    let tally: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(tally["replayed"], 2, "{tally}");
    assert_eq!(env.n_messages("SYNCLINE_DLQ").await, 6);
}

#[test]
fn run_without_a_server_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[nats]\nurl = \"{NOBODY}\"\n\
         [pipelines.p]\nsource = {{ stream = \"S\", subjects = [\"s\"] }}\n\
         guarantee = \"at-least-once\"\n"
    );
    std::fs::write(dir.path().join("syncline.toml"), config).unwrap();
    let said = in_dir(dir.path(), &["run"], "");
    assert_eq!(said.code, 3, "{said:?}");
    assert_said!("unreachable-run", said.whole());
}

#[test]
fn inspect_says_why_a_file_is_no_plugin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.wasm"), "no component").unwrap();
    std::fs::write(dir.path().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::copy(
        guests::file("OLDER_CONTRACT"),
        dir.path().join("older.wasm"),
    )
    .unwrap();
    for (file, name) in [
        ("text.wasm", "inspect-text"),
        ("module.wasm", "inspect-module"),
        ("older.wasm", "inspect-older"),
        ("none.wasm", "inspect-missing"),
    ] {
        let said = in_dir(dir.path(), &["inspect", file], "");
        assert_eq!(said.code, 1, "{said:?}");
        assert_said!(name, said.whole());
    }
}

#[test]
fn inspect_shows_what_a_plugin_wants() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(guests::file("PICKY"), dir.path().join("picky.wasm")).unwrap();
    let said = in_dir(dir.path(), &["inspect", "picky.wasm"], "");
    assert_said!("inspect", said.fine());
    let json = in_dir(dir.path(), &["inspect", "picky.wasm", "--json"], "").fine();
    let report: Value = serde_json::from_str(&json).unwrap();
    let wants = json!({ "http": [], "lookup": ["crm"], "secrets": ["token"], "state": true });
    assert_eq!(report["wants"], wants);
    assert_eq!(report["world"], "0.1.0");
    assert_eq!(report["manifest"]["accepts"], json!(["picky.*"]));
}

#[test]
fn call_skips_lines_that_are_no_events_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let probe = guests::file("PROBE").to_str().unwrap();
    let good = r#"{"specversion":"1.0","id":"1","source":"/t","type":"t","data":{"do":"drop"}}"#;
    let lines = format!("nonsense\n{good}\n\n{{\"specversion\":\"1.0\"}}\n[1]\n{good}\n");
    let said = in_dir(dir.path(), &["call", probe], &lines);
    assert_eq!(said.code, 1);
    assert_said!("call-bad-lines", said.whole());
    let said = in_dir(dir.path(), &["call", probe, "--config", "[1]"], "");
    assert_eq!(said.code, 2);
    assert_said!("call-bad-config", said.whole());
}

#[test]
fn new_refuses_what_cannot_become_a_plugin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    for (args, name) in [
        (&["new", "2nd"][..], "new-bad-name"),
        (&["new", "taken"], "new-taken"),
        (&["new", "hello", "--lang", "js"], "new-other-language"),
    ] {
        let said = in_dir(dir.path(), args, "");
        assert_eq!(said.code, 2, "{said:?}");
        assert_said!(name, said.whole());
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was made"
    );
}

#[test]
fn new_says_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let said = in_dir(dir.path(), &["new", "hello", "--template", "route"], "");
    assert_said!("new", said.fine());
    let config = std::fs::read_to_string(dir.path().join("syncline.toml")).unwrap();
    assert_said!("new-config", config);
}

const DEAD: &str = r#"
[plugins.probe]
path = "${PROBE}"

[targets.out]
kind = "subject"
subject = "out.{key}"
stream = "OUT"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
stages = ["probe"]
to = [{ target = "out" }]
guarantee = "at-least-once"
"#;

#[tokio::test]
async fn a_dead_letter_is_listed_and_shown() {
    let env = TestEnv::start().await;
    let url = env.nats.url();
    let dlq = |args: &[&str]| {
        let args = [&["dlq"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, "")
    };
    assert_said!("dlq-list-empty", dlq(&["list"]).fine());

    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run(DEAD).await;
    let never = json!({ "do": "reject", "reason": "never" });
    env.send("src.a", &Ce::new("e-1").data(never)).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);

    assert_said!("dlq-list", dlq(&["list"]).fine());
    assert_said!("dlq-list-json", dlq(&["list", "--json"]).fine());
    let line = dlq(&["list", "--json"]).fine();
    let letter: Value = serde_json::from_str(&line).unwrap();
    let id = letter["id"].as_str().unwrap();
    assert_said!("dlq-show", dlq(&["show", id]).fine());
    let whole: Value = serde_json::from_str(&dlq(&["show", id, "--json"]).fine()).unwrap();
    let shown: Value = serde_json::from_str(&dlq(&["show", id]).fine()).unwrap();
    assert_eq!(whole, shown, "--json changes the form only");

    for none in [
        &["list", "--key", "x"][..],
        &["list", "--reason", "trap"],
        &["list", "--since", "2999-01-01T00:00:00Z"],
    ] {
        assert_eq!(dlq(none).fine(), "no dead letters\n");
    }
    let said = dlq(&["show", "nothing"]);
    assert_eq!(said.code, 1);
    assert_said!("dlq-show-none", said.whole());
    let said = dlq(&["list", "--reason", "boredom"]);
    assert_eq!(said.code, 2);
    assert_said!("dlq-list-bad-reason", said.whole());
}

#[tokio::test]
async fn letters_that_hold_a_key_and_that_wait_are_told_apart() {
    let env = TestEnv::start().await;
    let url = env.nats.url();
    let dlq = |args: &[&str]| {
        let args = [&["dlq"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, "")
    };
    env.stream("SRC", &["src.>"]).await;
    let parking = format!("{DEAD}on_failure = \"park-key\"\n");
    let runtime = env.run(&parking).await;
    for (id, step) in [("e-1", "reject"), ("e-2", "accept")] {
        let data = json!({ "do": step, "reason": "never" });
        env.send("src.a", &Ce::new(id).data(data)).await;
    }
    runtime.settled("p", 2).await;
    check_law(&runtime.drain().await);
    assert_said!("dlq-list-parked", dlq(&["list"]).fine());
    assert_said!("dlq-list-parked-json", dlq(&["list", "--json"]).fine());
    let waits = dlq(&["list", "--reason", "parked", "--json"]).fine();
    let letter: Value = serde_json::from_str(&waits).unwrap();
    let id = letter["id"].as_str().unwrap();
    assert_said!("dlq-show-parked", dlq(&["show", id]).fine());
    assert_eq!(dlq(&["replay", id, "--dry-run", "--json"]).fine(), waits);
}

#[tokio::test]
async fn send_publishes_each_line_once() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let url = env.nats.url();
    let send = |args: &[&str], lines: &str| {
        let args = [&["send"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, lines)
    };
    let lines = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/t\",\"type\":\"t\"}\n";
    assert_said!("send", send(&["src.a"], lines).fine());
    assert_said!("send-again", send(&["src.a", "--json"], lines).fine());
    let said = send(&["src.a"], "nonsense\n{\"x\":1}\n");
    assert_eq!(said.code, 1);
    assert_said!("send-bad-line", said.whole());
    assert_eq!(env.n_messages("SRC").await, 2);
    let said = send(&["elsewhere"], lines);
    assert_eq!(said.code, 1);
    assert_said!("send-no-stream", said.whole());
}
