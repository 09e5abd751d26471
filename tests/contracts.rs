//! Contracts of targets: what does not keep to one is not applied, by whomever it was sent.

use crate::cli::in_dir;
use crate::harness::{Ce, PARTS, Running, TestEnv, check_law, guests};
use serde_json::{Value, json};
use std::path::Path;
use syncline::app::AppError;
use syncline::event::DeadReason;

const SOURCE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
"#;

const CONTRACT: &str = r#"
[targets.crm.contract]
version = 2
schema = "contracts/crm.v2.json"
"#;

fn customers() -> Value {
    json!({
        "name": "crm",
        "version": 2,
        "default": "customer",
        "entities": {
            "customer": {
                "key": { "members": ["/id"], "schema": { "pattern": "^c-" } },
                "operations": ["retrieve", "upsert", "merge"],
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": { "type": "string" },
                        "name": { "type": "string" },
                        "seats": { "type": "integer", "minimum": 1 },
                    },
                    "required": ["id", "name"],
                },
            },
            "note": { "operations": ["upsert"], "schema": true },
        },
    })
}

/// Writes a contract to where the configurations of these tests name it.
fn write(folder: &Path, contract: &Value) {
    let name = contract["name"].as_str().unwrap();
    let file = format!("contracts/{name}.v{}.json", contract["version"]);
    std::fs::create_dir_all(folder.join("contracts")).unwrap();
    std::fs::write(folder.join(file), contract.to_string()).unwrap();
}

async fn run(env: &TestEnv, contract: &Value, settings: &str) -> Running {
    write(env.folder(), contract);
    env.run(&[PARTS, CONTRACT, SOURCE, settings].concat()).await
}

/// Effects that do not keep to the contract, and what the dead letter says.
fn violations() -> Vec<(Value, &'static str)> {
    let ada = json!({"id": "c-1", "name": "Ada"});
    vec![
        (
            json!({"key": "c-1", "payload": {"id": "c-1", "name": "Ada", "seats": "many"}}),
            "target `crm`: contract crm v2, entity `customer`, key `c-1`, upsert: at `/seats`: it \
             is not of type \"integer\"",
        ),
        (
            json!({"key": "c-1", "payload": {"id": "c-1"}}),
            "key `c-1`, upsert: the payload as a whole: \"name\" is a required property",
        ),
        (
            json!({"key": "c-1", "operation": "merge", "payload": {"name": null}}),
            "key `c-1`, merge: at `/name`: it is required, and `null` would take it out",
        ),
        (
            json!({"key": "c-1", "operation": "merge", "payload": {"seats": 0}}),
            "key `c-1`, merge: at `/seats`: it is less than the minimum of 1",
        ),
        (
            json!({"key": "c-1", "operation": "delete"}),
            "key `c-1`, delete: `delete` is none of its operations: retrieve, upsert, merge",
        ),
        (
            json!({"key": "c-1", "entity": "invoice", "payload": ada}),
            "entity `invoice`, key `c-1`, upsert: contract crm v2 has no entity `invoice`",
        ),
        (
            json!({"key": "d-1", "payload": ada}),
            "the key itself does not match \"^c-\"",
        ),
        (
            json!({"key": "c-2", "payload": ada}),
            "key `c-2`, upsert: at `/id`: it is not what the key says",
        ),
        (
            json!({"key": "c-1", "text": "no json"}),
            "the payload as a whole: it is not JSON",
        ),
    ]
}

/// The first effect is sound, and for another target: it must not be applied either.
async fn are_dead_letters(settings: &str) {
    let env = TestEnv::start().await;
    let runtime = run(&env, &customers(), settings).await;
    let cases = violations();
    for (n, (effect, _)) in cases.iter().enumerate() {
        let mut effect = effect.clone();
        effect["target"] = json!("crm");
        let effects = json!([{"target": "search", "key": "before"}, effect]);
        let data = json!({"key": format!("k{n}"), "do": "accept", "effects": effects});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let counts = runtime.settled("p", cases.len() as u64).await;
    assert_eq!(
        (counts.dead, counts.effects, counts.retries),
        (cases.len() as u64, 0, 0)
    );
    let letters = env.letters().await;
    for (n, (_, expected)) in cases.iter().enumerate() {
        let key = format!("k{n}");
        let letter = letters.iter().find(|letter| letter.key == key).unwrap();
        assert_eq!(letter.reason, DeadReason::Contract);
        assert!(
            letter.error.contains(expected),
            "{expected}: {}",
            letter.error
        );
        assert_eq!(letter.history[0].place.as_deref(), Some("crm"));
        assert_eq!(letter.accepted, []);
    }
    assert!(env.kv("crm").await.is_empty());
    assert_eq!(env.n_messages("SEARCH").await, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_once_nothing_of_an_event_is_applied_that_breaks_a_contract() {
    are_dead_letters("guarantee = \"at-least-once\"\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_atomic_event_is_applied_that_breaks_a_contract() {
    are_dead_letters("guarantee = \"atomic\"\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_to_the_contract_is_applied() {
    let env = TestEnv::start().await;
    let runtime = run(&env, &customers(), "").await;
    let effects = [
        json!({"target": "crm", "key": "c-1", "payload": {"id": "c-1", "name": "Ada", "x": 1}}),
        json!({"target": "crm", "key": "c-1", "operation": "merge", "payload": {"seats": 2, "x": null}}),
        json!({"target": "search", "key": "1", "payload": {"anything": []}}),
    ];
    for (n, effect) in effects.into_iter().enumerate() {
        let data = json!({"key": "k", "do": "accept", "effects": [effect]});
        env.send("src.a", &Ce::new(n).data(data)).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.effects), (3, 3));
    let ada = json!({"id": "c-1", "name": "Ada", "seats": 2});
    assert_eq!(env.entry("crm", "c-1").await, Some(ada));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_was_copied_keeps_to_the_contract_or_is_a_dead_letter() {
    let env = TestEnv::start().await;
    write(env.folder(), &customers());
    let copy = SOURCE.replace("stages = [\"probe\"]", "to = [{ target = \"crm\" }]");
    let runtime = env.run(&[PARTS, CONTRACT, &copy].concat()).await;
    for (id, name) in [("c-1", json!("Ada")), ("c-2", json!(7))] {
        let data = json!({"key": id, "id": id, "name": name});
        env.send("src.a", &Ce::new(id).data(data)).await;
    }
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1));
    assert_eq!(env.kv("crm").await.len(), 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_correction_of_the_contract_its_letters_are_replayed() {
    let env = TestEnv::start().await;
    let copy = SOURCE.replace("stages = [\"probe\"]", "to = [{ target = \"crm\" }]");
    let config = [PARTS, CONTRACT, &copy].concat();
    write(env.folder(), &customers());
    let runtime = env.run(&config).await;
    let data = json!({"key": "c-1", "id": "c-1", "name": "Ada", "seats": "many"});
    env.send("src.a", &Ce::new("1").data(data.clone())).await;
    assert_eq!(runtime.settled("p", 1).await.dead, 1);
    check_law(&runtime.drain().await);

    let mut corrected = customers();
    corrected["entities"]["customer"]["schema"]["properties"]["seats"] = json!(true);
    write(env.folder(), &corrected);
    let runtime = env.run(&config).await;
    let url = env.nats.url();
    let replay = ["dlq", "replay", "--reason", "contract", "--nats", &url];
    assert_eq!(in_dir(env.folder(), &replay, "").fine(), "replayed 1\n");
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.replayed), (1, 1));
    assert_eq!(env.entry("crm", "c-1").await, Some(data));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_reads_what_the_contract_lets_it() {
    let env = TestEnv::start().await;
    let runtime = run(&env, &customers(), "").await;
    let look =
        |entity: &str| json!({"do": "lookup", "target": "crm", "entity": entity, "key": "c-1"});
    let report = json!({"do": "reject", "reason": "$results"});
    for entity in ["customer", "note", "invoice"] {
        let data = json!({"key": entity, "steps": [look(entity), report]});
        env.send("src.a", &Ce::new(entity).data(data)).await;
    }
    runtime.settled("p", 3).await;
    let letters = env.letters().await;
    for (entity, expected) in [
        ("customer", "[null]"),
        (
            "note",
            "contract crm v2: `retrieve` is none of its operations: upsert",
        ),
        (
            "invoice",
            "contract crm v2 has no entity `invoice`, only `customer`, `note`",
        ),
    ] {
        let letter = letters.iter().find(|letter| letter.key == entity).unwrap();
        assert!(
            letter.error.contains(expected),
            "{entity}: {}",
            letter.error
        );
    }
    check_law(&runtime.drain().await);
}

const VERSIONS: &str = r#"
[plugins.first]
path = "${FIRST_VERSION}"

[targets.crm]
kind = "kv"
bucket = "crm"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
stages = ["first"]
targets = ["crm"]
"#;

fn serving(version: u32) -> String {
    format!(
        "{VERSIONS}\n[targets.crm.contract]\nversion = {version}\n\
         schema = \"contracts/crm.v{version}.json\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_writes_a_version_that_its_target_does_not_serve_is_not_started() {
    let env = TestEnv::start().await;
    for version in [1, 2] {
        let mut contract = customers();
        contract["version"] = json!(version);
        write(env.folder(), &contract);
    }
    let refused = Running::try_start(env.parse(&serving(2))).await;
    let Err(AppError::Plugins(errors)) = refused else {
        panic!("the target serves version 2 only");
    };
    let expected = "cannot load plugin `first`: it writes version 1 of the contract of target \
                    `crm`, which serves version 2";
    assert!(errors[0].to_string().contains(expected), "{}", errors[0]);
    for config in [serving(1), VERSIONS.to_owned()] {
        let runtime = env.run(&config).await;
        check_law(&runtime.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_to_a_plugin_that_writes_another_version_changes_nothing() {
    let env = TestEnv::start().await;
    write(env.folder(), &customers());
    let file = env.folder().join("plugin.wasm");
    std::fs::write(&file, guests::bytes("PROBE")).unwrap();
    let grants = "\"plugin.wasm\"\ngrants = { lookup = [\"*\"], state = true }";
    let config = serving(2).replace("\"${FIRST_VERSION}\"", grants);
    let runtime = env.run(&config).await;
    let before = runtime.digest("first", "p");
    std::fs::write(&file, guests::bytes("FIRST_VERSION")).unwrap();
    let refused = runtime.plugins().swap("first").await.unwrap_err();
    assert!(
        refused.to_string().contains("which serves version 2"),
        "{refused}"
    );
    assert_eq!(runtime.digest("first", "p"), before);
    check_law(&runtime.drain().await);
}

#[test]
fn validate_refuses_a_plugin_that_writes_a_version_that_its_target_does_not_serve() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("syncline.toml");
    for (version, code) in [(1, 0), (2, 1)] {
        let mut contract = customers();
        contract["version"] = json!(version);
        write(dir.path(), &contract);
        std::fs::write(&config, serving(version)).unwrap();
        let said = in_dir(dir.path(), &["validate"], "");
        assert_eq!(said.code, code, "{}", said.whole());
        if code == 1 {
            let expected = "syncline.toml:3:1: plugins.first.path: cannot load plugin `first`: it \
                            writes version 1 of the contract of target `crm`, which serves version 2";
            assert!(said.whole().contains(expected), "{}", said.whole());
        }
    }
}

/// Two files of one contract, and what `contract check` says of them.
fn checked(change: impl FnOnce(&mut Value), flags: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut later = customers();
    change(&mut later);
    std::fs::write(dir.path().join("old.json"), customers().to_string()).unwrap();
    std::fs::write(dir.path().join("new.json"), later.to_string()).unwrap();
    let said = in_dir(
        dir.path(),
        &[&["contract", "check", "old.json", "new.json"], flags].concat(),
        "",
    );
    (said.code, said.whole())
}

#[test]
fn what_a_later_file_breaks_is_told_with_its_place() {
    let schema = "/entities/customer/schema";
    let change = |it: &mut Value| {
        let schema = it.pointer_mut(schema).unwrap();
        schema["properties"]["email"] = json!({ "type": "string" });
        schema["required"] = json!(["id", "name", "email"]);
        schema["properties"]["seats"]["minimum"] = json!(0);
    };
    let (code, text) = checked(change, &[]);
    assert_eq!(code, 1, "{text}");
    for line in [
        "new.json#/entities/customer/schema/properties/email: compatible: the member `email` is new",
        "new.json#/entities/customer/schema/required: breaks writers: the member `email` has to be \
         there now",
        "new.json#/entities/customer/schema/properties/seats/minimum: breaks readers: `minimum` was \
         1, and is 0",
        "breaking: 2 of 3 differences",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
    let (code, text) = checked(change, &["--for", "readers"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("breaking: 1 of 2 differences") && !text.contains("writers"),
        "{text}"
    );
    let (code, text) = checked(change, &["--json"]);
    let report: Value =
        serde_json::from_str(text.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!((code, &report["compatible"]), (1, &json!(false)));
    let expected = json!({
        "file": "new",
        "path": "/entities/customer/schema/required",
        "change": "newly-required",
        "breaks": ["writers"],
        "message": "the member `email` has to be there now",
    });
    assert!(
        report["findings"].as_array().unwrap().contains(&expected),
        "{report}"
    );
}

#[test]
fn a_later_file_that_breaks_nobody_is_fine() {
    let (code, text) = checked(|it| it["title"] = json!("CRM"), &[]);
    assert_eq!(
        (code, text.contains("compatible: no differences")),
        (0, true),
        "{text}"
    );
    let looser = |it: &mut Value| {
        it["entities"]["customer"]["schema"]["properties"]["seats"] = json!({ "type": "integer" });
    };
    let (code, text) = checked(looser, &["--for", "writers"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = checked(looser, &[]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn a_file_that_is_no_contract_is_a_usage_error() {
    let (code, text) = checked(|it| it["entities"]["note"]["etag"] = json!("strong"), &[]);
    assert_eq!(code, 2, "{text}");
    for part in [
        "error: cannot read the contract `new.json`",
        "why: new.json#/entities/note/etag: \"strong\" is no policy",
        "do:  correct the file",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_contracts_that_targets_serve_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &customers());
    std::fs::write(dir.path().join("syncline.toml"), serving(2)).unwrap();
    let text = in_dir(dir.path(), &["contract", "list"], "").fine();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        [
            "target", "contract", "version", "entities", "until", "used", "by"
        ]
    );
    assert_eq!(rows[1..], [["crm", "crm", "2", "customer,", "note"]]);
    let text = in_dir(dir.path(), &["contract", "list", "--json"], "").fine();
    let line: Value = serde_json::from_str(&text).unwrap();
    let customer = json!({
        "entity": "customer",
        "operations": ["retrieve", "upsert", "merge"],
        "etag": "optional",
    });
    assert_eq!(
        (&line["version"], &line["entities"][0]),
        (&json!(2), &customer)
    );
    std::fs::write(dir.path().join("syncline.toml"), VERSIONS).unwrap();
    assert_eq!(
        in_dir(dir.path(), &["contract", "list"], "").fine(),
        "no contracts\n"
    );
}
