//! What is missing or wrong is told by kind, name and place; what fails later is waited for.

use crate::harness::{Ce, PARTS, Running, TestEnv, check_law, eventually, guests};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::json;
use syncline::app::AppError;
use syncline::intake::IntakeError;
use syncline::plugin::PluginError;

const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"] }
key = "json:/key"
stages = ["probe"]
to = [{ target = "crm" }]
guarantee = "at-least-once"
retry = { attempts = 3, backoff = "10ms..50ms" }
"#;

async fn refusal(env: &TestEnv, config: &str) -> AppError {
    match Running::try_start(env.parse(config)).await {
        Ok(_) => panic!("the runtime starts with\n{config}"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_named_without_its_password() {
    let env = TestEnv::start().await;
    let mut config = env.parse(&[PARTS, PIPELINE].concat());
    let url = env.nats.url().replace("nats://", "nats://ada:hunter22@");
    config.nats.urls = vec![url.parse().unwrap()];
    env.nats.kill();
    let Err(error @ AppError::Unreachable { .. }) = Running::try_start(config).await else {
        panic!("the runtime starts without a server");
    };
    let text = error.to_string();
    let address = env.nats.url().replace("nats://", "");
    assert!(text.starts_with("cannot reach NATS at "), "{text}");
    assert!(text.contains(&address), "{text}");
    assert!(!text.contains("hunter22"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_missing_or_unfit_is_named_with_its_remedy() {
    let env = TestEnv::start().await;
    let config = [PARTS, PIPELINE].concat();
    let check = async |config: &str, expected: &str| {
        let error = refusal(&env, config).await;
        assert!(
            matches!(error, AppError::Intake(IntakeError::Source { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        &config,
        "pipeline `p`: stream `SRC` does not exist: make it, or set `create = true` in its source",
    )
    .await;
    let stream = env.stream("SRC", &["src.a"]).await;
    check(&config, "stream `SRC` does not hold the subject `src.>`").await;

    let config = config.replace("src.>", "src.a");
    let taken = pull::Config {
        durable_name: Some("syncline-p".to_owned()),
        ack_policy: AckPolicy::None,
        ..Default::default()
    };
    stream.create_consumer(taken).await.unwrap();
    check(
        &config,
        "consumer `syncline-p` on stream `SRC` does not do: `ack_policy` is none, needed is explicit",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_cannot_be_loaded_is_named_with_its_fault() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let files: [(&str, Vec<u8>, &str); 8] = [
        ("empty", Vec::new(), "it is empty: copy or build it again"),
        ("text", b"hello, world".to_vec(), "it is not WebAssembly"),
        (
            "core",
            b"\0asm\x01\0\0\0".to_vec(),
            "it is a core WebAssembly module, not a component",
        ),
        (
            "cut",
            guests::bytes("PROBE")[..5_000].to_vec(),
            "it is damaged",
        ),
        (
            "foreign",
            guests::bytes("FOREIGN_IMPORT"),
            "it imports `acme:database/query@1.0.0`, which is neither Syncline's nor WASI 0.2's",
        ),
        (
            "other",
            guests::bytes("OTHER_WORLD"),
            "it does not export `syncline:plugin/handler` but `acme:greeter/greeting@1.0.0`",
        ),
        (
            "older",
            guests::bytes("OLDER_CONTRACT"),
            "it was built against version 0.0.9 of the contract and this host serves 0.1.x",
        ),
        ("missing", Vec::new(), "cannot read the component"),
    ];
    for (name, bytes, expected) in files {
        let path = env.folder().join(format!("{name}.wasm"));
        if name != "missing" {
            std::fs::write(&path, bytes).unwrap();
        }
        let config = [PARTS, PIPELINE]
            .concat()
            .replace("${PROBE}", path.to_str().unwrap());
        let AppError::Plugins(errors) = refusal(&env, &config).await else {
            panic!("{name} is no plugin error");
        };
        let [error] = &errors[..] else {
            panic!("{errors:?}");
        };
        let is_kind = match name {
            "missing" => matches!(error, PluginError::Unreadable { .. }),
            _ => matches!(error, PluginError::Unloadable { .. }),
        };
        assert!(is_kind, "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_plugin_that_wants_too_much_or_refuses_to_start_is_named_at_once() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let plugins = r#"
        [plugins.greedy]
        path = "${PICKY}"
        [plugins.misled]
        path = "${REDACT}"
        config = { nonsense = true }
        [plugins.fails]
        path = "${PROBE}"
        config = { start = "fail" }
        [plugins.traps]
        path = "${PROBE}"
        config = { start = "trap" }
    "#;
    let stages = "stages = [\"greedy\", \"misled\", \"fails\", \"traps\"]";
    let pipeline = PIPELINE.replace("stages = [\"probe\"]", stages);
    let error = refusal(&env, &[PARTS, plugins, &pipeline].concat()).await;
    let text = error.to_string();
    let AppError::Plugins(errors) = error else {
        panic!("{text}");
    };
    let [
        PluginError::Ungranted { plugin, missing },
        PluginError::Settings { plugin: misled, .. },
        PluginError::Settings {
            plugin: fails,
            fault,
        },
        PluginError::Start {
            plugin: traps,
            function: "init",
            cause,
        },
    ] = &errors[..]
    else {
        panic!("{errors:?}");
    };
    assert_eq!(
        [plugin, misled, fails, traps],
        ["greedy", "misled", "fails", "traps"]
    );
    let keys: Vec<_> = missing.iter().map(|missing| missing.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "`lookup = [\"crm\"]` to [plugins.greedy] grants",
            "`secrets = [\"token\"]` to [plugins.greedy] grants",
            "`state = true` to [plugins.greedy] grants",
        ]
    );
    assert!(fault.contains("told to fail"), "{fault}");
    assert!(
        cause.to_string().contains("told to trap at the start"),
        "{cause}"
    );
    assert_eq!(
        text.lines()
            .filter(|line| line.contains("plugin `"))
            .count(),
        4,
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_stream_that_vanishes_is_waited_for() {
    let env = TestEnv::start().await;
    env.stream("SRC", &["src.>"]).await;
    let runtime = env.run_with_parts(PIPELINE).await;
    env.send("src.a", &Ce::new(1).data(json!({"key": "before"})))
        .await;
    runtime.settled("p", 1).await;
    env.js.delete_stream("SRC").await.unwrap();
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &Ce::new(2).data(json!({"key": "after"})))
        .await;
    runtime.settled("p", 2).await;
    assert_eq!(env.kv("crm").await.len(), 2);
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_vanishes_is_made_again() {
    let env = TestEnv::start().await;
    let stream = env.stream("SRC", &["src.>"]).await;
    let runtime = env.run_with_parts(PIPELINE).await;
    env.send("src.a", &Ce::new(1).data(json!({"key": "before"})))
        .await;
    runtime.settled("p", 1).await;
    stream.delete_consumer("syncline-p").await.unwrap();
    env.send("src.a", &Ce::new(2).data(json!({"key": "after"})))
        .await;
    eventually("the second event is done", async || {
        env.kv("crm").await.len() == 2
    })
    .await;
    check_law(&runtime.drain().await);
}
