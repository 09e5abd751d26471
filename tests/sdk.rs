//! What a plugin author meets: a new project that works at once, the examples, one plugin in a pipe.

use crate::cli::command::{Said, command, run};
use crate::harness::{TestEnv, guests};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One target directory for all projects, so that the SDK is built once.
fn run_in(dir: &Path, args: &[&str], stdin: &str) -> Said {
    let mut command = command(dir, args.iter().copied());
    let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    command.env("CARGO_TARGET_DIR", projects);
    command.env("SYNCLINE_CACHE", &*TestEnv::cache());
    // Meant for the build that this test is part of.
    for ours in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(ours);
    }
    run(command, stdin)
}

#[test]
fn every_template_builds_and_its_cases_pass_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for template in ["filter", "transform", "route"] {
        let name = format!("my-{template}");
        run_in(dir.path(), &["new", &name, "--template", template], "").fine();
        let built = run_in(dir.path(), &["build", &name], "").fine();
        assert!(
            built.starts_with(&format!("built {name}/{name}.wasm")),
            "{built}"
        );
        let tested = run_in(dir.path(), &["test", &name, "--json"], "").fine();
        let cases = tested
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let cases: Vec<_> = cases.collect();
        assert!(!cases.is_empty(), "{template}");
        assert!(cases.iter().all(|case| case["ok"] == true), "{cases:#?}");
    }
    // All three were added to one file, which is sound.
    let valid = run_in(dir.path(), &["validate", "--json"], "").fine();
    let valid: Value = serde_json::from_str(&valid).unwrap();
    assert_eq!(
        (&valid["ok"], &valid["problems"]),
        (&json!(true), &json!([]))
    );
}

#[test]
fn a_case_that_fails_shows_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("cases")).unwrap();
    std::fs::copy(guests::file("PROBE"), dir.path().join("probe.wasm")).unwrap();
    let case = json!({
        "name": "is dropped",
        "event": { "id": "1", "type": "t", "data": { "do": "drop", "reason": "late" } },
        "expect": [{ "verdict": "drop", "reason": "early" }],
    });
    std::fs::write(dir.path().join("cases/drop.json"), case.to_string()).unwrap();
    let said = run_in(dir.path(), &["test", "probe.wasm"], "");
    assert_eq!(said.code, 1, "{said:?}");
    for part in ["is dropped", "early", "late"] {
        assert!(
            said.stdout.contains(part) || said.stderr.contains(part),
            "{part}: {said:?}"
        );
    }
}

#[test]
fn the_cases_of_every_example_pass() {
    for name in [
        "ENRICH",
        "FILTER_BY_FIELD",
        "REDACT",
        "ROUTE_BY_TYPE",
        "TWO_WAY_SYNC",
        "ADAPT_MEMBERS",
    ] {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
        let example = example.join(name.to_lowercase().replace('_', "-"));
        // Beside a copy of its component, so that nothing is written into the repository.
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(guests::file(name), dir.path().join("plugin.wasm")).unwrap();
        copy_cases(&example, dir.path());
        let tested = run_in(dir.path(), &["test", "plugin.wasm", "--json"], "").fine();
        assert!(tested.lines().count() > 0, "{name}");
    }
}

fn copy_cases(example: &Path, dir: &Path) {
    let cases = dir.join("cases");
    std::fs::create_dir(&cases).unwrap();
    for entry in std::fs::read_dir(example.join("cases")).unwrap() {
        let file: PathBuf = entry.unwrap().path();
        std::fs::copy(&file, cases.join(file.file_name().unwrap())).unwrap();
    }
}

fn event(id: u32, data: Value) -> String {
    let event = json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/t", "type": "t", "data": data,
    });
    format!("{event}\n")
}

#[test]
fn call_answers_each_event_in_order_as_the_manual_says() {
    let effect = json!({
        "target": "crm", "entity": "contact", "operation": "merge", "key": "7",
        "precondition": "absent", "content_type": "application/json", "headers": { "x-a": "b" },
        "payload": { "name": "Ada" },
    });
    let text = json!({ "key": "8", "text": "plain", "content_type": "text/plain" });
    let events = [
        json!({ "do": "drop", "reason": "not now" }),
        json!({ "do": "retry", "reason": "later", "after_ms": 5 }),
        json!({ "do": "reject", "reason": "never" }),
        json!({ "no": "program" }),
        json!({ "do": "accept", "effects": [effect, text] }),
        json!({ "do": "accept", "next": "forward", "events": [{ "id": "c", "type": "u" }] }),
        json!({ "do": "trap", "message": "ouch" }),
        json!({ "do": "loop" }),
    ];
    let lines: String = (1..)
        .zip(events)
        .map(|(id, data)| event(id, data))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let probe = guests::file("PROBE").to_str().unwrap();
    let said = run_in(dir.path(), &["call", probe], &lines).fine();
    let answers = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut answers: Vec<_> = answers.collect();
    // Their reasons hold addresses of code.
    for (answer, words) in answers[6..].iter_mut().zip(["ouch", "guest time"]) {
        let reason = answer["reason"].take();
        assert!(reason.as_str().unwrap().contains(words), "{reason}");
    }
    insta::assert_json_snapshot!(answers);
}

#[test]
fn call_keeps_state_and_finds_the_world_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let world = json!({ "state": { "n": "41" }, "entities": {}, "secrets": {} });
    std::fs::write(dir.path().join("world.json"), world.to_string()).unwrap();
    let hostile = guests::file("HOSTILE").to_str().unwrap();
    let line = |id: u32| json!({ "specversion": "1.0", "id": id.to_string(), "source": "/t", "type": "t", "data_base64": "Y291bnQ=" });
    let lines = format!("{}\n{}\n", line(1), line(2));
    let args = ["call", hostile, "--world", "world.json"];
    let said = run_in(dir.path(), &args, &lines).fine();
    let reasons = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let reasons: Vec<_> = reasons.map(|answer| answer["reason"].clone()).collect();
    assert_eq!(reasons, ["42", "43"]);
}

/// The first answer comes before the second event is written.
#[test]
fn call_streams() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(
        dir.path(),
        ["call", guests::file("PROBE").to_str().unwrap()],
    );
    command.env("SYNCLINE_CACHE", &*TestEnv::cache());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut events = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for id in 1..4 {
        events
            .write_all(event(id, json!({ "do": "drop" })).as_bytes())
            .unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id.to_string());
    }
    drop(events);
    assert!(child.wait().unwrap().success());
}
