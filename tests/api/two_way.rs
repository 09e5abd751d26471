//! Two modules that are both written to, kept in step by one pipeline over both of their feeds.

use super::changes::World;
use super::client::try_ask;
use crate::harness::{Message, Process, eventually, free_ports, within};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many edits there are, by how many clients at a time, of how many entities.
const EDITS: usize = 1_500;
const CLIENTS: usize = 12;
const KEYS: usize = 60;
/// How often the runtime dies meanwhile.
const KILLS: usize = 3;

/// More of them, by hand: `TWO_WAY_EDITS=10000`.
fn n_edits() -> usize {
    std::env::var("TWO_WAY_EDITS").map_or(EDITS, |n| n.parse().unwrap())
}

/// Bucket and table with a feed each, both on one stream, and the pipeline over them.
fn config(world: &World, listen: &str, policy: &str) -> String {
    let mut text = super::changes::config(&world.env, &world.server, listen);
    for side in ["crm", "billing"] {
        let header = format!("[targets.{side}]\n");
        text = text.replace(&header, &format!("{header}feed = \"{side}_changes\"\n"));
        text += &format!(
            r#"
[targets.{side}_changes]
kind = "subject"
subject = "changes.{side}.{{key}}"
stream = "CHANGES"
"#
        );
    }
    text + &format!(
        r#"
[targets.conflicts]
kind = "subject"
subject = "conflicts.{{key}}"
stream = "CONFLICTS"
create = true

[plugins.sync]
path = "${{TWO_WAY_SYNC}}"
grants = {{ lookup = ["crm", "billing"], state = true }}
config = {{ sides = [{{ target = "crm" }}, {{ target = "billing" }}], policy = "{policy}", conflicts = "conflicts" }}

[pipelines.step]
source = {{ stream = "CHANGES", subjects = ["changes.>"] }}
key = "json:/key"
stages = ["sync"]
targets = ["crm", "billing", "conflicts"]
"#
    )
}

/// One random edit of one random entity on one of both sides, whatever comes of it.
async fn edit(api: SocketAddr, n: usize) {
    let side = ["/v2/crm/_", "/v1/billing/_"][fastrand::usize(..2)];
    let path = format!("{side}/k{}", fastrand::usize(..KEYS));
    let whole = json!({ "n": n, "a": fastrand::u8(..5), "b": [fastrand::u8(..3)] });
    let mut part = Map::new();
    for name in ["n", "a", "c"] {
        if fastrand::bool() {
            let value = match name {
                "c" if fastrand::bool() => Value::Null,
                "c" => json!({ "x": fastrand::u8(..3), "y": n }),
                _ => json!(n),
            };
            part.insert(name.to_owned(), value);
        }
    }
    let mut headers = Vec::new();
    let mut etag = String::new();
    if fastrand::u8(..3) == 0 {
        let found = try_ask(api, &format!("GET {path}"), &[], "").await;
        etag.extend(
            found
                .ok()
                .and_then(|found| found.headers.get("etag").cloned()),
        );
    }
    if !etag.is_empty() {
        headers.push(("If-Match", etag.as_str()));
    }
    let (method, body) = match fastrand::u8(..10) {
        0 => ("DELETE", String::new()),
        1..=5 => ("PUT", whole.to_string()),
        _ => {
            headers.push(("Content-Type", "application/merge-patch+json"));
            ("PATCH", Value::Object(part).to_string())
        }
    };
    let line = format!("{method} {path}");
    // It may be done twice, where the runtime dies: the stream says what was.
    eventually("the edit is answered", async || {
        let answer = try_ask(api, &line, &headers, &body).await;
        match answer.as_ref().map(|answer| answer.status) {
            Ok(200 | 201 | 204 | 404 | 412) => true,
            // Away, or somebody else was always faster.
            Ok(409 | 503 | 504) | Err(_) => false,
            Ok(_) => panic!("{line} {body}: {answer:?}"),
        }
    })
    .await;
}

/// Edits of both sides at once, until nothing is left to do; the runtime is killed `n_kills` times.
async fn edited(world: &World, policy: &str, n_kills: usize) {
    let env = &world.env;
    env.stream("CHANGES", &["changes.>"]).await;
    let [port] = free_ports();
    let api: SocketAddr = ([127, 0, 0, 1], port).into();
    let path = env.folder().join("two-way.toml");
    let text = env.text(&config(world, &api.to_string(), policy));
    std::fs::write(&path, text).unwrap();

    let (next, edits) = (AtomicUsize::new(0), n_edits());
    let client = || async {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= edits {
                return;
            }
            edit(api, n).await;
        }
    };
    let killer = async {
        let mut process = Process::run(&path).await;
        for kill in 1..=n_kills {
            let due = edits * kill / (n_kills + 1);
            eventually("edits go on", async || next.load(Ordering::Relaxed) >= due).await;
            process.kill();
            process = Process::run(&path).await;
        }
        process
    };
    let clients = futures::future::join_all((0..CLIENTS).map(|_| client()));
    let (process, _) = futures::join!(killer, clients);
    let is_done = within(Duration::from_secs(300), async || {
        env.try_unacked("CHANGES", "syncline-step").await == Some((0, 0))
    });
    assert!(is_done.await, "{}", process.log());
    process.drain().await;
}

/// What both sides hold: of bucket and table.
async fn held(world: &World) -> [BTreeMap<String, Value>; 2] {
    let entries = world.env.kv("crm").await.into_iter();
    let entries = entries.map(|(key, text)| (key, serde_json::from_str(&text).unwrap()));
    let rows = world
        .server
        .sql("postgres", "SELECT id, data::text FROM account")
        .await;
    let row = |row: Vec<Option<String>>| {
        let [Some(key), Some(data)] = row.as_slice() else {
            panic!("{row:?}")
        };
        (key.clone(), serde_json::from_str(data).unwrap())
    };
    [entries.collect(), rows.into_iter().map(row).collect()]
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => merge(&mut into[name], value),
        }
    }
}

/// What the edits come to in the order of the stream, by `fields`; none where that depends on what one side
/// held: a patch of what the other had deleted.
fn folded(edits: &[Message]) -> BTreeMap<String, Option<Value>> {
    let mut folded = BTreeMap::<String, Option<Value>>::new();
    for edit in edits {
        let told = edit.json();
        let entity = folded
            .entry(told["key"].as_str().unwrap().to_owned())
            .or_insert(Some(Value::Null));
        match (told["operation"].as_str().unwrap(), entity) {
            ("delete", entity) => *entity = Some(Value::Null),
            ("upsert", Some(Value::Object(members))) if told["before"].is_object() => {
                let (before, after) = (&told["before"], &told["after"]);
                for name in ["n", "a", "b", "c"] {
                    if before[name] == after[name] {
                        continue;
                    }
                    members.remove(name);
                    if let Some(value) = after.get(name) {
                        members.insert(name.to_owned(), value.clone());
                    }
                }
            }
            ("upsert", entity) => *entity = Some(told["after"].clone()),
            ("merge", Some(entity @ Value::Object(_))) => merge(entity, &told["patch"]),
            ("merge", entity) => *entity = None,
            other => panic!("{other:?}"),
        }
    }
    folded
}

async fn converges(policy: &str, n_kills: usize) -> (World, Vec<Message>) {
    let world = World::start().await;
    edited(&world, policy, n_kills).await;
    let [crm, billing] = held(&world).await;
    assert_eq!(crm, billing);
    assert!(!crm.is_empty());
    let letters = world.env.letters().await;
    assert!(letters.is_empty(), "{:?}", letters[0].error);

    let changes = world.env.messages("CHANGES").await;
    let trail = |message: &Message| message.header("ce-synclinetrail").map(str::to_owned);
    let mut edits = Vec::new();
    for change in changes {
        match trail(&change).as_deref() {
            None => edits.push(change),
            // What the pipeline did itself, once and not once more.
            trail => assert_eq!(trail, Some("step")),
        }
    }
    assert!(edits.len() > n_edits() / 2, "{} edits", edits.len());
    let conflicts = world.env.messages("CONFLICTS").await;
    for conflict in &conflicts {
        let told = conflict.json();
        assert_ne!(told["lost"]["target"], told["kept"]["target"], "{told}");
        assert_ne!(told["lost"]["value"], told["kept"]["value"], "{told}");
    }
    assert!(!conflicts.is_empty());
    (world, edits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_modules_that_are_both_edited_come_out_the_same() {
    converges("last-writer", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_fields_hold_in_the_order_of_the_stream_under_kill_9() {
    let (world, edits) = converges("fields", KILLS).await;
    let [crm, _] = held(&world).await;
    let (mut n_known, folded) = (0, folded(&edits));
    for (key, expected) in &folded {
        if let Some(expected) = expected {
            let found = crm.get(key).unwrap_or(&Value::Null);
            assert_eq!(found, expected, "{key}");
            n_known += 1;
        }
    }
    assert!(n_known > folded.len() / 2, "{n_known} of {}", folded.len());
}
