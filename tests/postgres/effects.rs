//! What becomes of an effect at a table.

use super::{PIPELINE, asks, run, target};
use crate::harness::{Ce, PARTS, Postgres, TestEnv, check_law, eventually};
use serde_json::{Value, json};
use syncline::event::DeadReason;

const DOCUMENTS: &str = "table = \"crm\"\nkey = \"id\"\ncreate = true";

async fn document(server: &Postgres, key: &str) -> Option<Value> {
    let text = format!("SELECT data FROM crm WHERE id = '{key}'");
    let found = server.value("postgres", &text).await;
    found.map(|text| serde_json::from_str(&text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_written_merged_into_and_deleted() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let runtime = run(&env, &target("db", &server, DOCUMENTS)).await;
    let steps = [
        (
            "merge",
            json!({"name": "Ada", "old": 1}),
            Some(json!({"name": "Ada", "old": 1})),
        ),
        (
            "merge",
            json!({"old": null, "in": {"x": 1}}),
            Some(json!({"name": "Ada", "in": {"x": 1}})),
        ),
        (
            "merge",
            json!({"in": {"y": 2}}),
            Some(json!({"name": "Ada", "in": {"x": 1, "y": 2}})),
        ),
        (
            "upsert",
            json!({"name": "Bea"}),
            Some(json!({"name": "Bea"})),
        ),
        ("delete", json!(null), None),
        ("delete", json!(null), None),
        ("append", json!([1, 2]), Some(json!([1, 2]))),
    ];
    for (n, (operation, payload, expected)) in steps.into_iter().enumerate() {
        let key = "it's \"c\"";
        let effects =
            json!([{"target": "db", "key": key, "operation": operation, "payload": payload}]);
        env.send("src.a", &asks(n, &effects)).await;
        runtime.settled("p", n as u64 + 1).await;
        let found = document(&server, "it''s \"c\"").await;
        assert_eq!(found, expected, "step {n}");
    }
    assert_eq!(runtime.counts("p").dead, 0);
    check_law(&runtime.drain().await);
}

const TABLE: &str = "CREATE SCHEMA shop; CREATE TABLE shop.\"Orders\" (\
    region text, id bigint, kind text, name varchar(8) NOT NULL DEFAULT 'none', \
    amount numeric, at timestamptz, tags text[], more jsonb, version bigint NOT NULL DEFAULT 7, \
    other text DEFAULT 'kept', PRIMARY KEY (kind, region, id))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_become_columns_of_any_type_and_other_columns_are_left_alone() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    server.sql("postgres", TABLE).await;
    let lines = "table = \"shop.Orders\"\nkey = [\"region\", \"id\"]\nentity = \"kind\"\n\
                 columns = [\"name\", \"amount\", \"at\", \"tags\", \"more\"]\n\
                 version = \"version\"\ncreate = true";
    let runtime = run(&env, &target("db", &server, lines)).await;
    let key = json!(["eu", 42]).to_string();
    let first = r#"{"name": "Ada", "amount": 12345678901234567890.12, "at": "2026-11-23T10:00:00Z",
        "tags": ["a", "b"], "more": {"x": 1, "y": {"z": 1}}, "stranger": 1, "id": 43}"#;
    let effect = |operation: &str| json!({"target": "db", "key": key, "entity": "order", "operation": operation});
    let mut write = effect("upsert");
    write["text"] = first.into();
    let mut patch = effect("merge");
    patch["payload"] = json!({"name": "Bea", "tags": null, "more": {"x": null, "y": {"w": 2}}});
    env.send("src.a", &asks(1, &json!([write, patch]))).await;
    runtime.settled("p", 1).await;
    let row = "SELECT region, id, kind, name, amount, at AT TIME ZONE 'UTC', tags, more, version, other \
               FROM shop.\"Orders\"";
    let rows = server.sql("postgres", row).await;
    let expected = [
        Some("eu"),
        Some("42"),
        Some("order"),
        Some("Bea"),
        Some("12345678901234567890.12"),
        Some("2026-11-23 10:00:00"),
        None,
        Some(r#"{"y": {"w": 2, "z": 1}}"#),
        Some("8"),
        Some("kept"),
    ];
    assert_eq!(
        rows,
        [expected.map(|value| value.map(str::to_owned)).to_vec()]
    );
    // An upsert replaces: what it does not have is null, where that may be.
    let mut replaced = effect("upsert");
    replaced["payload"] = json!({"name": "Cleo"});
    env.send("src.a", &asks(2, &json!([replaced]))).await;
    runtime.settled("p", 2).await;
    let row = "SELECT name, amount, more, version, other FROM shop.\"Orders\"";
    let expected = [Some("Cleo"), None, None, Some("9"), Some("kept")];
    let expected = expected.map(|value| value.map(str::to_owned)).to_vec();
    assert_eq!(server.sql("postgres", row).await, [expected]);
    check_law(&runtime.drain().await);
}

/// Effects that are refused, each with what is said of it.
fn unfit() -> Vec<(Value, &'static str)> {
    let effect = |key: Value, more: Value| {
        let mut effect = json!({"target": "db", "key": key, "entity": "order"});
        effect
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        effect
    };
    let key = || json!("[\"eu\", 1]");
    vec![
        (
            effect(key(), json!({"payload": {"name": "Ada", "amount": "much"}})),
            "table `shop.Orders`, column `amount`: invalid input syntax for type numeric",
        ),
        (
            effect(key(), json!({"payload": {"name": "much too long"}})),
            "column `name`: value too long for type character varying(8)",
        ),
        (
            effect(
                json!("[\"eu\", \"one\"]"),
                json!({"payload": {"name": "Ada"}}),
            ),
            "column `id`: invalid input syntax for type bigint",
        ),
        (
            effect(key(), json!({"payload": {"amount": 1}})),
            "table `shop.Orders`: column `name`: null value",
        ),
        (
            effect(json!("eu"), json!({"payload": {}})),
            "the key is not a JSON list of 2",
        ),
        (
            effect(key(), json!({"text": "{"})),
            "the payload of an upsert is not JSON",
        ),
        (
            effect(key(), json!({"payload": 1})),
            "the payload of an upsert is not a JSON object",
        ),
        (
            json!({"target": "db", "key": key(), "payload": {}}),
            "no kind of entity is named, and column `kind`",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_columns_do_not_take_is_refused_with_table_and_column() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    server.sql("postgres", TABLE).await;
    let lines = "table = \"shop.Orders\"\nkey = [\"region\", \"id\"]\nentity = \"kind\"\n\
                 columns = [\"name\", \"amount\", \"more\"]\ncreate = true";
    let runtime = run(&env, &target("db", &server, lines)).await;
    let cases = unfit();
    let n_cases = cases.len() as u64;
    for (n, (effect, _)) in cases.iter().enumerate() {
        env.send("src.a", &asks(n, &json!([effect]))).await;
    }
    let counts = runtime.settled("p", n_cases).await;
    assert_eq!(counts.dead, n_cases);
    for (letter, (_, expected)) in env.letters().await.iter().zip(&cases) {
        assert_eq!(letter.reason, DeadReason::Refused, "{}", letter.error);
        assert!(
            letter.error.contains(expected),
            "{expected}: {}",
            letter.error
        );
        // No attempt more: a refusal stays one.
        assert_eq!(letter.history.len(), 1, "{:?}", letter.history);
    }
    assert_eq!(
        server
            .value("postgres", "SELECT count(*) FROM shop.\"Orders\"")
            .await
            .unwrap(),
        "0"
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_gives_the_row_and_its_version_and_a_write_can_rest_on_it() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    for (table, lines) in [("crm", ""), ("counted", "version = \"v\"")] {
        let lines = format!("table = \"{table}\"\nkey = \"id\"\ncreate = true\n{lines}");
        let env = match table {
            "crm" => &env,
            _ => &TestEnv::start().await,
        };
        let runtime = run(env, &target("db", &server, &lines)).await;
        let effect = |precondition: Value, payload: u64| json!({"target": "db", "key": "a", "precondition": precondition, "payload": payload});
        let lookup = json!({"do": "lookup", "target": "db", "key": "a"});
        let looked_up = effect(json!("looked-up"), 4);
        let accept = json!({"do": "accept", "effects": [looked_up]});
        let events = [
            asks(1, &json!([effect(json!("absent"), 1)])),
            asks(2, &json!([effect(json!("present"), 2)])),
            Ce::new(3).data(json!({"key": "k", "steps": [lookup, accept]})),
            asks(4, &json!([effect(json!("absent"), 5)])),
            asks(5, &json!([effect(json!({"etag": "1"}), 5)])),
            asks(
                6,
                &json!([{"target": "db", "key": "b", "precondition": "present", "payload": 5}]),
            ),
        ];
        for event in &events {
            env.send("src.a", event).await;
        }
        let counts = runtime.settled("p", 6).await;
        assert_eq!((counts.done, counts.dead), (3, 3), "{table}");
        let held = format!("SELECT data FROM {table}");
        assert_eq!(server.value("postgres", &held).await.unwrap(), "4");
        for letter in env.letters().await {
            assert_eq!(letter.reason, DeadReason::Conflict, "{}", letter.error);
            assert!(
                letter.error.contains(&format!("table `{table}`: the row")),
                "{}",
                letter.error
            );
        }
        check_law(&runtime.drain().await);
    }
}

/// Two pipelines run one after the other on the same events: the second takes them for redeliveries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivery_takes_no_row_back_and_appends_nothing_twice() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let log = "table = \"log\"\ncreate = true";
    let targets = [
        target("db", &server, DOCUMENTS),
        target("log", &server, log),
    ]
    .concat();
    let runtime = run(&env, &targets).await;
    for n in 0..20 {
        let effects = json!([
            {"target": "db", "key": "shared", "payload": n},
            {"target": "log", "operation": "append", "payload": n},
        ]);
        let data = json!({"key": format!("k{n}"), "do": "accept", "effects": effects});
        env.send("src.a", &Ce::new(n).data(data)).await;
        // One after the other, though their keys differ.
        runtime.settled("p", n + 1).await;
    }
    check_law(&runtime.drain().await);
    let tags = "SELECT xmin FROM crm";
    let before = server.value("postgres", tags).await;
    let source = env.js.get_stream("SRC").await.unwrap();
    source.delete_consumer("syncline-p").await.unwrap();
    let runtime = run(&env, &targets).await;
    runtime.settled("p", 20).await;
    assert_eq!(runtime.counts("p").done, 20);
    assert_eq!(document(&server, "shared").await, Some(json!(19)));
    assert_eq!(
        server.value("postgres", tags).await,
        before,
        "nothing was written again"
    );
    assert_eq!(
        server
            .value("postgres", "SELECT count(*) FROM log")
            .await
            .unwrap(),
        "20"
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_the_database_is_gone_and_none_dies() {
    let env = TestEnv::start().await;
    let server = Postgres::start(0).await;
    let lines = format!(
        "{DOCUMENTS}\ntimeout = \"500ms\"\nbreaker = {{ failures = 2, pause = \"50ms..200ms\" }}"
    );
    let runtime = run(&env, &target("db", &server, &lines)).await;
    let event = |n: u64| {
        let effects = json!([{"target": "db", "key": n.to_string(), "payload": n}]);
        let data = json!({"key": n.to_string(), "do": "accept", "effects": effects});
        Ce::new(n).data(data)
    };
    env.send("src.a", &event(0)).await;
    runtime.settled("p", 1).await;
    server.kill();
    for n in 1..=20 {
        env.send("src.a", &event(n)).await;
    }
    eventually("the database is left alone and tried", async || {
        runtime.target("db").probes >= 3
    })
    .await;
    server.restart().await;
    let counts = runtime.settled("p", 21).await;
    assert_eq!((counts.done, counts.dead), (21, 0));
    assert_eq!(
        server
            .value("postgres", "SELECT count(*) FROM crm")
            .await
            .unwrap(),
        "21"
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_is_waited_for_and_tried_again() {
    let env = TestEnv::start().await;
    let server = Postgres::start(4).await;
    let lines = format!("{DOCUMENTS}\ntimeout = \"300ms\"");
    let pipeline = PIPELINE.replace("attempts = 3", "attempts = 1000");
    let config = [PARTS, &target("db", &server, &lines), &pipeline].concat();
    let runtime = env.run(&config).await;
    let held = "BEGIN; INSERT INTO crm VALUES ('a', '1'); PREPARE TRANSACTION 'other'";
    server.sql("postgres", held).await;
    let effects = json!([{"target": "db", "key": "a", "payload": 2}]);
    env.send("src.a", &asks(1, &effects)).await;
    runtime
        .until("p", "it is tried again", |counts| counts.retries >= 2)
        .await;
    // A lock is an answer: the breaker stays closed.
    assert_eq!(runtime.target("db").opened, 0);
    server.sql("postgres", "COMMIT PREPARED 'other'").await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    assert_eq!(document(&server, "a").await, Some(json!(2)));
    check_law(&runtime.drain().await);
}
