//! Users who may not do all: what they must be permitted, and what is said when they are not.

use crate::cli::command::{command, run};
use crate::harness::{Ce, Running, TestEnv, check_law};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream;
use serde_json::json;
use std::time::Duration;
use syncline::app::AppError;
use syncline::control::Wishes;
use syncline::dead_letter::DeadLetters;
use syncline::provision::Provision;

/// What `docs/configuration.md` says that a runtime needs where it makes nothing but its replays'
/// consumer.
const NEEDED: &[&str] = &[
    "$JS.API.CONSUMER.INFO.SRC.syncline-p",
    "$JS.API.CONSUMER.MSG.NEXT.SRC.syncline-p",
    "$JS.API.CONSUMER.RESET.SRC.syncline-p",
    "$JS.ACK.SRC.syncline-p.>",
    "$KV.crm.>",
    "$JS.API.STREAM.MSG.GET.KV_crm",
    "syncline.dlq.>",
    "tx.>",
    "syncline.owner.*",
    "syncline.released.>",
    "$JS.API.STREAM.INFO.TX",
    "$JS.API.DIRECT.GET.TX.>",
    "$JS.API.STREAM.INFO.SYNCLINE_DLQ",
    "$JS.API.CONSUMER.*.SYNCLINE_DLQ.>",
    "$JS.API.CONSUMER.MSG.NEXT.SYNCLINE_DLQ.>",
    "$JS.API.STREAM.MSG.GET.SYNCLINE_DLQ",
    "$JS.API.DIRECT.GET.SYNCLINE_DLQ.>",
    "$JS.ACK.SYNCLINE_DLQ.>",
    "$JS.API.STREAM.INFO.KV_SYNCLINE_CONTROL",
    "$JS.API.CONSUMER.*.KV_SYNCLINE_CONTROL.>",
    "$JS.API.CONSUMER.CREATE.KV_SYNCLINE_CONTROL",
    "$JS.API.DIRECT.GET.KV_SYNCLINE_CONTROL.>",
    "$JS.API.STREAM.MSG.GET.KV_SYNCLINE_CONTROL",
    "_INBOX.>",
];

/// And with `guarantee = "atomic"`.
const ATOMIC: &[&str] = &[
    "$JS.API.STREAM.MSG.GET.TX",
    "$JS.API.CONSUMER.CREATE.TX",
    "$JS.API.CONSUMER.*.TX.>",
    "$JS.API.CONSUMER.MSG.NEXT.TX.>",
];

const COPY: &str = r#"
[targets.crm]
kind = "kv"
bucket = "crm"
create = CREATE

[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = CREATE }
key = "json:/key"
to = [{ target = "crm" }]
guarantee = "at-least-once"
"#;

/// A server with an operator, who may do all, and `app`, who may publish to `permitted`.
async fn server(permitted: &[&str]) -> TestEnv {
    let settings = format!(
        "authorization {{ users: [
            {{ user: operator, password: operator }}
            {{ user: app, password: app, permissions: {{
                publish: {permitted:?}, subscribe: [\"_INBOX.>\", \"syncline.>\"] }} }}
        ] }}"
    );
    let reach = "url = \"ADDRESS\"\nuser = \"operator\"\npassword = \"operator\"";
    TestEnv::guarded(tempfile::tempdir().unwrap(), &settings, reach).await
}

/// What an operator makes beforehand.
async fn prepare(env: &TestEnv) {
    let source = env.stream("SRC", &["src.>"]).await;
    env.bucket("crm").await;
    let leases = stream::Config {
        name: "TX".to_owned(),
        subjects: vec!["tx.>".to_owned()],
        discard: stream::DiscardPolicy::New,
        allow_direct: true,
        allow_message_ttl: true,
        allow_rollup: true,
        allow_atomic_publish: true,
        ..Default::default()
    };
    env.js.create_stream(leases).await.unwrap();
    DeadLetters::open(&env.js, &Provision::default())
        .await
        .unwrap();
    Wishes::open(&env.js, &Provision::default()).await.unwrap();
    let consumer = pull::Config {
        durable_name: Some("syncline-p".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_ack_pending: 1_000,
        filter_subject: "src.>".to_owned(),
        ..Default::default()
    };
    source.create_consumer(consumer).await.unwrap();
}

fn as_app(env: &TestEnv, create: &str) -> String {
    let reach = env.reach.replace("operator", "app");
    format!("[nats]\n{reach}\n{}", COPY.replace("CREATE", create))
}

async fn denial(env: &TestEnv, create: &str) -> String {
    let config =
        syncline::config::Config::parse(&as_app(env, create), env.folder(), &|_: &str| None);
    match Running::try_start(config.unwrap()).await {
        Ok(_) => panic!("the runtime starts"),
        Err(error @ AppError::Denied { .. }) => error.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_make_nothing_works_with_what_is_there() {
    let env = server(NEEDED).await;
    prepare(&env).await;
    let config =
        syncline::config::Config::parse(&as_app(&env, "false"), env.folder(), &|_: &str| None);
    let runtime = Running::start(config.unwrap()).await;
    env.send("src.a", &Ce::new(1).data(json!({"key": "c-1"})))
        .await;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/cloudevents+json");
    env.publish("src.a", headers, "nonsense".into()).await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1), "{counts:?}");
    assert_eq!(env.entry("crm", "c-1").await, Some(json!({"key": "c-1"})));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_read_the_decisions_as_well_works_atomically() {
    let env = server(&[NEEDED, ATOMIC].concat()).await;
    prepare(&env).await;
    let merges = r#"to = [{ target = "crm", operation = "merge" }]"#;
    let text = as_app(&env, "false")
        .replace("at-least-once\"", "atomic\"\nlease = \"1s\"")
        .replace(r#"to = [{ target = "crm" }]"#, merges);
    for n in 1..=2 {
        let config = syncline::config::Config::parse(&text, env.folder(), &|_: &str| None);
        let runtime = Running::start(config.unwrap()).await;
        env.send("src.a", &Ce::new(n).data(json!({"key": "c-1", "n": n})))
            .await;
        assert_eq!(runtime.settled("p", 1).await.done, 1);
        check_law(&runtime.drain().await);
        let entry = env.entry("crm", "c-1").await;
        assert_eq!(entry, Some(json!({"key": "c-1", "n": n})));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_at_the_start_is_named_with_what_makes_it_needless() {
    let without = |denied: &str| -> Vec<&str> {
        NEEDED
            .iter()
            .copied()
            .filter(|subject| *subject != denied)
            .collect()
    };
    let cases = [
        (
            without(""),
            "\"check\"",
            "publish to `$JS.API.STREAM.INFO.KV_crm`",
            "`create = false`",
        ),
        (
            [without(""), vec!["$JS.API.INFO", "$JS.API.STREAM.INFO.*"]].concat(),
            "true",
            "publish to `$JS.API.STREAM.CREATE.KV_crm`",
            "make the stream `KV_crm` beforehand",
        ),
        (
            without("$JS.API.CONSUMER.INFO.SRC.syncline-p"),
            "false",
            "publish to `$JS.API.CONSUMER.INFO.SRC.syncline-p`",
            "permit it to our user",
        ),
        (
            without("$JS.API.STREAM.INFO.SYNCLINE_DLQ"),
            "false",
            "publish to `$JS.API.STREAM.INFO.SYNCLINE_DLQ`",
            "permit it to our user",
        ),
    ];
    for (permitted, create, denied, remedy) in cases {
        let env = server(&permitted).await;
        if create != "true" {
            prepare(&env).await;
        }
        let text = denial(&env, create).await;
        assert!(
            text.contains(denied) && text.contains(remedy),
            "{denied}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_names_what_is_denied_and_ends() {
    let env = server(NEEDED).await;
    prepare(&env).await;
    std::fs::write(env.folder().join("app.toml"), as_app(&env, "\"check\"")).unwrap();
    for (args, code) in [
        (&["run", "-c", "app.toml"][..], 1),
        (&["validate", "--connect", "-c", "app.toml"][..], 1),
    ] {
        let said = run(command(env.folder(), args.iter().copied()), "");
        let text = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, code, "{text}");
        assert!(
            text.contains("publish to `$JS.API.STREAM.INFO.KV_crm`"),
            "{text}"
        );
        assert!(text.contains("`create = false` where the stream"), "{text}");
    }
}
