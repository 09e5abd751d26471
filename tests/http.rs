//! Targets that are the HTTP API of a module.

mod atomic;
mod keys;
mod late;
mod outside;
mod parts;
mod undo;

use crate::harness::{Ce, Fault, Module, PARTS, Running, TestEnv, check_law};
use serde_json::{Value, json};
use std::time::Duration;
use syncline::app::AppError;
use syncline::event::DeadReason;

/// A pipeline whose probe writes what events ask for.
const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "json:/key"
stages = ["probe"]
guarantee = "at-least-once"
retry = { attempts = 4, backoff = "10ms..50ms" }
"#;

/// The target `api`: entities of a kind of their own below `/v2`.
fn target(module: &Module, lines: &str) -> String {
    let url = module.url("/v2/{entity}/{key}");
    format!("[targets.api]\nkind = \"http\"\nurl = \"{url}\"\n{lines}\n")
}

async fn run(env: &TestEnv, target: &str) -> Running {
    env.run(&[PARTS, target, PIPELINE].concat()).await
}

/// An event that asks for one effect on `/v2/person/KEY`.
fn asks(id: impl ToString, key: &str, more: Value) -> Ce {
    let mut effect = json!({"target": "api", "entity": "person", "key": key});
    let more = more.as_object().unwrap().clone();
    effect.as_object_mut().unwrap().extend(more);
    let data = json!({"key": "k", "do": "accept", "effects": [effect]});
    Ce::new(id).data(data)
}

/// An event whose effect on `a/b` is written to the version that its lookup saw.
fn rests_on_a_lookup(id: u32) -> Ce {
    let lookup = json!({"do": "lookup", "target": "api", "entity": "person", "key": "a/b"});
    let effect = json!({"target": "api", "entity": "person", "key": "a/b", "payload": id,
        "precondition": "looked-up"});
    let accept = json!({"do": "accept", "effects": [effect]});
    Ce::new(id).data(json!({"key": "k", "steps": [lookup, accept]}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_requests_with_what_they_depend_on() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let lines =
        "level = \"M1\"\nheaders = { authorization = \"Bearer t0ken\", X-Tenant = \"acme\" }";
    let runtime = run(&env, &target(&module, lines)).await;
    let n_probes = module.journal().len();
    let events = [
        asks(1, "a/b", json!({"payload": 1, "precondition": "absent"})),
        asks(2, "a/b", json!({"operation": "merge", "payload": 2})),
        rests_on_a_lookup(3),
        asks(
            4,
            "a/b",
            json!({"operation": "append", "text": "x", "content_type": "text/plain"}),
        ),
        asks(
            5,
            "a/b",
            json!({"operation": "delete", "precondition": "present"}),
        ),
        asks(6, "a/b", json!({"operation": "delete"})),
    ];
    env.send_all(events.map(|event| ("src.a".to_owned(), event)))
        .await;
    assert_eq!(runtime.settled("p", 6).await.done, 6);
    let journal = module.journal();
    let header = |n: usize, name: &str| journal[n_probes + n].headers.get(name).cloned();
    let entity = "/v2/person/a%2Fb";
    let expected = [
        ("PUT", entity, "1", "application/json", None, Some("*")),
        (
            "PATCH",
            entity,
            "2",
            "application/merge-patch+json",
            None,
            None,
        ),
        ("GET", entity, "", "", None, None),
        ("PUT", entity, "3", "application/json", Some("\"2\""), None),
        ("POST", "/v2/person", "x", "text/plain", None, None),
        ("DELETE", entity, "", "", Some("*"), None),
        ("DELETE", entity, "", "", None, None),
    ];
    assert_eq!(journal.len() - n_probes, expected.len());
    for (n, (method, path, body, kind, is, is_none)) in expected.into_iter().enumerate() {
        let entry = &journal[n_probes + n];
        let found = (
            entry.method.as_str(),
            entry.path.as_str(),
            entry.body.as_str(),
        );
        assert_eq!(found, (method, path, body), "{n}");
        assert_eq!(header(n, "content-type").unwrap_or_default(), kind, "{n}");
        assert_eq!(header(n, "if-match").as_deref(), is, "{n}");
        assert_eq!(header(n, "if-none-match").as_deref(), is_none, "{n}");
        assert_eq!(
            header(n, "authorization").as_deref(),
            Some("Bearer t0ken"),
            "{n}"
        );
        assert_eq!(header(n, "x-tenant").as_deref(), Some("acme"), "{n}");
        let is_keyed = header(n, "idempotency-key").is_some();
        assert_eq!(is_keyed, method != "GET", "{n}");
    }
    let source = ["stream", "sequence"].map(|name| header(0, &format!("syncline-source-{name}")));
    assert_eq!(source, ["SRC", "1"].map(|value| Some(value.to_owned())));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_asked_again_as_the_same_request() {
    let faults = [
        Fault::Refuse(500, ""),
        Fault::Refuse(409, ""),
        Fault::Refuse(503, ""),
        Fault::FailAfter,
        Fault::Late(Duration::from_secs(1)),
        Fault::Cut,
        Fault::Garble,
    ];
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let runtime = run(&env, &target(&module, "timeout = \"300ms\"")).await;
    for (n, fault) in faults.into_iter().enumerate() {
        let before = module.journal().len();
        let has_applied = !matches!(fault, Fault::Refuse(..));
        module.misbehave([fault.clone()]);
        let key = format!("e{n}");
        env.send("src.a", &asks(n, &key, json!({"payload": n})))
            .await;
        let counts = runtime.settled("p", n as u64 + 1).await;
        assert_eq!((counts.done, counts.dead), (n as u64 + 1, 0), "{fault:?}");
        let journal = module.journal();
        let [first, second] = &journal[before..] else {
            panic!("{fault:?}: {:#?}", &journal[before..])
        };
        assert_eq!(
            (first.applied, second.applied),
            (has_applied, true),
            "{fault:?}"
        );
        let known_by = |n: usize| journal[before + n].headers["idempotency-key"].clone();
        assert_eq!(known_by(0), known_by(1), "{fault:?}");
        assert_eq!(
            module.held(&format!("/v2/person/{key}")),
            Some(n.to_string())
        );
    }
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_asked_again_and_what_it_said_is_kept() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let runtime = run(&env, &target(&module, "")).await;
    let refused = [400, 403, 404, 422, 302];
    module.misbehave(refused.map(|status| Fault::Refuse(status, "Location: /elsewhere\r\n")));
    for n in refused {
        env.send("src.a", &asks(n, "a", json!({"payload": n})))
            .await;
    }
    env.send("src.a", &asks("dots", "..", json!({"operation": "delete"})))
        .await;
    let gone = json!({"payload": 1, "precondition": {"etag": "\"9\""}});
    env.send("src.a", &asks("gone", "b", gone)).await;
    assert_eq!(runtime.settled("p", 7).await.dead, 7);
    let letters = env.letters().await;
    for (letter, status) in letters.iter().zip(refused) {
        assert_eq!(
            (letter.reason, letter.history.len()),
            (DeadReason::Refused, 1)
        );
        let said = format!("HTTP status {status}: {{\"error\": \"told to\"}}");
        assert!(letter.error.contains(&said), "{}", letter.error);
    }
    assert!(
        letters[5].error.contains("cannot stand in a URL"),
        "{}",
        letters[5].error
    );
    assert_eq!(letters[6].reason, DeadReason::Conflict);
    assert!(!module.journal().iter().any(|entry| entry.applied));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_asks_for_a_pause_gets_it() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let runtime = run(&env, &target(&module, "")).await;
    module.misbehave([Fault::Refuse(429, "Retry-After: 1\r\n")]);
    env.send("src.a", &asks(1, "a", json!({"payload": 1})))
        .await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    let writes: Vec<_> = module
        .journal()
        .into_iter()
        .filter(|one| one.method == "PUT")
        .collect();
    let [first, second] = writes.as_slice() else {
        panic!("{writes:#?}")
    };
    assert_eq!((first.status, second.status), (429, 200));
    assert!(
        second.at - first.at >= Duration::from_millis(990),
        "{:?}",
        second.at - first.at
    );
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_a_module_is_not_itself_and_none_dies() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let lines = "breaker = { failures = 2, pause = \"20ms..100ms\" }";
    let runtime = run(&env, &target(&module, lines)).await;
    // Many more than an event has attempts.
    module.misbehave((0..12).map(|_| Fault::Refuse(503, "")));
    for n in 0..5 {
        env.send("src.a", &asks(n, &format!("e{n}"), json!({"payload": n})))
            .await;
    }
    let counts = runtime.settled("p", 5).await;
    assert_eq!((counts.done, counts.dead), (5, 0));
    assert_eq!(runtime.target("api").opened, 1);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_module_does_not_keep_to_is_found_at_the_start() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let refused = async |target: &str| {
        let config = env.parse(&[PARTS, target, PIPELINE].concat());
        match Running::try_start(config).await {
            Err(error @ AppError::Targets(_)) => error.to_string(),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it starts"),
        }
    };
    let strict = target(&module, "level = \"M1\"");
    check_law(&run(&env, &strict).await.drain().await);
    module.ignore_versions();
    let said = refused(&strict).await;
    assert!(
        said.contains("does not look at `If-Match`") && said.contains("404"),
        "{said}"
    );
    check_law(&run(&env, &target(&module, "")).await.drain().await);
    // Nothing was written by asking.
    assert!(!module.journal().iter().any(|entry| entry.applied));
    let elsewhere = target(&module, "");
    drop(module);
    let said = refused(&elsewhere).await;
    assert!(
        said.contains("cannot open target `api`: GET http://127.0.0.1:"),
        "{said}"
    );
    // Who does not want it looked at starts without it.
    let unseen = [&*elsewhere, "create = false\n"].concat();
    check_law(&run(&env, &unseen).await.drain().await);
}
