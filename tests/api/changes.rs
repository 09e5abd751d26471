//! Changes over HTTP: of an entry, of a row, and of both or neither.

use super::TOKEN;
use super::client::{Answer, ask, get};
use crate::harness::{Ce, Postgres, TestEnv, check_law, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;
use syncline::api::Hash;

const PATCH: (&str, &str) = ("Content-Type", "application/merge-patch+json");

/// A bucket `crm` and a table `billing`, each with a contract, and an API at `listen`.
pub(super) fn config(env: &TestEnv, server: &Postgres, listen: &str) -> String {
    let schema = json!({
        "type": "object",
        "properties": { "id": { "type": "string" }, "n": { "type": "integer" } },
        "required": ["n"],
    });
    let operations = ["retrieve", "upsert", "merge", "delete"];
    for (file, kind) in [("crm.v2.json", "customer"), ("billing.v1.json", "account")] {
        let (name, version) = file
            .strip_suffix(".json")
            .unwrap()
            .split_once(".v")
            .unwrap();
        let contract = json!({
            "name": name,
            "version": version.parse::<u32>().unwrap(),
            "default": kind,
            "entities": { kind: { "operations": operations, "schema": schema } },
        });
        std::fs::write(env.folder().join(file), contract.to_string()).unwrap();
    }
    let (hash, url) = (Hash::of(TOKEN.as_bytes()), server.url("postgres"));
    format!(
        r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = true
timeout = "2s"
contract = {{ version = 2, schema = "crm.v2.json" }}

[targets.billing]
kind = "postgres"
url = "{url}"
table = "account"
key = "id"
data = "data"
create = true
timeout = "2s"
contract = {{ version = 1, schema = "billing.v1.json" }}

[api]
listen = "{listen}"
[api.tokens.all]
sha256 = "{hash}"
scopes = ["*:*"]
"#
    )
}

/// A bucket, a table, and the API over both.
pub(super) struct World {
    pub(super) env: TestEnv,
    pub(super) server: Postgres,
}

impl World {
    pub(super) async fn start() -> Self {
        let (env, server) = (TestEnv::start().await, Postgres::start(8).await);
        Self { env, server }
    }

    pub(super) fn config(&self) -> String {
        config(&self.env, &self.server, "127.0.0.1:0")
    }
}

fn problem(answer: &Answer) -> String {
    let link = answer.json()["type"].as_str().unwrap().to_owned();
    link.rsplit_once('#').unwrap().1.to_owned()
}

/// The life of one entity, which is the same in every kind of target.
async fn lives(api: SocketAddr, path: &str) {
    let put = format!("PUT {path}");
    let created = ask(
        api,
        &put,
        &[("If-None-Match", "*")],
        r#"{"id":"a/b","n":1}"#,
    )
    .await;
    assert_eq!(created.status, 201, "{created:?}");
    let found = get(api, path).await;
    assert_eq!(found.json(), json!({"id": "a/b", "n": 1}));
    assert_eq!(created.headers["etag"], found.headers["etag"]);
    let again = ask(api, &put, &[("If-None-Match", "*")], r#"{"n":2}"#).await;
    assert_eq!(
        (again.status, problem(&again).as_str()),
        (412, "precondition-failed")
    );

    let etag = found.headers["etag"].clone();
    let seen = ("If-Match", etag.as_str());
    let patched = ask(api, &format!("PATCH {path}"), &[PATCH, seen], r#"{"n":2}"#).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.json(), json!({"id": "a/b", "n": 2}));
    assert_ne!(patched.headers["etag"], etag);
    let late = ask(api, &put, &[seen], r#"{"n":3}"#).await;
    assert_eq!(
        (late.status, problem(&late).as_str()),
        (412, "precondition-failed")
    );
    let bad = ask(api, &format!("PATCH {path}"), &[PATCH], r#"{"n":"x"}"#).await;
    assert_eq!(
        (bad.status, problem(&bad).as_str()),
        (422, "not-in-contract")
    );
    assert_eq!(get(api, path).await.json()["n"], 2);

    let (kind, _) = path.rsplit_once('/').unwrap();
    let listed = get(api, &format!("{kind}?prefix=a%2F")).await.json();
    assert_eq!(listed["entities"][0]["key"], "a/b", "{listed}");
    assert_eq!(listed["entities"][0]["entity"]["n"], 2, "{listed}");
    assert!(listed.get("next").is_none(), "{listed}");

    let replaced = ask(api, &put, &[], r#"{"id":"a/b","n":4}"#).await;
    assert_eq!((replaced.status, replaced.body.as_str()), (204, ""));
    let gone = ask(api, &format!("DELETE {path}"), &[], "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(get(api, path).await.status, 404);
    let nothing = ask(api, &format!("DELETE {path}"), &[], "").await;
    assert_eq!(
        (nothing.status, problem(&nothing).as_str()),
        (404, "no-such-key")
    );
    let nothing = ask(api, &format!("PATCH {path}"), &[PATCH], r#"{"n":5}"#).await;
    assert_eq!(
        (nothing.status, problem(&nothing).as_str()),
        (404, "no-such-key")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_and_a_row_are_created_changed_and_deleted() {
    let world = World::start().await;
    let runtime = world.env.run(&world.config()).await;
    lives(runtime.api(), "/v2/crm/customer/a%2Fb").await;
    lives(runtime.api(), "/v1/billing/_/a%2Fb").await;
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_changes_nothing_more() {
    let world = World::start().await;
    let runtime = world.env.run(&world.config()).await;
    let api = runtime.api();
    let key = ("Idempotency-Key", "k-1");
    let path = "/v1/billing/_/a";
    let put = format!("PUT {path}");
    let first = ask(api, &put, &[key, ("If-None-Match", "*")], r#"{"n":1}"#).await;
    assert_eq!(first.status, 201, "{first:?}");
    let other = ask(api, &put, &[], r#"{"n":2}"#).await;
    assert_eq!(other.status, 204, "{other:?}");
    // Its answer was lost, say, and meanwhile another client had its way.
    let again = ask(api, &put, &[key, ("If-None-Match", "*")], r#"{"n":1}"#).await;
    assert_eq!(again.status, 204, "{again:?}");
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert!(
        !again.headers.contains_key("etag"),
        "it is another's by now"
    );
    assert_eq!(get(api, path).await.json(), json!({"n": 2}));
    for (line, body) in [
        (put.as_str(), r#"{"n":3}"#),
        ("PUT /v1/billing/_/b", r#"{"n":1}"#),
        ("DELETE /v1/billing/_/a", ""),
    ] {
        let reused = ask(api, line, &[key], body).await;
        assert_eq!(
            (reused.status, problem(&reused).as_str()),
            (422, "key-reused"),
            "{line}"
        );
    }
    assert_eq!(get(api, path).await.json(), json!({"n": 2}));
    // A request that failed has changed nothing, and its key is free.
    let key = ("Idempotency-Key", "k-2");
    let failed = ask(api, &put, &[key, ("If-None-Match", "*")], r#"{"n":4}"#).await;
    assert_eq!(failed.status, 412, "{failed:?}");
    let later = ask(api, &put, &[key], r#"{"n":4}"#).await;
    assert_eq!(later.status, 204, "{later:?}");
    assert!(!later.headers.contains_key("idempotent-replayed"));
    assert!(runtime.drain().await.drained);
}

fn upsert(target: &str, version: u32, key: &str, n: i64) -> Value {
    json!({ "target": target, "version": version, "operation": "upsert", "key": key,
            "payload": { "n": n } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_targets_change_together_or_not_at_all() {
    let world = World::start().await;
    let small = "CREATE TABLE account (id text PRIMARY KEY, data jsonb, \
                 CONSTRAINT small CHECK ((data->>'n')::int < 10))";
    world.server.sql("postgres", small).await;
    let runtime = world.env.run(&world.config()).await;
    let api = runtime.api();
    let transact = async |effects: Value| {
        let body = json!({ "effects": effects }).to_string();
        ask(api, "POST /v1/transactions", &[], &body).await
    };
    let done = transact(json!([
        upsert("crm", 2, "a", 1),
        upsert("billing", 1, "a", 1)
    ]))
    .await;
    assert_eq!(done.status, 200, "{done:?}");
    let refused = transact(json!([
        upsert("crm", 2, "a", 11),
        upsert("billing", 1, "a", 11)
    ]))
    .await;
    assert_eq!(
        (refused.status, problem(&refused).as_str()),
        (422, "refused")
    );
    assert!(refused.json()["detail"].as_str().unwrap().contains("small"));
    let mut stale = upsert("billing", 1, "a", 2);
    stale["if_none_match"] = json!("*");
    let failed = transact(json!([upsert("crm", 2, "a", 2), stale])).await;
    assert_eq!(
        (failed.status, problem(&failed).as_str()),
        (412, "precondition-failed")
    );
    for path in ["/v2/crm/_/a", "/v1/billing/_/a"] {
        assert_eq!(get(api, path).await.json(), json!({"n": 1}), "{path}");
    }
    let mut moved = [
        upsert("crm", 2, "b", 7),
        json!({ "target": "billing", "version": 1,
        "operation": "delete", "key": "a" }),
    ];
    moved[1]["if_match"] = json!(get(api, "/v1/billing/_/a").await.headers["etag"]);
    let done = transact(json!(moved)).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(get(api, "/v2/crm/_/b").await.json(), json!({"n": 7}));
    assert_eq!(get(api, "/v1/billing/_/a").await.status, 404);
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_one_entity_come_one_after_the_other() {
    let world = World::start().await;
    let runtime = world.env.run(&world.config()).await;
    let api = runtime.api();
    let made = ask(api, "PUT /v2/crm/_/a", &[], r#"{"n":0}"#).await;
    assert_eq!(made.status, 201);
    let patches = (1..=30).map(|n| async move {
        let body = format!(r#"{{"n":{n},"of-{n}":true}}"#);
        ask(api, "PATCH /v2/crm/_/a", &[PATCH], &body).await.status
    });
    let statuses = futures::future::join_all(patches).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let found = get(api, "/v2/crm/_/a").await.json();
    assert_eq!(found.as_object().unwrap().len(), 31, "{found}");
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_leaves_everything_as_it_was() {
    let world = World::start().await;
    let runtime = world.env.run(&world.config()).await;
    let api = runtime.api();
    let both = json!([upsert("crm", 2, "a", 1), upsert("billing", 1, "a", 1)]);
    let body = json!({ "effects": both }).to_string();
    let key = ("Idempotency-Key", "k");
    world.server.kill();
    let away = ask(api, "POST /v1/transactions", &[key], &body).await;
    assert!(away.status == 503 || away.status == 504, "{away:?}");
    assert_eq!(get(api, "/v2/crm/_/a").await.status, 404);
    world.server.restart().await;
    eventually("it is made", async || {
        let answer = ask(api, "POST /v1/transactions", &[key], &body).await;
        answer.status == 200
    })
    .await;
    for path in ["/v2/crm/_/a", "/v1/billing/_/a"] {
        assert_eq!(get(api, path).await.json(), json!({"n": 1}), "{path}");
    }
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_goes_on_beside_changes_by_hand() {
    let env = TestEnv::start().await;
    let runtime = env
        .run(&super::config(&env, "127.0.0.1:0").replace("crm:retrieve", "*:*"))
        .await;
    let api = runtime.api();
    let effect =
        json!({"target": "crm", "entity": "customer", "key": "a", "payload": {"by": "event"}});
    let data = json!({"key": "k", "do": "accept", "effects": [effect]});
    env.send("src.a", &Ce::new("1").data(data)).await;
    runtime.settled("p", 1).await;
    let etag = get(api, "/v2/crm/customer/a").await.headers["etag"].clone();
    let put = "PUT /v2/crm/customer/a";
    let changed = ask(api, put, &[("If-Match", &etag)], r#"{"by":"hand"}"#).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert_eq!(
        get(api, "/v2/crm/customer/a").await.json(),
        json!({"by": "hand"})
    );
    check_law(&runtime.drain().await);
}
