//! Several major versions of a contract side by side: over the API, over NATS, by plugins, and what becomes of
//! adapters that do not keep to their cases.

use super::TOKEN;
use super::client::{Answer, ask, get};
use crate::cli::in_dir;
use crate::harness::{Ce, Running, TestEnv, check_law, guests};
use serde_json::{Value, json};
use std::path::Path;
use syncline::api::Hash;
use syncline::app::AppError;
use syncline::event::DeadReason;

const PATCH: (&str, &str) = ("Content-Type", "application/merge-patch+json");

/// Version 2 calls the name `full_name` and has a tier.
fn write(folder: &Path, cases: &Value) {
    let operations = ["retrieve", "upsert", "merge", "delete"];
    let text = json!({ "type": "string" });
    let schemas = [
        json!({ "type": "object", "properties": { "name": text }, "required": ["name"] }),
        json!({
            "type": "object",
            "properties": { "full_name": text, "tier": { "enum": ["free", "pro"] } },
            "required": ["full_name", "tier"],
        }),
    ];
    for (version, schema) in (1..).zip(schemas) {
        let customer = json!({ "operations": operations, "schema": schema });
        let contract =
            json!({ "name": "crm", "version": version, "entities": { "customer": customer } });
        let file = folder.join(format!("crm.v{version}.json"));
        std::fs::write(file, contract.to_string()).unwrap();
    }
    std::fs::write(folder.join("cases.json"), cases.to_string()).unwrap();
    std::fs::copy(guests::file("ADAPT_MEMBERS"), folder.join("adapt.wasm")).unwrap();
}

fn cases() -> Value {
    json!([{
        "key": "c-1",
        "data": { "name": "Ada", "age": 36 },
        "becomes": { "full_name": "Ada", "age": 36, "tier": "free" },
        "patch": { "name": "Bob", "age": null },
    }])
}

fn config() -> String {
    let hash = Hash::of(TOKEN.as_bytes());
    format!(
        r#"
[plugins.adapt]
path = "adapt.wasm"
config = {{ rename = {{ "/name" = "/full_name" }}, defaults = {{ "/tier" = "free" }} }}

[targets.crm]
kind = "kv"
bucket = "crm"
create = true
contract = {{ version = 2, schema = "crm.v2.json" }}

[[targets.crm.versions]]
version = 1
schema = "crm.v1.json"
adapter = "adapt"
cases = "cases.json"
deprecated = "2026-11-01"
sunset = 2027-06-30

[api]
listen = "127.0.0.1:0"
[api.service]
scopes = ["crm:retrieve"]
[api.tokens.all]
sha256 = "{hash}"
scopes = ["*:*"]
"#
    )
}

const PIPELINE: &str = r#"
[plugins.reader]
path = "${FIRST_READER}"
grants = { lookup = ["crm"] }

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
stages = ["reader"]
targets = ["crm"]
"#;

async fn run(env: &TestEnv, more: &str) -> Running {
    write(env.folder(), &cases());
    env.run(&(config() + more)).await
}

fn problem(answer: &Answer) -> String {
    let link = answer.json()["type"].as_str().unwrap().to_owned();
    link.rsplit_once('#').unwrap().1.to_owned()
}

const FIRST: &str = "/v1/crm/customer/c-1";
const SECOND: &str = "/v2/crm/customer/c-1";

/// A runtime, and Ada, whom a client of the first version has written.
async fn with_ada(env: &TestEnv) -> Running {
    let runtime = run(env, "").await;
    let ada = r#"{"name":"Ada","age":36}"#;
    let put = ask(runtime.api(), &format!("PUT {FIRST}"), &[], ada).await;
    assert_eq!(put.status, 201, "{put:?}");
    let found = get(runtime.api(), FIRST).await;
    assert_eq!(put.headers["etag"], found.headers["etag"]);
    runtime
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_is_read_in_each_version() {
    let env = TestEnv::start().await;
    let runtime = with_ada(&env).await;
    let api = runtime.api();
    let (old, new) = (get(api, FIRST).await, get(api, SECOND).await);
    let ada = json!({ "name": "Ada", "age": 36 });
    assert_eq!(old.json(), ada);
    let expected = json!({ "full_name": "Ada", "age": 36, "tier": "free" });
    assert_eq!(new.json(), expected);
    assert_eq!(old.headers["etag"], new.headers["etag"]);
    let listed = get(api, "/v1/crm/customer").await.json();
    assert_eq!(listed["entities"][0]["entity"], ada);
    let keys = r#"{"keys":["c-1"]}"#;
    let several = ask(api, "POST /v1/crm/customer:retrieve", &[], keys).await;
    assert_eq!(several.json()["entities"][0]["entity"], ada);

    // Midnight of the first of November 2026, and the last day of June after that.
    assert_eq!(old.headers["deprecation"], "@1793491200");
    assert_eq!(old.headers["sunset"], "Wed, 30 Jun 2027 00:00:00 GMT");
    let absent = get(api, "/v1/crm/customer/c-2").await;
    assert_eq!(absent.status, 404);
    assert!(absent.headers.contains_key("sunset"), "{absent:?}");
    for name in ["deprecation", "sunset"] {
        assert!(!new.headers.contains_key(name), "{new:?}");
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_is_changed_in_each_version() {
    let env = TestEnv::start().await;
    let runtime = with_ada(&env).await;
    let api = runtime.api();
    let (first, second) = (format!("PATCH {FIRST}"), format!("PATCH {SECOND}"));
    // An etag is that of the entity, whichever the version.
    let etag = get(api, SECOND).await.headers["etag"].clone();
    let seen = [PATCH, ("If-Match", etag.as_str())];
    let patched = ask(api, &first, &seen, r#"{"name":"Bob"}"#).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.json(), json!({ "name": "Bob", "age": 36 }));
    let again = ask(api, &first, &seen, r#"{"name":"Eve"}"#).await;
    assert_eq!(problem(&again), "precondition-failed");
    let tier = ask(api, &second, &[PATCH], r#"{"tier":"pro"}"#).await;
    let expected = json!({ "full_name": "Bob", "age": 36, "tier": "pro" });
    assert_eq!(tier.json(), expected);

    let effect = |version: u32, operation: &str, key: &str, payload: Value| {
        json!({ "target": "crm", "version": version, "entity": "customer", "operation": operation,
                "key": key, "payload": payload })
    };
    let both = json!({ "effects": [
        effect(1, "upsert", "c-2", json!({ "name": "Eve" })),
        effect(2, "merge", "c-1", json!({ "age": 37 })),
    ] });
    let done = ask(api, "POST /v1/transactions", &[], &both.to_string()).await;
    assert_eq!(done.status, 200, "{done:?}");
    let eve = get(api, "/v2/crm/customer/c-2").await.json();
    assert_eq!(eve, json!({ "full_name": "Eve", "tier": "free" }));
    assert_eq!(get(api, FIRST).await.json()["age"], 37);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_keep_to_its_version_or_to_the_one_that_is_held_is_refused() {
    let env = TestEnv::start().await;
    let runtime = with_ada(&env).await;
    let (first, second) = ("PUT /v1/crm/customer/c-3", "PUT /v2/crm/customer/c-3");
    for (line, body, expected) in [
        (first, r#"{"name":7}"#, "not-in-contract"),
        (second, r#"{"full_name":"x"}"#, "not-in-contract"),
        // By version 1 anything may stand there, by version 2 not.
        (first, r#"{"name":"x","tier":"gold"}"#, "not-in-contract"),
        ("GET /v3/crm/customer/c-1", "", "unknown-version"),
    ] {
        let answer = ask(runtime.api(), line, &[], body).await;
        assert_eq!(problem(&answer), expected, "{answer:?}");
    }
    let other = get(runtime.api(), "/v3/crm/customer/c-1").await;
    let expected = "serves version 2 and 1, not 3";
    assert!(other.body.contains(expected), "{}", other.body);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_is_described_and_offered_over_nats() {
    let env = TestEnv::start().await;
    let runtime = run(&env, "").await;
    let put = ask(
        runtime.api(),
        "PUT /v2/crm/customer/c-1",
        &[],
        r#"{"full_name":"Ada","tier":"pro"}"#,
    );
    assert_eq!(put.await.status, 201);
    let document = get(runtime.api(), "/openapi.json").await.json();
    let of = |version: u32| &document["paths"][format!("/v{version}/crm/customer/{{key}}")]["get"];
    assert_eq!(of(1)["deprecated"], json!(true));
    assert!(of(2)["responses"].is_object() && of(2)["deprecated"].is_null());
    let client = env.client();
    let asked = client.request(
        "syncline.api.v1.crm.customer.retrieve",
        r#"{"key":"c-1"}"#.into(),
    );
    let answer = asked.await.unwrap();
    let entity: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(entity, json!({ "name": "Ada" }));
    let headers = answer.headers.unwrap();
    assert_eq!(
        headers.get("sunset").unwrap().as_str(),
        "Wed, 30 Jun 2027 00:00:00 GMT"
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_the_first_version_works_on_a_target_that_holds_the_second() {
    let env = TestEnv::start().await;
    let runtime = run(&env, PIPELINE).await;
    for (n, name) in (1..).zip(["Ada", "Bob", "Eve"]) {
        let event = Ce::new(n).data(json!({ "key": "c-1", "name": name }));
        env.send("src.c-1", &event).await;
        runtime.settled("p", n).await;
    }
    let held = env.entry("crm", "c-1").await.unwrap();
    let expected = json!({ "key": "c-1", "full_name": "Ada, Bob, Eve", "tier": "free" });
    assert_eq!(held, expected);
    // What does not keep to its version is told in that version.
    let wrong = Ce::new(4).data(json!({ "key": "c-2", "name": 7 }));
    env.send("src.c-2", &wrong).await;
    runtime.settled("p", 4).await;
    let letters = env.letters().await;
    assert_eq!(letters[0].reason, DeadReason::Contract);
    assert!(
        letters[0].error.contains("contract crm v1"),
        "{}",
        letters[0].error
    );

    let config = env.folder().join("syncline.toml");
    std::fs::write(&config, env.text(&(self::config() + PIPELINE))).unwrap();
    assert_eq!(get(runtime.api(), "/v2/crm/_/c-1").await.status, 200);
    let dir = env.folder().to_owned();
    let listing = tokio::task::spawn_blocking(move || {
        let listed = |flags: &[&str]| {
            let said = in_dir(&dir, &[&["contract", "list"], flags].concat(), "").fine();
            let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.collect::<Vec<Value>>()
        };
        (listed(&["--json"]), listed(&["--json", "--connect"]))
    });
    let (alone, connected) = listing.await.unwrap();
    assert_eq!(alone.len(), 2);
    assert_eq!(
        (&alone[0]["version"], &alone[0]["adapter"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(
        (&alone[1]["version"], &alone[1]["adapter"]),
        (&json!(1), &json!("adapt"))
    );
    assert_eq!(alone[1]["sunset"], "2027-06-30");
    assert_eq!(alone[1]["uses"], Value::Null);
    let by = |uses: &Value| {
        let uses = uses.as_array().unwrap().iter();
        let by: Vec<_> = uses
            .map(|used| used["by"].as_str().unwrap().to_owned())
            .collect();
        by
    };
    assert_eq!(by(&connected[0]["uses"]), ["token all"]);
    assert_eq!(connected[0]["uses"][0]["n_requests"], 1);
    assert_eq!(by(&connected[1]["uses"]), ["plugin reader in p"]);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_does_not_keep_to_its_cases_is_not_used() {
    let env = TestEnv::start().await;
    let wrong = |change: Value| {
        let mut cases = cases();
        let members = cases[0].as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        cases
    };
    for (cases, expected) in [
        (wrong(json!({ "becomes": {} })), "and should become {}"),
        (
            wrong(json!({ "data": { "name": "Ada", "tier": "pro" }, "becomes": null })),
            "it comes back as",
        ),
        (
            wrong(json!({ "data": { "name": 7 } })),
            "as contract crm v1: at `/name`",
        ),
        (
            wrong(json!({ "patch": { "tier": null } })),
            "patched before, it becomes",
        ),
    ] {
        write(env.folder(), &cases);
        let refused = Running::try_start(env.parse(&config())).await;
        let Err(AppError::Plugins(errors)) = refused else {
            panic!("{expected}: it starts");
        };
        let told = errors[0].to_string();
        assert!(told.contains("case 1, key `c-1`: "), "{told}");
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let file = env.folder().join("syncline.toml");
    std::fs::write(file, env.text(&config())).unwrap();
    let dir = env.folder().to_owned();
    let said = tokio::task::spawn_blocking(move || in_dir(&dir, &["validate"], ""));
    let said = said.await.unwrap();
    assert_eq!(said.code, 1, "{}", said.whole());
    assert!(
        said.whole().contains("plugins.adapt.path: "),
        "{}",
        said.whole()
    );
    assert!(
        said.whole().contains("case 1, key `c-1`"),
        "{}",
        said.whole()
    );

    let runtime = run(&env, "").await;
    let before = runtime.digest("adapt", "_adapter");
    // Lets everything pass, so that names stay as they are.
    std::fs::copy(
        guests::file("FILTER_BY_FIELD"),
        env.folder().join("adapt.wasm"),
    )
    .unwrap();
    let refused = runtime.plugins().swap("adapt").await.unwrap_err();
    assert!(!refused.to_string().is_empty());
    std::fs::copy(
        guests::file("FIRST_VERSION"),
        env.folder().join("adapt.wasm"),
    )
    .unwrap();
    let refused = runtime.plugins().swap("adapt").await.unwrap_err();
    assert!(refused.to_string().contains("crm"), "{refused}");
    assert_eq!(runtime.digest("adapt", "_adapter"), before);
    check_law(&runtime.drain().await);
}
