//! Sound configurations and what becomes of them.

use super::{Auth, Config, JetStreamApi, Nats, Problem, Problems};
use crate::event::{KeySpec, Operation, TypePattern};
use crate::intake::Source;
use crate::pipeline::{Guarantee, OnFailure, RetryPolicy, RouteConfig};
use crate::plugin::Limits;
use crate::provision::Create;
use crate::target::http::Level;
use crate::target::postgres::{Content, TableName};
use crate::target::{Kind, Tls};
use std::path::Path;
use std::time::Duration;

const WHOLE: &str = r#"
[nats]
url = "nats://127.0.0.1:4222"

[plugins.only-eu]
path = "plugins/only_eu.wasm"

[plugins.crm-map]
path = "plugins/crm_map.wasm"
config = { region = "${REGION}", depth = 2, share = 0.5, on = true, list = ["$${x}", 1] }
grants = { lookup = ["crm"], secrets = ["crm_token"], state = true }
limits = { memory = "32MiB", time = "100ms", output = 4096 }

[targets.crm]
kind = "kv"
bucket = "crm"

[targets.search]
kind = "subject"
subject = "search.index.{key}"
stream = "SEARCH"
create = true
timeout = "2s"

[targets.audit]
kind = "subject"
subject = "audit"
core = true

[secrets]
crm_token = { env = "TOKEN" }

[pipelines.customers]
source = { stream = "BILLING", subjects = ["billing.customer.>"], create = true }
key = "json:/id"
stages = ["only-eu", "crm-map"]
to = [
    { target = "crm", operation = "delete", when = { type = "*.deleted" } },
    { target = "crm", entity = "customer", key = "json:/customer/id" },
    { target = "search" },
]
targets = ["audit"]
guarantee = "at-least-once"
dedupe = { horizon = "24h" }
rate_limit = "100/m burst 5"
lease = "2s"
retry = { attempts = 3, backoff = "100ms..5s" }
on_failure = "dead-letter"
limits = { events = 16, payload = "64KiB" }

[pipelines.bare]
source = { subject = "ticks.*", queue = "q" }
guarantee = "at-least-once"
retry.backoff = "1s"
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "REGION" => Some("eu".to_owned()),
        "TOKEN" => Some("hush".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Config {
    parse_in(Path::new("/etc/syncline"), text)
}

fn parse_in(base: &Path, text: &str) -> Config {
    Config::parse(text, base, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn plugins_are_read() {
    let config = parse(WHOLE);
    let [only_eu, crm_map] = config.plugins.as_slice() else {
        panic!("{:?}", config.plugins)
    };
    assert_eq!(
        (only_eu.name.as_str(), &only_eu.limits),
        ("only-eu", &Limits::default())
    );
    assert_eq!(
        only_eu.path,
        Path::new("/etc/syncline/plugins/only_eu.wasm")
    );
    let settings = serde_json::json!({
        "region": "eu", "depth": 2, "share": 0.5, "on": true, "list": ["${x}", 1]
    });
    assert_eq!(serde_json::Value::from(crm_map.settings.clone()), settings);
    assert_eq!(crm_map.grants.lookup, ["crm"]);
    assert_eq!(crm_map.grants.secrets, ["crm_token"]);
    assert!(crm_map.grants.state && !only_eu.grants.state);
    let limits = Limits {
        memory: bytesize::ByteSize::mib(32),
        time: Duration::from_millis(100),
        output: bytesize::ByteSize::kib(4),
        ..Limits::default()
    };
    assert_eq!(crm_map.limits, limits);
}

#[test]
fn targets_are_read() {
    let config = parse(WHOLE);
    let [crm, search, audit] = config.targets.as_slice() else {
        panic!("{:?}", config.targets)
    };
    assert_eq!((crm.name.as_str(), crm.create), ("crm", Create::Check));
    assert_eq!(crm.timeout, Duration::from_secs(5));
    assert_eq!(
        crm.kind,
        Kind::Kv {
            bucket: "crm".to_owned()
        }
    );
    let kind = |subject: &str, stream: Option<&str>, core| Kind::Subject {
        subject: subject.parse().unwrap(),
        stream: stream.map(str::to_owned),
        core,
    };
    assert_eq!(
        search.kind,
        kind("search.index.{key}", Some("SEARCH"), false)
    );
    assert_eq!(
        (search.create, search.timeout),
        (Create::Missing, Duration::from_secs(2))
    );
    assert_eq!(audit.kind, kind("audit", None, true));
}

#[test]
fn tables_are_read_and_their_urls_not_shown() {
    let text = r#"
        [targets.orders]
        kind = "postgres"
        url = "postgres://me:${PW}@db:5433/shop"
        table = "shop.Orders"
        key = ["region", "id"]
        columns = ["status", "lines"]
        entity = "kind"
        version = "v"
        tls = true
        [targets.log]
        kind = "postgres"
        url = { env = "LOG_URL" }
        table = "log"
        connections = 2
        [pipelines.p]
        source = { stream = "S", subjects = ["s.>"] }
        to = [{ target = "orders", entity = "order" }, { target = "log" }]
        guarantee = "at-least-once"
    "#;
    let env = |name: &str| match name {
        "PW" => Some("hunter2".to_owned()),
        "LOG_URL" => Some("postgres://me:hunter2@db/log".to_owned()),
        _ => None,
    };
    let config = Config::parse(text, Path::new("/etc"), &env).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let table = |n: usize| match &config.targets[n].kind {
        Kind::Postgres(settings) => settings.clone(),
        other => panic!("{other:?}"),
    };
    let (orders, log) = (table(0), table(1));
    assert_eq!(orders.table, TableName::new("shop.Orders"));
    assert_eq!(orders.key, ["region", "id"]);
    let columns = ["status", "lines"].map(str::to_owned).to_vec();
    assert_eq!(orders.content, Content::Columns(columns));
    assert_eq!((orders.connections, log.connections), (8, 2));
    assert_eq!((orders.tls, log.tls), (Some(Tls::default()), None));
    assert_eq!(log.content, Content::Document("data".to_owned()));
    // A table without a key takes records, whatever `to` does not say.
    let operations: Vec<_> = config.pipelines[0]
        .to
        .iter()
        .map(|to| to.operation)
        .collect();
    assert_eq!(operations, [Operation::Upsert, Operation::Append]);
}

#[test]
fn modules_are_read_and_their_headers_not_shown() {
    let text = r#"
        [targets.api]
        kind = "http"
        url = "https://crm.example.com/v2/{entity}/{key}"
        headers = { authorization = { env = "AUTH" }, X-Tenant = "acme" }
        level = "M2"
        [pipelines.p]
        source = { stream = "S", subjects = ["s.>"] }
        to = [{ target = "api", entity = "person" }]
        guarantee = "at-least-once"
    "#;
    let env = |name: &str| (name == "AUTH").then(|| "Bearer hunter2".to_owned());
    let config = Config::parse(text, Path::new("/etc"), &env).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let Kind::Http(settings) = &config.targets[0].kind else {
        panic!("{:?}", config.targets)
    };
    assert_eq!(settings.level, Level::M2);
    let names: Vec<_> = settings
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let collection = settings.collection.as_ref().unwrap();
    assert_eq!(
        collection.to_string(),
        "https://crm.example.com/v2/{entity}"
    );
    assert_eq!(config.pipelines[0].to[0].operation, Operation::Upsert);
}

#[test]
fn a_module_that_reserves_says_where() {
    let text = r#"
        [targets.api]
        kind = "http"
        url = "https://crm.example.com/v2/{entity}/{key}"
        level = "M3"
        transactions = "https://crm.example.com/transactions/{transaction}"
    "#;
    let config = parse(text);
    let Kind::Http(settings) = &config.targets[0].kind else {
        panic!("{:?}", config.targets)
    };
    let transactions = settings.transactions.as_ref().map(ToString::to_string);
    let expected = "https://crm.example.com/transactions/{transaction}";
    assert_eq!(
        (settings.level, transactions.as_deref()),
        (Level::M3, Some(expected))
    );
}

#[test]
fn pipelines_are_read() {
    let config = parse(WHOLE);
    let customers = &config.pipelines[0];
    assert_eq!(
        (customers.name.as_str(), customers.intake.pipeline.as_str()),
        ("customers", "customers")
    );
    let source = Source::JetStream {
        stream: "BILLING".to_owned(),
        subjects: vec!["billing.customer.>".parse().unwrap()],
        create: Create::Missing,
        durable: "syncline-customers".to_owned(),
    };
    assert_eq!(customers.intake.source, source);
    assert_eq!(customers.intake.key, KeySpec::JsonPointer("/id".to_owned()));
    assert_eq!(
        (customers.intake.max_events, customers.intake.max_payload),
        (16, 65536)
    );
    assert_eq!(customers.intake.ack_wait, Duration::from_secs(30));
    assert_eq!(customers.stages, ["only-eu", "crm-map"]);
    assert_eq!(customers.writable, ["audit", "crm", "search"]);
    assert_eq!(customers.guarantee, Guarantee::AtLeastOnce);
    assert_eq!(customers.on_failure, OnFailure::DeadLetter);
    let pause = (Duration::from_millis(100), Duration::from_secs(5));
    let retry = RetryPolicy {
        attempts: 3,
        first: pause.0,
        longest: pause.1,
    };
    assert_eq!(customers.retry, retry);
    assert_eq!(customers.rate, "100/m burst 5".parse().ok());
    assert_eq!(customers.dedupe, Some(Duration::from_secs(86_400)));
    assert_eq!(customers.intake.lease, Some(Duration::from_secs(2)));
}

#[test]
fn routes_have_the_defaults_of_their_target() {
    let config = parse(WHOLE);
    let route = |target: &str, operation| RouteConfig {
        target: target.to_owned(),
        entity: None,
        operation,
        key: None,
        when: None,
    };
    let expected = [
        RouteConfig {
            when: Some(TypePattern::new("*.deleted")),
            ..route("crm", Operation::Delete)
        },
        RouteConfig {
            entity: Some("customer".to_owned()),
            key: Some("/customer/id".to_owned()),
            ..route("crm", Operation::Upsert)
        },
        route("search", Operation::Append),
    ];
    assert_eq!(config.pipelines[0].to, expected);
}

#[test]
fn a_bare_pipeline_has_the_defaults() {
    let config = parse(WHOLE);
    let bare = &config.pipelines[1];
    let source = Source::Core {
        subject: "ticks.*".parse().unwrap(),
        queue: Some("q".to_owned()),
        reply: false,
        pending: 65_536,
    };
    assert_eq!(bare.intake.source, source);
    assert_eq!(bare.intake.key, KeySpec::WholeSubject);
    assert_eq!(
        (bare.intake.max_events, bare.intake.max_payload),
        (1024, 1 << 20)
    );
    assert_eq!(bare.intake.max_bytes, 64 << 20);
    assert!(bare.stages.is_empty() && bare.to.is_empty());
    assert_eq!(bare.dedupe, None);
    assert_eq!(bare.intake.lease, None);
    assert_eq!(bare.writable, ["crm", "search", "audit"]);
    let second = Duration::from_secs(1);
    assert_eq!(
        bare.retry,
        RetryPolicy {
            attempts: 5,
            first: second,
            longest: second
        }
    );
}

#[test]
fn an_empty_file_is_the_default() {
    let config = parse("");
    assert_eq!(config, Config::default());
    assert_eq!(config.nats.urls, ["nats://127.0.0.1:4222"]);
    assert_eq!(
        parse("\u{feff}# with a byte order mark\r\n[nats]\r\n"),
        Config::default()
    );
}

#[test]
fn servers_are_one_or_many() {
    let text = r#"nats.url = ["a", "b:4223", "tls://c/", "nats://u:p@[::1]:1"]"#;
    assert_eq!(
        parse(text).nats.urls,
        ["a", "b:4223", "tls://c/", "nats://u:p@[::1]:1"]
    );
    let nats = parse("nats.domain = \"hub\"\nnats.name = \"x\"").nats;
    assert_eq!(nats.jetstream, JetStreamApi::Domain("hub".to_owned()));
    assert_eq!(nats.name, "x");
    let nats = parse("nats.api_prefix = \"$JS.hub.API\"").nats;
    assert_eq!(
        nats.jetstream,
        JetStreamApi::Prefix("$JS.hub.API".to_owned())
    );
}

#[test]
fn secrets_come_from_the_environment_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a", "one\n"),
        ("b", "two\r\n"),
        ("c", "three\n\n"),
        ("d", "four"),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let text = "[secrets]\na.file = \"a\"\nb.file = \"b\"\nc.file = \"c\"\nd.file = \"d\"\n\
                e.env = \"TOKEN\"\n[nats]\nuser = \"u\"\npassword = { file = \"a\" }";
    let config = parse_in(folder.path(), text);
    let values: Vec<_> = config.secrets.values().map(super::Secret::expose).collect();
    assert_eq!(values, ["one", "two", "three\n", "four", "hush"]);
    let user = Auth::User {
        user: "u".to_owned(),
        password: "one".into(),
    };
    assert_eq!(config.nats.auth, user);
}

#[test]
fn a_file_is_loaded_with_paths_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncline.toml");
    std::fs::write(&file, WHOLE).unwrap();
    let config = Config::load(&file, &env).unwrap();
    assert_eq!(
        config.plugins[0].path,
        folder.path().join("plugins/only_eu.wasm")
    );
    assert_eq!(config.pipelines.len(), 2);
}

#[test]
fn problems_found_later_get_the_place_of_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncline.toml");
    std::fs::write(&file, WHOLE).unwrap();
    let problem = |key: &str| Problem {
        key: key.to_owned(),
        line: None,
        column: None,
        message: "no".to_owned(),
    };
    let list = vec![
        problem("targets.crm"),
        problem("plugins.only-eu.path"),
        problem("none"),
    ];
    let problems = Problems::located(&file, list);
    let told = problems
        .to_string()
        .replace(&format!("{}:", file.display()), "");
    assert_eq!(
        told,
        " none: no\n6:8: plugins.only-eu.path: no\n14:10: targets.crm: no"
    );
}

#[test]
fn debug_shows_no_secret() {
    let texts = [
        "nats.url = \"nats://u:hush@h:4222\"",
        "nats.url = \"u:hush@h\"",
        "nats.token = \"${TOKEN}\"",
        "nats.token = { env = \"TOKEN\" }",
        "nats.nkey = \"SUhush\"",
        "nats.user = \"u\"\nnats.password = \"hush\"",
        "secrets.a.env = \"TOKEN\"",
    ];
    for text in texts {
        let config = parse(text);
        assert_ne!(config, Config::default());
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
    assert!(format!("{:?}", Nats::default()).contains("nats://127.0.0.1:4222"));
}

#[test]
fn a_pipeline_is_atomic_unless_it_says_otherwise_and_then_has_a_lease_in_any_case() {
    let config =
        parse("[pipelines.p]\nsource.subject = \"s\"\n[pipelines.q]\nsource.stream = \"S\"");
    for pipeline in &config.pipelines {
        assert_eq!(pipeline.guarantee, Guarantee::Atomic);
        assert_eq!(pipeline.intake.lease, Some(Duration::from_secs(5)));
    }
}
