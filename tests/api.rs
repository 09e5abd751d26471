//! The API of the target modules over HTTP: entities are read as the targets hold them, and changed by
//! transactions.

mod access;
mod changes;
mod client;
mod described;
mod feed;
mod killed;
mod page;
mod python;
mod service;
mod several;
mod two_way;
mod versions;

use crate::harness::{Ce, PARTS, Running, TestEnv, check_law, eventually};
use client::{get, lines, send};
use serde_json::json;
use std::time::Duration;
use syncline::api::Hash;
use syncline::app::AppError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

const TOKEN: &str = "reader-of-crm";

const CONTRACT: &str = r#"
[targets.crm.contract]
version = 2
schema = "crm.v2.json"

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
"#;

/// The configuration with an API at `listen`.
fn config(env: &TestEnv, listen: &str) -> String {
    let contract = json!({
        "name": "crm",
        "version": 2,
        "entities": {
            "customer": { "operations": ["retrieve", "upsert"], "schema": { "type": "object" } },
        },
    });
    std::fs::write(env.folder().join("crm.v2.json"), contract.to_string()).unwrap();
    let hash = Hash::of(TOKEN.as_bytes()).to_string();
    let api = format!(
        "[api]\nlisten = \"{listen}\"\n[api.tokens.reader]\nsha256 = \"{hash}\"\nscopes = [\"crm:retrieve\"]\n"
    );
    let parts = PARTS.replace("bucket = \"crm\"", "bucket = \"crm\"\ntimeout = \"1s\"");
    [&parts, CONTRACT, &api].concat()
}

/// Writes a customer by way of the pipeline.
async fn write(env: &TestEnv, runtime: &Running, entity: Option<&str>) {
    let payload = json!({"id": "c/7", "name": "Ada", "address": {"city": "Ulm", "zip": "89073"}});
    let mut effect = json!({"target": "crm", "key": "c/7", "payload": payload});
    if let Some(entity) = entity {
        effect["entity"] = json!(entity);
    }
    let data = json!({"key": "k", "do": "accept", "effects": [effect]});
    env.send("src.a", &Ce::new("1").data(data)).await;
    assert_eq!(runtime.settled("p", 1).await.effects, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pipeline_wrote_is_read_over_http() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    let api = runtime.api();
    write(&env, &runtime, Some("customer")).await;

    let path = "/v2/crm/customer/c%2F7";
    let found = get(api, path).await;
    assert_eq!((found.status, &found.json()["name"]), (200, &json!("Ada")));
    assert_eq!(found.headers["content-type"], "application/json");
    let etag = &found.headers["etag"];

    let head = send(api, &lines("HEAD", path, "")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(&head.headers["etag"], etag);
    assert_eq!(head.headers["content-length"], found.body.len().to_string());

    let same = format!("If-None-Match: {etag}\r\n");
    let known = send(api, &lines("GET", path, &same)).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(&known.headers["etag"], etag);
    assert!(!known.headers.contains_key("content-length"));

    let masked = get(api, &format!("{path}?fields=id,address/city")).await;
    assert_eq!(
        masked.json(),
        json!({"id": "c/7", "address": {"city": "Ulm"}})
    );

    let body = json!({"keys": ["c/7", "gone"]}).to_string();
    let length = body.len();
    let more = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    let asked = lines("POST", "/v2/crm/customer:retrieve", &more) + &body;
    let several = send(api, &asked).await.json();
    assert_eq!(several["entities"][0]["entity"], found.json());
    assert_eq!(several["missing"], json!(["gone"]));

    let document = get(api, "/openapi.json").await.json();
    assert!(document["paths"].get("/v2/crm/customer/{key}").is_some());
    assert!(
        document["components"]["schemas"]
            .get("crm.v2.entity.customer")
            .is_some()
    );
    assert_eq!(get(api, "/v2/crm/_/c%2F7").await.status, 404);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_token_is_told_nothing() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    write(&env, &runtime, None).await;
    let asked = lines("GET", "/v2/crm/_/c%2F7", "");
    assert_eq!(send(runtime.api(), &asked).await.status, 200);
    let answer = send(runtime.api(), &asked.replace(TOKEN, "reader")).await;
    assert_eq!(
        (answer.status, answer.headers["www-authenticate"].as_str()),
        (401, "Bearer")
    );
    assert!(!answer.body.contains("Ada"));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_does_not_answer_is_unavailable() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    write(&env, &runtime, None).await;
    env.nats.pause();
    let answer = get(runtime.api(), "/v2/crm/_/c%2F7").await;
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_str()),
        (503, "1")
    );
    assert!(
        answer.json()["type"]
            .as_str()
            .unwrap()
            .ends_with("#unavailable")
    );
    env.nats.resume();
    eventually("the target answers again", async || {
        get(runtime.api(), "/v2/crm/_/c%2F7").await.status == 200
    })
    .await;
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_a_limit() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    let path = format!("/v2/crm/_/{}", "k".repeat(20_000));
    let status = get(runtime.api(), &path).await.status;
    assert!(status == 414 || status == 431, "{status}");
    let more = "X-More: x\r\n".repeat(100);
    let asked = lines("GET", "/v2/crm/_/k", &more);
    assert_eq!(send(runtime.api(), &asked).await.status, 431);
    check_law(&runtime.drain().await);
}

/// A kernel that collects small writes sends nothing before the one before is acknowledged, and whoever
/// waits for an answer acknowledges 40 ms later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_requests_sent_together_the_second_answer_comes_at_once() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    let mut stream = TcpStream::connect(runtime.api()).await.unwrap();
    let asked = lines("GET", "/v2/crm/_/none", "").replace("Connection: close\r\n", "");
    let mut took = Vec::new();
    for _ in 0..51 {
        let begun = Instant::now();
        stream.write_all(asked.repeat(2).as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while String::from_utf8_lossy(&said).matches("}").count() < 2 {
            let read = stream.read_buf(&mut said).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&said));
        }
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[25] < Duration::from_millis(30), "{took:?}");
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_runtime_the_api_ends() {
    let env = TestEnv::start().await;
    let runtime = env.run(&config(&env, "127.0.0.1:0")).await;
    let api = runtime.api();
    // One connection lies idle, and does not hold the end up.
    let mut idle = TcpStream::connect(api).await.unwrap();
    assert_eq!(get(api, "/v2/crm/_/none").await.status, 404);
    check_law(&runtime.drain().await);
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap_or_default(), 0);
    assert!(TcpStream::connect(api).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_pipelines_it_serves_until_it_is_told_to_end() {
    let env = TestEnv::start().await;
    let config = config(&env, "127.0.0.1:0");
    let (before, pipeline) = config.split_once("[pipelines.p]").unwrap();
    let (_, api) = pipeline.split_once("[api]").unwrap();
    let runtime = env.run(&format!("{before}[api]{api}")).await;
    assert_eq!(get(runtime.api(), "/v2/crm/_/none").await.status, 404);
    assert!(runtime.drain().await.drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_refuses_the_start() {
    let env = TestEnv::start().await;
    let first = env.run(&config(&env, "127.0.0.1:0")).await;
    let taken = first.api().to_string();
    let config = env.parse(&config(&env, &taken));
    let error = Running::try_start(config).await.err().unwrap();
    assert!(matches!(error, AppError::Api(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("cannot listen at {taken}: ")),
        "{error}"
    );
    check_law(&first.drain().await);
}
