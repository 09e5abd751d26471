//! What a hostile plugin tries: to outlive its event, to hold the host's memory, to say what is not
//! its to say.

use super::{FETCHER, Site, ask, config};
use crate::cli::command;
use crate::harness::{Ce, TestEnv, check_law, eventually, guests};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_waits_for_ends_with_its_event() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let limits = "limits = { time = \"5s\", http_time = \"1h\", http_connections = 2 }";
    let runtime = env.run(&config(&[&site.origin()], limits)).await;
    // With the silence of `/silent`: were it left, it would hold its place for an hour.
    let authority = site.authority();
    for index in 0..3 {
        let misdeed =
            json!({ "do": "flood", "authority": authority, "times": 20, "path": "/silent" });
        let event = Ce::new(index).data(json!({ "misdeed": misdeed }));
        env.send(&format!("src.{index}"), &event).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!(counts.filtered, 3, "{counts:?}");
    eventually("no connection is left", async || site.n_open() == 0).await;
    let results = ask(&env, &runtime, "after", json!([{ "url": site.url("/") }])).await;
    assert_eq!(results[0]["status"], 200);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_is_not_sent() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let limits = "limits = { time = \"5s\", http_time = \"100ms\" }";
    let runtime = env.run(&config(&[&site.origin()], limits)).await;
    let misdeed = json!({ "misdeed": { "do": "dangle", "authority": site.authority() } });
    env.send("src.a", &Ce::new("a").data(misdeed)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.filtered, 1, "{counts:?}");
    let reason = counts.drops.keys().next().unwrap();
    assert!(reason.contains("ConnectionReadTimeout"), "{reason}");
    assert_eq!(site.seen().len(), 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_for_an_answer_without_waiting_is_guest_time() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let limits = "limits = { time = \"100ms\" }";
    let runtime = env.run(&config(&[&site.origin()], limits)).await;
    let misdeed = json!({ "do": "spin", "authority": site.authority(), "path": "/silent" });
    let event = Ce::new("a").data(json!({ "misdeed": misdeed }));
    env.send("src.a", &event).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1, "{counts:?}");
    let error = &env.letters().await[0].error;
    assert!(error.contains("guest time"), "{error}");
    eventually("no connection is left", async || site.n_open() == 0).await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_the_connection_are_not_taken() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let runtime = env.run(&config(&[&site.origin()], "")).await;
    let names = [
        "Host",
        "connection",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "Syncline-Event-Id",
        "x-plain",
        "x-in\r\nHost: evil.test",
        "x: y",
    ];
    let misdeed = json!({ "misdeed": { "do": "headers", "names": names } });
    env.send("src.a", &Ce::new("a").data(misdeed)).await;
    let counts = runtime.settled("p", 1).await;
    let reasons: Vec<_> = counts.drops.keys().collect();
    assert_eq!(reasons, ["x-plain"]);
    let split = json!([
        { "url": site.url("/"), "headers": { "x-a": "1\r\nHost: evil.test" } },
        { "url": site.url("/ HTTP/1.1\r\nX-Evil: 1\r\n\r\n") },
        { "url": site.origin().replace("//", "//evil.test\\@") },
    ]);
    for result in ask(&env, &runtime, "b", split).await {
        assert!(result["error"].is_string(), "{result}");
    }
    assert_eq!(site.seen().len(), 0);
    check_law(&runtime.drain().await);
}

/// The most memory that a process of its own has while a guest does these misdeeds, each of which ends
/// as said.
fn peak_of(misdeeds: &[(Value, &str)], world: &Value) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.json");
    std::fs::write(&file, world.to_string()).unwrap();
    let (fetcher, world) = (guests::file(FETCHER), file.to_str().unwrap());
    let args = ["call", fetcher.to_str().unwrap(), "--world", world];
    let mut command = command::command(dir.path(), args);
    command.env("SYNCLINE_CACHE", dir.path().join("cache"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = command.spawn().unwrap();
    let mut events = host.stdin.take().unwrap();
    let mut answers = BufReader::new(host.stdout.take().unwrap()).lines();
    for (index, (misdeed, expected)) in misdeeds.iter().enumerate() {
        let event = json!({ "specversion": "1.0", "id": index.to_string(), "source": "/t", "type": "t",
            "data": { "misdeed": misdeed } });
        writeln!(events, "{event}").unwrap();
        let answer = answers.next().expect("every event has an answer").unwrap();
        assert!(answer.contains(expected), "{misdeed}: {answer}");
    }
    // It still lives, so that this is the most it ever had.
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(events);
    assert!(host.wait().unwrap().success());
    peak >> 10
}

#[test]
fn hoards_of_bodies_and_fields_leave_the_host_small() {
    let hoards = [
        (json!({ "do": "hoard-bodies" }), "trap"),
        (json!({ "do": "hoard-fields" }), "trap"),
    ];
    let hoards: Vec<_> = hoards.iter().cycle().take(20).cloned().collect();
    let peak = peak_of(&hoards, &json!({}));
    assert!(peak < 512, "the host grew to {peak} MiB");
}

/// Each event keeps less than it may, in a table of which there is one for all events of an instance.
#[test]
fn answers_that_are_never_let_go_leave_the_host_small() {
    let keep = json!({ "do": "keep-answers", "authority": "a.test", "times": 10 });
    let recorded = json!([{ "url": "http://a.test/", "body": "x".repeat(4 << 20) }]);
    let peak = peak_of(&vec![(keep, "kept"); 30], &json!({ "http": recorded }));
    assert!(peak < 768, "the host grew to {peak} MiB");
}
