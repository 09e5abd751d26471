//! `guarantee = "atomic"`: all effects of an event or none, once, whatever is killed when.

mod core;
mod joined;
mod limits;
mod outages;
mod reads;
mod replays;
mod state;

use crate::cli::in_dir;
use crate::harness::{Ce, PARTS, Process, TestEnv, check_law, eventually};
use async_nats::HeaderMap;
use async_nats::jetstream::kv::Config;
use serde_json::{Value, json};

const AUDIT: &str = r#"
[targets.audit]
kind = "subject"
subject = "audit.all"
stream = "AUDIT"
create = true
"#;

pub(crate) fn pipeline(to: &str) -> String {
    format!(
        r#"
[pipelines.p]
source = {{ stream = "SRC", subjects = ["src.>"], create = true }}
key = "json:/key"
stages = ["probe"]
to = [{to}]
guarantee = "atomic"
lease = "1s"
retry = {{ attempts = 2, backoff = "1ms..1ms" }}
"#
    )
}

fn three_targets() -> String {
    let to = r#"{ target = "search", entity = "c" }, { target = "crm" }, { target = "audit" }"#;
    let parts = PARTS.replace(", state = true", "");
    [&parts, AUDIT, &pipeline(to)].concat()
}

pub(crate) fn event(id: &str, n: u32) -> Ce {
    Ce::new(id).data(json!({"key": "k", "n": n}))
}

/// The targets' streams, so forgetful that nothing but the decisions holds a second effect back.
async fn forgetful_streams(env: &TestEnv) {
    env.forgetful("SEARCH", &["search.>"]).await;
    env.forgetful("AUDIT", &["audit.>"]).await;
}

/// How many messages the two streams hold, and the number in the entry.
async fn held(env: &TestEnv) -> (u64, u64, Option<i64>) {
    let entry = env.entry("crm", "k").await;
    let n = entry.and_then(|entry| entry["n"].as_i64());
    (
        env.n_messages("SEARCH").await,
        env.n_messages("AUDIT").await,
        n,
    )
}

pub(crate) fn launch(env: &TestEnv, config: &str, faults: &str) -> Process {
    let file = env.folder().join("atomic.toml");
    std::fs::write(&file, env.text(config)).unwrap();
    Process::launch(&file, faults)
}

/// Runs the program until it dies at `point`.
pub(crate) async fn die_at(env: &TestEnv, config: &str, point: &str) {
    let mut process = launch(env, config, &format!("die={point}:1"));
    eventually("the program dies", async || process.has_ended()).await;
    let log = process.log();
    assert!(log.contains("fault: the program dies here"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_its_effects_in_every_target_once() {
    let env = TestEnv::start().await;
    let runtime = env.run(&three_targets()).await;
    env.send("src.a", &event("1", 1)).await;
    env.send("src.a", &event("2", 2)).await;
    // The same event again, with other data.
    env.send("src.a", &event("1", 3)).await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate, counts.effects), (2, 1, 6));
    check_law(&runtime.drain().await);
    assert_eq!(held(&env).await, (2, 2, Some(2)));

    let runtime = env.run(&three_targets()).await;
    env.send("src.a", &event("2", 4)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.duplicate), (0, 1));
    check_law(&runtime.drain().await);
    assert_eq!(held(&env).await, (2, 2, Some(2)));
    assert_eq!(env.n_messages_on("TX", "tx.done.p.>").await, 2);
    let messages = env.messages("TX").await;
    let checkpoint = messages.iter().rfind(|m| m.subject == "tx.relay.p.0");
    let kept = checkpoint.unwrap().header("Nats-TTL");
    assert_eq!(kept, Some("604800s"), "as long as the decisions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_has_no_effect_and_one_letter_and_can_be_replayed() {
    let env = TestEnv::start().await;
    let config = three_targets();
    let runtime = env.run(&config).await;
    let steps = json!([{"do": "reject", "reason": "no"}]);
    let rejected = Ce::new("1").data(json!({"key": "k", "n": 1, "steps": steps}));
    env.send("src.a", &rejected).await;
    env.send("src.a", &rejected).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.dead, counts.duplicate), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(held(&env).await, (0, 0, None));
    assert_eq!(env.letters().await.len(), 1);

    let lenient = config.replace(r#"stages = ["probe"]"#, "stages = []");
    let runtime = env.run(&lenient).await;
    let url = env.nats.url();
    let replay = || {
        in_dir(
            env.folder(),
            &["dlq", "replay", "--pipeline", "p", "--nats", &url],
            "",
        )
        .fine()
    };
    assert_eq!(replay(), "replayed 1\n");
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.replayed), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(held(&env).await, (1, 1, Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_atomic_changes_nothing() {
    let env = TestEnv::start().await;
    let to = r#"{ target = "search", entity = "c" }, { target = "crm", operation = "merge" }"#;
    let core = "\n[targets.core]\nkind = \"subject\"\nsubject = \"core.all\"\ncore = true\n";
    let parts = PARTS.replace(", state = true", "");
    let runtime = env.run(&[&parts, core, &*pipeline(to)].concat()).await;
    let effect = json!({"target": "core", "operation": "append"});
    let steps = json!([{"do": "accept", "next": "pass", "effects": [effect]}]);
    let asks = Ce::new("1").data(json!({"key": "k", "n": 1, "steps": steps}));
    env.send("src.a", &asks).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.dead, counts.effects), (1, 0));
    check_law(&runtime.drain().await);
    assert_eq!(env.n_messages("SEARCH").await, 0);
    assert!(env.kv("crm").await.is_empty());
    let letters = env.letters().await;
    let expected = "target `core` refused: `append` cannot be atomic: core NATS confirms nothing";
    assert_eq!(letters[0].error, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_carried_out_without_the_event() {
    for point in ["decided", "between-effects", "applied"] {
        let env = TestEnv::start().await;
        forgetful_streams(&env).await;
        let source = env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event("1", 1)).await;
        die_at(&env, &three_targets(), point).await;
        // Only the decision is left to tell of it.
        source.purge().await.unwrap();
        let runtime = env.run(&three_targets()).await;
        eventually("what was decided is done", async || {
            held(&env).await == (1, 1, Some(1))
        })
        .await;
        env.send("src.a", &event("2", 2)).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);
        assert_eq!(held(&env).await, (2, 2, Some(2)), "killed when {point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_dies_is_done_again() {
    let env = TestEnv::start().await;
    forgetful_streams(&env).await;
    env.stream("SRC", &["src.>"]).await;
    for n in 1..=20 {
        let key = format!("k{n}");
        let event = Ce::new(n).data(json!({"key": key, "n": n}));
        env.send("src.a", &event).await;
    }
    env.send("src.a", &event("last", 21)).await;
    // What was decided after that stays to be looked at.
    die_at(&env, &three_targets(), "decided").await;
    for _ in 0..3 {
        die_at(&env, &three_targets(), "recovering").await;
    }
    let runtime = env.run(&three_targets()).await;
    eventually("every event has its effects", async || {
        held(&env).await == (21, 21, Some(21))
    })
    .await;
    check_law(&runtime.drain().await);
    assert_eq!(held(&env).await, (21, 21, Some(21)));
}

/// A message, and a merge into each of two buckets.
fn two_merges() -> String {
    let to = r#"{ target = "search", entity = "c" }, { target = "crm", operation = "merge" },
        { target = "other", operation = "merge" }"#;
    let other = "\n[targets.other]\nkind = \"kv\"\nbucket = \"other\"\ncreate = true\n";
    let parts = PARTS.replace(", state = true", "");
    [&parts, other, &*pipeline(to)].concat()
}

async fn numbers(env: &TestEnv) -> (u64, Option<i64>, Option<i64>) {
    let number = async |bucket| {
        let entry = env.entry(bucket, "k").await;
        entry.and_then(|entry| entry["n"].as_i64())
    };
    (
        env.n_messages("SEARCH").await,
        number("crm").await,
        number("other").await,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_are_made_with_everything_else_or_not_at_all() {
    let env = TestEnv::start().await;
    let runtime = env.run(&two_merges()).await;
    env.send("src.a", &event("1", 1)).await;
    env.send("src.a", &event("2", 2)).await;
    env.send("src.a", &event("1", 3)).await;
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate), (2, 1));
    check_law(&runtime.drain().await);
    assert_eq!(numbers(&env).await, (2, Some(2), Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_changed_back_when_another_target_does_not_take_its_part() {
    let env = TestEnv::start().await;
    let full = Config {
        bucket: "other".to_owned(),
        max_bytes: 150,
        ..Config::default()
    };
    env.js.create_key_value(full).await.unwrap();
    let crm = env.bucket("crm").await;
    crm.put("k", r#"{"n":0,"theirs":true}"#.into())
        .await
        .unwrap();
    let runtime = env.run(&two_merges()).await;
    env.send("src.a", &event("1", 1)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.dead, 1);
    check_law(&runtime.drain().await);
    assert_eq!(numbers(&env).await, (0, Some(0), None));
    let entry = env.entry("crm", "k").await.unwrap();
    assert_eq!(entry, json!({"n": 0, "theirs": true}));
    assert_eq!(env.letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_and_not_decided_is_taken_back_without_the_event() {
    for point in ["begun", "between-effects", "prepared"] {
        let env = TestEnv::start().await;
        let source = env.stream("SRC", &["src.>"]).await;
        let crm = env.bucket("crm").await;
        crm.put("k", r#"{"n":0}"#.into()).await.unwrap();
        env.send("src.a", &event("1", 1)).await;
        die_at(&env, &two_merges(), point).await;
        source.purge().await.unwrap();
        let runtime = env.run(&two_merges()).await;
        eventually("what was begun is taken back", async || {
            numbers(&env).await == (0, Some(0), None)
        })
        .await;
        env.send("src.a", &event("2", 2)).await;
        runtime.settled("p", 1).await;
        check_law(&runtime.drain().await);
        assert_eq!(
            numbers(&env).await,
            (1, Some(2), Some(2)),
            "died at {point}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_takes_nothing_back_is_found_out() {
    let env = TestEnv::start().await;
    let source = env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    die_at(&env, &two_merges(), "prepared").await;
    source.purge().await.unwrap();
    let mut broken = launch(&env, &two_merges(), "break=undo");
    assert!(broken.is_ready().await);
    let other = Ce::new("2").data(json!({"key": "other", "n": 2}));
    env.send("src.a", &other).await;
    eventually("the next event is done", async || {
        env.n_messages("SEARCH").await == 1
    })
    .await;
    drop(broken.drain().await);
    assert_eq!(numbers(&env).await, (1, Some(1), Some(1)), "half an event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_back_that_dies_is_done_again() {
    let env = TestEnv::start().await;
    let crm = env.bucket("crm").await;
    crm.put("k", r#"{"n":0}"#.into()).await.unwrap();
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    die_at(&env, &two_merges(), "prepared").await;
    for _ in 0..2 {
        die_at(&env, &two_merges(), "undoing").await;
    }
    let runtime = env.run(&two_merges()).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(numbers(&env).await, (1, Some(1), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_changed_meanwhile_is_left_and_said() {
    let env = TestEnv::start().await;
    let crm = env.bucket("crm").await;
    crm.put("k", r#"{"n":0}"#.into()).await.unwrap();
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event("1", 1)).await;
    die_at(&env, &two_merges(), "prepared").await;
    crm.put("k", r#"{"n":7}"#.into()).await.unwrap();
    let runtime = env.run(&two_merges()).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1, "it is tried again, on what is there now");
    check_law(&runtime.drain().await);
    assert_eq!(numbers(&env).await, (1, Some(1), Some(1)));
    a_person_ends_it(&env);
}

/// The record stays until somebody says how it ended.
fn a_person_ends_it(env: &TestEnv) {
    let url = env.nats.url();
    let tx = |args: &[&str]| {
        let args = [&["tx"], args, &["--nats", &url]].concat();
        in_dir(env.folder(), &args, "")
    };
    let open: Value = serde_json::from_str(&tx(&["list", "--json"]).fine()).unwrap();
    let gid = open["gid"].as_str().unwrap();
    assert_eq!(
        (&open["state"], &open["key"]),
        (&json!("HEURISTIC"), &json!("k"))
    );
    assert_eq!(open["targets"], json!(["search", "crm", "other"]));
    let shown: Value = serde_json::from_str(&tx(&["show", gid]).fine()).unwrap();
    let before: Vec<_> = shown["changes"].as_array().unwrap().iter().collect();
    assert_eq!(
        before[0].get("before"),
        None,
        "a message follows the decision"
    );
    assert_eq!(before[1]["before"]["payload"], json!({"n": 0}));
    assert_eq!(before[2]["before"]["is_there"], false);
    let taken_back = &shown["taken_back"];
    assert_eq!(
        taken_back[0],
        json!({"target": "other", "key": "k", "restored": true}),
        "the last one first"
    );
    assert_eq!(
        (&taken_back[1]["target"], &taken_back[1]["restored"]),
        (&json!("crm"), &json!(false))
    );
    let why = taken_back[1]["why"].as_str().unwrap();
    assert!(why.contains("neither ours nor the one before"), "{why}");

    assert_eq!(tx(&["list", "--pipeline", "q"]).fine(), "no transactions\n");
    assert_eq!(tx(&["resolve", gid]).code, 2, "how it ended is to be said");
    let note = ["resolve", gid, "--as", "aborted", "--note", "7 is right"];
    assert_eq!(tx(&note).fine(), format!("{gid} is ABORTED\n"));
    assert_eq!(tx(&["list"]).fine(), "no transactions\n");
    let ended = tx(&["list", "--ended", "--json"]).fine();
    let ended: Vec<Value> = ended
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let resolved = ended.iter().find(|ended| ended["gid"] == gid).unwrap();
    assert_eq!(resolved["resolution"]["note"], "7 is right");
    let again = tx(&note);
    assert_eq!(again.code, 1);
    assert!(
        again.whole().contains("it is ABORTED, not HEURISTIC"),
        "{}",
        again.whole()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_stays_so_where_the_server_forgot_that_its_record_was_replaced() {
    let env = TestEnv::start().await;
    let source = env.stream("SRC", &["src.>"]).await;
    let crm = env.bucket("crm").await;
    crm.put("k", r#"{"n":0}"#.into()).await.unwrap();
    env.send("src.a", &event("1", 1)).await;
    die_at(&env, &two_merges(), "prepared").await;
    source.purge().await.unwrap();
    let begun = env.last_on("TX", "tx.log.>").await;
    let (subject, record) = begun.into_iter().next().unwrap();
    // Somebody ended it, and after a kill of the server both records lie there.
    let record = String::from_utf8(record.to_vec()).unwrap();
    let closed = record.replace(r#""state":"PREPARING""#, r#""state":"ABORTED""#);
    assert_ne!(closed, record);
    env.publish(&subject, HeaderMap::new(), closed.into()).await;
    crm.put("k", r#"{"n":7}"#.into()).await.unwrap();
    let runtime = env.run(&two_merges()).await;
    let other = Ce::new("2").data(json!({"key": "other", "n": 1}));
    env.send("src.a", &other).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    assert_eq!(env.entry("crm", "k").await.unwrap(), json!({"n": 7}));
    let last = env.last_on("TX", &subject).await;
    let record = String::from_utf8_lossy(&last[0].1).into_owned();
    assert!(record.contains(r#""state":"ABORTED""#), "{record}");
    assert_eq!(env.n_messages_on("TX", &subject).await, 1);
}
