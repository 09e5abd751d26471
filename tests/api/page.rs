//! The page on which people read the description, without a browser.

use super::changes::World;
use super::client::{Answer, get, send};
use super::python;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::process::Command;

/// What is at a path for somebody without a token.
async fn open(api: SocketAddr, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    send(api, &head).await
}

/// What stands in quotes behind each `name`.
fn quoted<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let begun = text.split(name).skip(1);
    begun.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Every operation of the description is shown, with its answers and a command.
fn check(description: &Value, shown: &Value) {
    assert_eq!(shown["asked"], json!(["openapi.json Bearer t"]));
    let operations = shown["operations"].as_array().unwrap();
    let mut n_described = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().iter();
        for (method, told) in methods.filter(|(name, _)| *name != "parameters") {
            n_described += 1;
            let is_it = |one: &&Value| one["id"] == told["operationId"];
            let one = operations.iter().find(is_it);
            let one = one.unwrap_or_else(|| panic!("{method} {path}: {shown}"));
            let line = one["line"].as_str().unwrap();
            assert!(
                line.contains(&format!("{}{path}", method.to_uppercase())),
                "{line}"
            );
            let command = one["command"].as_str().unwrap();
            let filled = path.replace("{key}", "KEY");
            assert!(
                command.starts_with("curl ") && command.contains(&filled),
                "{command}"
            );
            for status in told["responses"].as_object().unwrap().keys() {
                assert!(
                    one["text"].as_str().unwrap().contains(status),
                    "{status}: {one}"
                );
            }
        }
    }
    assert_eq!(operations.len(), n_described);
    let said = shown["said"].as_str().unwrap();
    assert!(
        said.starts_with(&format!("{n_described} operations")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_whole_and_shows_every_operation_of_the_description() {
    let world = World::start().await;
    let runtime = world.env.run(&world.config()).await;
    let api = runtime.api();
    let page = open(api, "/docs").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = &page.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");

    // What it refers to is served here, and nothing stands in it that the policy would refuse.
    let mut files = quoted(&page.body, " src=\"");
    files.extend(quoted(&page.body, " href=\""));
    files.retain(|file| *file != "data:,");
    assert_eq!(files, ["docs/page.js", "docs/page.css"]);
    for refused in ["<style", "style=", "onclick", "<script>", "http:", "https:"] {
        assert!(!page.body.contains(refused), "{refused}");
    }
    for (file, kind) in files.iter().zip(["text/javascript", "text/css"]) {
        let served = open(api, &format!("/{file}")).await;
        assert_eq!(served.status, 200, "{file}");
        assert!(served.headers["content-type"].starts_with(kind), "{file}");
        for refused in ["import ", " url(", "innerHTML", "eval(", "localStorage"] {
            assert!(!served.body.contains(refused), "{file}: {refused}");
        }
    }
    assert_eq!(open(api, "/openapi.json").await.status, 401);
    let refused = send(
        api,
        "POST /docs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(refused.await.status, 405);

    let description = get(api, "/openapi.json").await;
    let script = open(api, "/docs/page.js").await.body;
    let paths = [
        ("page.js", script),
        ("openapi.json", description.body.clone()),
    ];
    let paths = paths.map(|(name, text)| {
        let path = world.env.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/api/page.py");
    let mut browser = Command::new(python::program("python"));
    let shown = python::run(browser.arg(runner).args(&paths)).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    check(&description.json(), &shown);
    assert!(runtime.drain().await.drained);
}
