//! `syncline diff`: two targets compared through a plugin, and repaired.

use crate::cli::{command::Said, in_dir};
use crate::harness::{PARTS, Postgres, TestEnv, eventually};
use async_nats::jetstream::kv;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use syncline::target::Targets;
use syncline::telemetry::Metrics;

const SIDES: &str = r#"
[targets.a]
kind = "kv"
bucket = "a"
create = true

[targets.b]
kind = "kv"
bucket = "b"
create = true
"#;

/// Writes the configuration, makes what it names, and gives what a command needs.
async fn ready(env: &TestEnv, config: &str) {
    let config = [PARTS, config].concat();
    std::fs::write(env.folder().join("syncline.toml"), env.text(&config)).unwrap();
    let targets = env.parse(&config).targets;
    let opened = Targets::open(&env.js, &targets, &Metrics::new()).await;
    opened.unwrap_or_else(|errors| panic!("{errors:?}"));
}

/// `syncline diff ARGS`, beside the test.
async fn diff(env: &TestEnv, args: &str) -> Said {
    let folder = env.folder().to_owned();
    let args = format!("diff {args}");
    let run = move || in_dir(&folder, &args.split(' ').collect::<Vec<_>>(), "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The same with `--json`, which has to end with this code.
async fn report(env: &TestEnv, args: &str, code: i32) -> Value {
    let said = diff(env, &format!("{args} --json")).await;
    assert_eq!(said.code, code, "{said:?}");
    assert_eq!(said.stderr, "");
    serde_json::from_str(&said.stdout).unwrap()
}

async fn put(bucket: &kv::Store, entries: impl Iterator<Item = (String, Bytes)>) {
    let written = entries.map(|(key, value)| async move { bucket.put(key, value).await.unwrap() });
    futures::stream::iter(written)
        .buffer_unordered(64)
        .collect::<Vec<_>>()
        .await;
}

async fn put_json(bucket: &kv::Store, entries: &[(&str, Value)]) {
    let entry = |(key, value): &(&str, Value)| ((*key).to_owned(), value.to_string().into());
    put(bucket, entries.iter().map(entry)).await;
}

/// `counts(&report, "missing changed")`.
fn counts(report: &Value, names: &str) -> Vec<u64> {
    let count = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    names.split(' ').map(count).collect()
}

/// What each difference is about, by key.
fn named(report: &Value) -> BTreeMap<&str, &str> {
    let listed = report["differences"].as_array().unwrap().iter();
    listed
        .map(|it| (it["key"].as_str().unwrap(), it["what"].as_str().unwrap()))
        .collect()
}

/// An entity that the probe turns into these effects.
fn becomes(effects: Value) -> Value {
    json!({"do": "accept", "effects": effects})
}

fn upsert(key: &str, payload: Value) -> Value {
    becomes(json!([{"key": key, "payload": payload}]))
}

fn on(operation: &str, key: &str, payload: Value) -> Value {
    json!({"target": "b", "operation": operation, "key": key, "payload": payload})
}

/// Entities of both sides: what should be there, what is, and what is neither.
async fn fill(a: &kv::Store, b: &kv::Store) {
    put_json(
        a,
        &[
            ("same", upsert("x.same", json!({"n": 1, "m": [2.0]}))),
            ("missing", upsert("x.missing", json!({"n": 1}))),
            (
                "changed",
                upsert("x.changed", json!({"n": {"deep": 1}, "m": 2})),
            ),
            (
                "merged",
                becomes(json!([on(
                    "merge",
                    "x.merged",
                    json!({"n": 1, "gone": null})
                )])),
            ),
            (
                "merges",
                becomes(json!([on(
                    "merge",
                    "x.merges",
                    json!({"n": 2, "gone": null})
                )])),
            ),
            (
                "deleted",
                becomes(json!([on("delete", "x.deleted", json!(null))])),
            ),
            (
                "gone",
                becomes(json!([on("delete", "x.gone", json!(null))])),
            ),
            // Two entities make one.
            (
                "half-1",
                becomes(json!([on("merge", "x.halves", json!({"one": 1}))])),
            ),
            (
                "half-2",
                becomes(json!([on("merge", "x.halves", json!({"two": 2}))])),
            ),
            (
                "elsewhere",
                becomes(json!([{"target": "search", "key": "k", "payload": 1}])),
            ),
            ("dropped", json!({"do": "drop"})),
            (
                "rejected",
                json!({"do": "reject", "reason": "no such plan"}),
            ),
            ("passed", json!({"plain": true})),
        ],
    )
    .await;
    put_json(
        b,
        &[
            ("x.same", json!({"m": [2], "n": 1.0})),
            ("x.changed", json!({"n": {"deep": 2}, "m": 2})),
            ("x.merged", json!({"n": 1, "other": 1})),
            ("x.merges", json!({"n": 1, "other": 1, "gone": 1})),
            ("x.deleted", json!({})),
            ("x.halves", json!({"one": 1})),
            ("x.stranger", json!({})),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_makes_of_one_side_is_compared_with_the_other_and_repaired() {
    let env = TestEnv::start().await;
    ready(&env, SIDES).await;
    let (a, b) = (
        env.js.get_key_value("a").await.unwrap(),
        env.js.get_key_value("b").await.unwrap(),
    );
    fill(&a, &b).await;
    let told = report(&env, "a b --via probe", 1).await;
    let names = "told read same missing changed surplus unfit elsewhere";
    assert_eq!(counts(&told, names), [13, 7, 3, 2, 3, 2, 1, 1], "{told:#}");
    let expected = BTreeMap::from([
        ("passed", "missing"),
        ("rejected", "unfit"),
        ("x.changed", "changed"),
        ("x.deleted", "surplus"),
        ("x.halves", "changed"),
        ("x.merges", "changed"),
        ("x.missing", "missing"),
        ("x.stranger", "surplus"),
    ]);
    assert_eq!(named(&told), expected);
    let changed = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "x.changed");
    assert_eq!(changed.unwrap()["at"], json!(["/n/deep"]));
    assert_eq!(env.kv("b").await.len(), 7, "a look changes nothing");

    // What nothing says that it should be there is left alone.
    let told = report(&env, "a b --via probe --repair", 1).await;
    assert_eq!(
        counts(&told, "repaired surplus failed overtaken"),
        [6, 2, 0, 0],
        "{told:#}"
    );
    let held = env.kv("b").await;
    let held = |key: &str| {
        held.get(key)
            .map(|text| serde_json::from_str::<Value>(text).unwrap())
    };
    assert_eq!(held("x.missing"), Some(json!({"n": 1})));
    assert_eq!(held("x.merges"), Some(json!({"n": 2, "other": 1})));
    assert_eq!(held("x.halves"), Some(json!({"one": 1, "two": 2})));
    assert_eq!(
        (held("x.deleted"), held("x.stranger")),
        (None, Some(json!({})))
    );

    a.delete("rejected").await.unwrap();
    let told = report(&env, "a b --via probe --repair --delete", 0).await;
    assert_eq!(
        counts(&told, "repaired surplus missing changed unfit"),
        [1, 1, 0, 0, 0],
        "{told:#}"
    );
    let told = report(&env, "a b --via probe", 0).await;
    assert_eq!(
        counts(&told, "same missing changed surplus unfit"),
        [9, 0, 0, 0, 0],
        "{told:#}"
    );
}

/// Persons in a bucket, and tables that could hold them.
async fn people(env: &TestEnv, server: &Postgres, n_persons: usize) -> kv::Store {
    let url = server.url("postgres");
    let at = |name: &str, lines: &str| {
        format!(
            "[targets.{name}]\nkind = \"postgres\"\nurl = \"{url}\"\ncreate = true\ntable = \"{name}\"\nkey = \"id\"\n{lines}\n"
        )
    };
    let table = "CREATE TABLE people (kind text, id bigint, name text, born date, worth numeric, PRIMARY KEY (kind, id))";
    server.sql("postgres", table).await;
    let columns = "entity = \"kind\"\ncolumns = [\"name\", \"born\", \"worth\"]";
    let config = [SIDES, &at("documents", ""), &at("people", columns)].concat();
    ready(env, &config).await;
    let a = env.js.get_key_value("a").await.unwrap();
    // A date and a number that the table writes in its own way.
    let data = |n: usize| json!({"name": format!("n{n}"), "born": "2001-2-3", "worth": 1.50, "stranger": n});
    let person = |n: usize| (format!("person.{n}"), data(n).to_string().into());
    put(&a, (0..n_persons).map(person)).await;
    a
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_and_a_table_of_some_thousands_are_brought_in_step() {
    const N: u64 = 5_000;
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    people(&env, &server, 5_000).await;
    for (args, code, expected, n_listed) in [
        ("a documents --entity person", 1, [N, 0, 0], 20),
        ("a documents --entity person --repair", 0, [N, 0, N], 20),
        ("a documents --entity person", 0, [0, 0, 0], 0),
        (
            "a people --entity person --repair --limit 3",
            0,
            [N, 0, N],
            3,
        ),
        ("a people --entity person", 0, [0, 0, 0], 0),
        // And back: under other keys, as one table knows of no kinds.
        ("documents a", 1, [N, N, 0], 20),
    ] {
        let told = report(&env, args, code).await;
        let found = counts(&told, "missing surplus repaired");
        assert_eq!(found, expected, "{args}: {told:#}");
        let listed = told["differences"].as_array().unwrap();
        assert_eq!(listed.len(), n_listed, "{args}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_compared_as_the_table_would_write_them() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let a = people(&env, &server, 50).await;
    report(&env, "a people --entity person --repair", 0).await;
    let change = "UPDATE people SET worth = 1.51 WHERE id % 10 = 1; DELETE FROM people WHERE id = 7; \
        INSERT INTO people (kind, id) VALUES ('person', 100000), ('order', 1)";
    server.sql("postgres", change).await;
    let entries = [
        ("person.12", json!({"name": "new"})),
        ("person.x", json!({})),
        ("person.013", json!({})),
    ];
    put_json(&a, &entries).await;
    let told = report(&env, "a people --entity person", 1).await;
    // Two entities are one row: what it is to be is what comes of both.
    let found = counts(&told, "same missing changed surplus unfit");
    assert_eq!(found, [42, 1, 7, 1, 1], "{told:#}");
    let listed = told["differences"].as_array().unwrap();
    let unfit = listed.iter().find(|it| it["what"] == "unfit").unwrap();
    assert!(
        unfit["why"].as_str().unwrap().contains("bigint"),
        "{told:#}"
    );
    // Kinds that nothing writes are looked at when they are named.
    let both = "a people --entity person --into person --into order";
    assert_eq!(counts(&report(&env, both, 1).await, "surplus"), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changes_before_it_is_repaired_stands() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let url = server.url("postgres");
    let config = format!(
        "{SIDES}[targets.db]\nkind = \"postgres\"\nurl = \"{url}\"\ntable = \"t\"\nkey = \"id\"\ncreate = true\ntimeout = \"60s\"\n"
    );
    ready(&env, &config).await;
    let a = env.js.get_key_value("a").await.unwrap();
    put_json(&a, &[("k", json!({"by": "a"}))]).await;
    server
        .sql(
            "postgres",
            "INSERT INTO t VALUES ('k', '{\"by\": \"nobody\"}')",
        )
        .await;
    // Somebody is about to change the row: it is read as it is, and cannot be written until they have.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let mut work = tokio::task::JoinSet::new();
    work.spawn(connection);
    client
        .batch_execute("BEGIN; UPDATE t SET data = '{\"by\": \"somebody\"}' WHERE id = 'k'")
        .await
        .unwrap();
    let repaired = diff(&env, "a db --repair");
    let meanwhile = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        eventually("the repair waits for the row", async || {
            server.value("postgres", waits).await.as_deref() == Some("1")
        })
        .await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (said, ()) = futures::join!(repaired, meanwhile);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.stdout.contains("changed meanwhile, left as it is"),
        "{said:?}"
    );
    let held = server
        .value("postgres", "SELECT data ->> 'by' FROM t")
        .await;
    assert_eq!(held.as_deref(), Some("somebody"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_contract_does_not_allow_is_told_and_not_written() {
    let env = TestEnv::start().await;
    let contract = json!({
        "name": "b",
        "version": 1,
        "entities": {"customer": {"operations": ["retrieve", "upsert"], "etag": "required",
            "schema": {"type": "object", "required": ["name"]}}},
    });
    std::fs::write(env.folder().join("b.v1.json"), contract.to_string()).unwrap();
    let held = "[targets.b.contract]\nversion = 1\nschema = \"b.v1.json\"\n";
    ready(&env, &[SIDES, held].concat()).await;
    let a = env.js.get_key_value("a").await.unwrap();
    put_json(
        &a,
        &[("good", json!({"name": "Ada"})), ("bad", json!({"id": 1}))],
    )
    .await;
    let told = report(&env, "a b --repair", 1).await;
    assert_eq!(
        counts(&told, "missing unfit repaired"),
        [1, 1, 1],
        "{told:#}"
    );
    assert!(
        told["differences"][0]["why"]
            .as_str()
            .unwrap()
            .contains("name"),
        "{told:#}"
    );
    assert_eq!(env.kv("b").await.keys().collect::<Vec<_>>(), ["good"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compared_is_said_before_anything_is_done() {
    let env = TestEnv::start().await;
    let picky = r#"
        [plugins.picky]
        path = "${PICKY}"
        grants = { state = true, secrets = ["token"], lookup = ["crm"] }
        [secrets.token]
        file = "token"
        [targets.out]
        kind = "subject"
        subject = "out.{key}"
    "#;
    std::fs::write(env.folder().join("token"), "s3cret").unwrap();
    ready(&env, &[SIDES, picky].concat()).await;
    for (args, expected) in [
        ("a nobody", "no target `nobody`"),
        ("nobody a", "no target `nobody`"),
        ("a b --via nobody", "no plugin `nobody`"),
        ("a out", "holds no entities"),
        ("out a", "holds no entities"),
        ("a b --delete", "--repair"),
    ] {
        let said = diff(&env, args).await;
        assert_eq!(said.code, 2, "{args}: {said:?}");
        assert!(said.stderr.contains(expected), "{args}: {said:?}");
    }
    let said = diff(&env, "a b").await;
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (0, "a -> b: 0 as they should be\n")
    );
    let a = env.js.get_key_value("a").await.unwrap();
    put_json(&a, &[("k", json!({"n": 1}))]).await;
    let said = diff(&env, "a b --via picky").await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("told as `a.updated`"), "{said:?}");
    report(&env, "a b --via picky --type picky.one --repair", 0).await;
    let held: Value = serde_json::from_str(&env.kv("b").await["k"]).unwrap();
    assert_eq!(held, json!({"n": 1, "stamped": "picky"}));
}
