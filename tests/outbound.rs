//! Plugins of the world `plugin-http`: what they may ask of whom, in a whole pipeline.

mod hostile;
mod site;

use crate::harness::{Ce, Running, TestEnv, check_law, eventually, guests};
use serde_json::{Value, json};
use site::Site;
use syncline::app::AppError;
use syncline::config::Config;

/// Sends what events ask for.
const FETCHER: &str = "FETCHER";

const PIPELINE: &str = r#"
[targets.out]
kind = "kv"
bucket = "out"
create = true

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true }
key = "subject:2"
stages = ["fetcher"]
guarantee = "at-least-once"
retry = { attempts = 2, backoff = "10ms..20ms" }
"#;

/// The plugin with this grant and these lines, and its pipeline.
fn config(hosts: &[&str], lines: &str) -> String {
    let plugin = r#"[plugins.fetcher]
        path = "${FETCHER}"
        "#;
    format!("{plugin}grants.http = {hosts:?}\n{lines}\n{PIPELINE}")
}

/// What became of requests that one event asks for.
async fn ask(env: &TestEnv, runtime: &Running, key: &str, requests: Value) -> Vec<Value> {
    let event = Ce::new(key).data(json!({ "requests": requests }));
    env.send(&format!("src.{key}"), &event).await;
    eventually("the event has ended", async || {
        env.entry("out", key).await.is_some() || runtime.counts("p").dead > 0
    })
    .await;
    let Some(report) = env.entry("out", key).await else {
        panic!("no report: {}", env.letters().await[0].error);
    };
    report["results"].as_array().unwrap().clone()
}

/// The error of a request, and whether it may pass.
#[track_caller]
fn error(result: &Value) -> (&str, bool) {
    let error = result["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("no error: {result}"));
    (error, result["retry"].as_bool().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_host_is_asked_and_no_other() {
    let (env, site, other) = (
        TestEnv::start().await,
        Site::start().await,
        Site::start().await,
    );
    let runtime = env.run(&config(&[&site.origin()], "")).await;
    let requests = json!([
        { "url": site.url("/a?b=c"), "headers": { "x-mine": "1" } },
        { "url": other.url("/") },
        { "url": site.url("/").replace("127.0.0.1", "localhost") },
        { "url": site.url("/moved") },
        { "url": "http://169.254.169.254/latest" },
        { "url": site.url("/"), "method": "POST", "body": "x" },
        { "url": site.url("/silent"), "timeout_ms": 50 },
    ]);
    let results = ask(&env, &runtime, "a", requests).await;
    assert_eq!(results[0]["status"], 200);
    assert_eq!(results[0]["body"], "hello");
    assert_eq!(results[0]["headers"]["x-kind"], "plain");
    let seen = site.seen();
    assert!(
        seen[0].starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{}",
        seen[0]
    );
    assert!(seen[0].contains("x-mine: 1\r\n"), "{}", seen[0]);
    for index in [1, 2, 4, 5] {
        let (error, may_pass) = error(&results[index]);
        assert!(error.contains("not granted") && !may_pass, "{error}");
    }
    assert_eq!(results[3]["status"], 307);
    let (late, may_pass) = error(&results[6]);
    assert!(late.contains("too long") && may_pass, "{late}");
    assert_eq!((seen.len(), other.seen().len()), (3, 0));
    let counts = runtime.http("p", "fetcher");
    assert_eq!((counts.answered, counts.refused, counts.failed), (2, 4, 1));
    assert_eq!(counts.bytes, 5);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_this_machine_needs_its_network() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let origin = site.origin().replace("127.0.0.1", "localhost");
    let requests = json!([{ "url": origin }]);
    let runtime = env.run(&config(&[&origin], "")).await;
    let results = ask(&env, &runtime, "a", requests.clone()).await;
    let (error, may_pass) = error(&results[0]);
    assert!(
        error.contains("not of the public internet") && !may_pass,
        "{error}"
    );
    assert_eq!(site.seen().len(), 0);
    check_law(&runtime.drain().await);
    let networks = format!("http.{origin:?}.networks = [\"127.0.0.0/8\", \"::1\"]");
    let runtime = env.run(&config(&[&origin], &networks)).await;
    let results = ask(&env, &runtime, "b", requests).await;
    assert_eq!(results[0]["status"], 200);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_and_numbers_have_limits() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let lines = format!(
        "limits = {{ http_response = 100, http_request = 10, host_calls = 20, memory = \"4MiB\" }}\n\
         http.{:?}.methods = [\"GET\", \"POST\"]",
        site.origin()
    );
    let runtime = env.run(&config(&[&site.origin()], &lines)).await;
    let requests = json!([
        { "url": site.url("/long/100") },
        { "url": site.url("/long/101") },
        { "url": site.url("/"), "method": "POST", "body": "0123456789" },
        { "url": site.url("/"), "method": "POST", "body": "0123456789a" },
    ]);
    let results = ask(&env, &runtime, "a", requests).await;
    assert_eq!(
        (&results[0]["status"], &results[2]["status"]),
        (&json!(200), &json!(200))
    );
    assert!(error(&results[1]).0.contains("`http_response`"));
    assert!(error(&results[3]).0.contains("`http_request`"));
    assert_eq!(site.seen().len(), 3);
    let flood = json!({ "requests": [{ "url": site.url("/"), "times": 21 }] });
    env.send("src.b", &Ce::new("b").data(flood)).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1));
    let letter = &env.letters().await[0];
    assert!(letter.error.contains("`host_calls`"), "{}", letter.error);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_placed_and_never_seen() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let secret = env.folder().join("token");
    std::fs::write(&secret, "s3cret-token\n").unwrap();
    let headers = format!("{{ authorization = {:?} }}", "Bearer ${secret:crm}");
    let lines = format!("http.{:?}.headers = {headers}", site.origin());
    let text = config(&[&site.origin()], &lines);
    let text = format!("{text}\n[secrets.crm]\nfile = {:?}\n", secret.display());
    let runtime = env.run(&text).await;
    let requests = json!([
        { "url": site.url("/") },
        { "url": site.url("/echo") },
        { "url": site.url("/"), "headers": { "Authorization": "mine" } },
    ]);
    let results = ask(&env, &runtime, "a", requests).await;
    assert_eq!(results[0]["status"], 200);
    assert!(site.seen()[0].contains("authorization: Bearer s3cret-token\r\n"));
    let (echoed, _) = error(&results[1]);
    assert!(
        echoed.contains("secret of the header `authorization`"),
        "{echoed}"
    );
    assert!(error(&results[2]).0.contains("not granted"));
    let all = json!(results).to_string();
    assert!(!all.contains("s3cret"), "{all}");
    assert_eq!(site.seen().len(), 2);
    check_law(&runtime.drain().await);
}

/// The guest's time is a third of what the host takes to give up waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_an_answer_is_no_guest_time() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let limits = "limits = { time = \"1s\", http_time = \"3s\" }";
    let runtime = env.run(&config(&[&site.origin()], limits)).await;
    let requests = json!([{ "url": site.url("/silent") }, { "url": site.url("/") }]);
    let results = ask(&env, &runtime, "a", requests).await;
    assert!(error(&results[0]).1, "{results:?}");
    assert_eq!(results[1]["status"], 200);
    assert_eq!(runtime.counts("p").retries, 0);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_before_an_event() {
    let (env, site) = (TestEnv::start().await, Site::start().await);
    let lines = format!("config = {{ start_with = {:?} }}", site.url("/"));
    let text = config(&[&site.origin()], &lines);
    let Err(AppError::Plugins(problems)) = Running::try_start(env.parse(&text)).await else {
        panic!("it starts with a request");
    };
    let problem = problems[0].to_string();
    assert!(
        problem.contains("only while an event is thought about"),
        "{problem}"
    );
    assert_eq!(site.seen().len(), 0);
}

/// Also one that says nothing of HTTP, and one made without the SDK.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_sends_requests_needs_a_host() {
    let folder = tempfile::tempdir().unwrap();
    for guest in [FETCHER, "WORLD_HTTP"] {
        let file = guests::file(guest);
        let text = format!("[plugins.asking]\npath = {:?}\n", file.display());
        let config = Config::parse(&text, folder.path(), &|_: &str| None).unwrap();
        let options = syncline::app::Options {
            cache_dir: Some(TestEnv::cache().to_path_buf()),
            ..Default::default()
        };
        let problems = syncline::app::validate(&config, &options, false).await;
        let said: Vec<_> = problems.iter().map(|problem| &problem.message).collect();
        let expected = "it wants to send HTTP requests, which is not granted: add the hosts, as in \
                        `http = [\"api.example.com\"]`, to [plugins.asking] grants";
        assert_eq!(said.len(), 1, "{guest}: {said:?}");
        assert!(said[0].contains(expected), "{guest}: {said:?}");
        assert_eq!(problems[0].key, "plugins.asking.grants");
    }
}
