//! What plugins look up, in targets of every kind: once for each attempt, anew for the next.

mod meeting;

use crate::harness::{
    Ce, Module, PARTS, Postgres, Process, Running, TestEnv, check_law, eventually,
};
use meeting::Meeting;
use serde_json::{Value, json};

/// Two stages with the same code and the same grants.
const STAGES: &str = r#"
[plugins.again]
path = "${PROBE}"
grants = { lookup = ["*"], state = true }
"#;

/// The targets `table` and `module`, beside those of `PARTS`.
struct Kinds {
    postgres: Postgres,
    module: Module,
}

/// Each kind of target, and the kind of entity that it holds.
const KINDS: [(&str, Option<&str>); 4] = [
    ("crm", None),
    ("search", Some("doc")),
    ("table", None),
    ("module", Some("person")),
];

impl Kinds {
    async fn start() -> Self {
        Self {
            postgres: Postgres::start(64).await,
            module: Module::start().await,
        }
    }

    fn targets(&self) -> String {
        format!(
            "[targets.table]\nkind = \"postgres\"\nurl = {:?}\ntable = \"held\"\nkey = \"id\"\ncreate = true\n\
             [targets.module]\nkind = \"http\"\nurl = {:?}\nlevel = \"M1\"\n",
            self.postgres.url("postgres"),
            self.module.url("/v2/{entity}/{key}")
        )
    }
}

fn pipeline(stages: &[&str], guarantee: &str) -> String {
    format!(
        "[pipelines.p]\nsource = {{ stream = \"SRC\", subjects = [\"src.>\"], create = true }}\n\
         key = \"json:/key\"\nstages = {stages:?}\nguarantee = {guarantee:?}\n\
         retry = {{ attempts = 3, backoff = \"10ms..50ms\" }}\n"
    )
}

async fn run(env: &TestEnv, kinds: &Kinds, stages: &[&str]) -> Running {
    let targets = kinds.targets();
    let pipeline = pipeline(stages, "at-least-once");
    env.run(&[PARTS, STAGES, &targets, &pipeline].concat())
        .await
}

fn event(id: impl ToString, steps: &Value) -> Ce {
    let id = id.to_string();
    let data = json!({"key": id, "steps": steps});
    Ce::new(id).data(data)
}

fn look_up((target, entity): (&str, Option<&str>), key: &str) -> Value {
    json!({"do": "lookup", "target": target, "entity": entity, "key": key})
}

fn effect((target, entity): (&str, Option<&str>), key: &str, payload: u64) -> Value {
    json!({"target": target, "entity": entity, "key": key, "payload": payload})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_reads_an_entity_once_for_all_of_its_stages_and_the_next_reads_it_anew() {
    let (env, kinds) = (TestEnv::start().await, Kinds::start().await);
    let runtime = run(&env, &kinds, &["probe", "again"]).await;
    let written: Vec<_> = KINDS.map(|kind| effect(kind, "a", 1)).into();
    let write = json!([{"do": "accept", "effects": written}]);
    env.send("src.a", &event("write", &write)).await;
    runtime.settled("p", 1).await;
    let mut n_events = 1;
    for (target, entity) in KINDS {
        let kind = (target, entity);
        let report = json!({"target": "crm", "key": format!("report-{target}")});
        let steps = json!([
            look_up(kind, "a"),
            look_up(kind, "none"),
            look_up(kind, "a"),
            {"do": "retry", "before_attempt": 2, "after_ms": 1},
            {"do": "accept", "effects": [report], "next": "pass"},
        ]);
        env.send("src.a", &event(target, &steps)).await;
        n_events += 1;
        let counts = runtime.settled("p", n_events).await;
        assert_eq!((counts.dead, counts.done), (0, n_events), "{target}");
        let reported = env.entry("crm", &format!("report-{target}")).await.unwrap();
        let results = &reported["results"];
        assert_eq!(results[0]["data"], 1, "{target}: {results}");
        assert_eq!(results[1], Value::Null, "{target}: {results}");
        assert_eq!(results[0], results[2], "{target}");
        // Two attempts; the first has one stage, the second two with three questions each.
        let counts = runtime.lookups("p", target);
        assert_eq!((counts.found, counts.absent), (2, 2), "{target}");
        assert_eq!((counts.repeated, counts.failed), (5, 0), "{target}");
    }
    let journal = kinds.module.journal();
    let n_read = journal
        .iter()
        .filter(|entry| entry.method == "GET" && entry.path.ends_with("/a"));
    assert_eq!(n_read.count(), 2);
    check_law(&runtime.drain().await);
}

/// How somebody else changes `{"n": 1}` to `{"n": 2}` at a key.
async fn rival(env: &TestEnv, kinds: &Kinds, target: &str, key: &str) {
    let changed = json!({"n": 2}).to_string();
    match target {
        "crm" => {
            let bucket = env.bucket("crm").await;
            bucket.put(key, changed.into()).await.unwrap();
        }
        "table" => {
            let text = format!("UPDATE held SET data = '{changed}' WHERE id = '{key}'");
            kinds.postgres.sql("postgres", &text).await;
        }
        _ => kinds.module.put(&format!("/v2/person/{key}"), &changed),
    }
}

/// A merge of nothing makes a condition of what the event does not change: what was read of it.
fn condition((target, entity): (&str, Option<&str>), key: &str) -> Value {
    json!({"target": target, "entity": entity, "key": key, "operation": "merge", "payload": {},
        "precondition": "looked-up"})
}

async fn is_thought_again(kind: (&str, Option<&str>), guarantee: &str) {
    let (env, kinds) = (TestEnv::start().await, Kinds::start().await);
    let config = [PARTS, &kinds.targets(), &pipeline(&["probe"], guarantee)].concat();
    let runtime = env.run(&config).await;
    let mut first = effect(kind, "a", 0);
    first["payload"] = json!({"n": 1});
    let write = json!([{"do": "accept", "effects": [first]}]);
    env.send("src.a", &event("write", &write)).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    let file = env.folder().join("lookup.toml");
    std::fs::write(&file, env.text(&config)).unwrap();
    let process = Process::launch(&file, "stall=thought:1:2000");
    let report = json!({"target": "crm", "key": "report"});
    let steps = json!([
        {"do": "log", "message": "thinking"},
        look_up(kind, "a"),
        {"do": "accept", "effects": [condition(kind, "a"), report]},
    ]);
    env.send("src.a", &event("read", &steps)).await;
    eventually("the event was thought about", async || {
        process.log().contains("events stand still here")
    })
    .await;
    rival(&env, &kinds, kind.0, "a").await;
    eventually("it has its effect", async || {
        env.entry("crm", "report").await.is_some()
    })
    .await;
    let report = env.entry("crm", "report").await.unwrap();
    assert_eq!(
        report["results"][0]["data"],
        json!({"n": 2}),
        "{kind:?} {guarantee}"
    );
    assert_eq!(report["attempt"], 1, "a conflict is no attempt");
    let n_thought = process.log().matches("thinking").count();
    assert_eq!(n_thought, 2, "{kind:?} {guarantee}");
    drop(process.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_rests_on_a_changed_entry_is_thought_again_from_fresh_reads() {
    is_thought_again(KINDS[0], "at-least-once").await;
    is_thought_again(KINDS[0], "atomic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_rests_on_a_changed_row_is_thought_again_from_fresh_reads() {
    is_thought_again(KINDS[2], "at-least-once").await;
    is_thought_again(KINDS[2], "atomic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_rests_on_a_changed_module_is_thought_again_from_fresh_reads() {
    is_thought_again(KINDS[3], "at-least-once").await;
    is_thought_again(KINDS[3], "atomic").await;
}

/// The module answers sixteen at a time, when all of them have asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_entities_are_read_at_once_and_not_all_of_many() {
    const AT_ONCE: usize = 16;
    let (env, meeting) = (TestEnv::start().await, Meeting::of(AT_ONCE).await);
    let url = meeting.url("/{key}");
    let target = format!("[targets.module]\nkind = \"http\"\nurl = {url:?}\ncreate = false\n");
    let pipeline = pipeline(&["probe"], "at-least-once");
    let runtime = env.run(&[PARTS, &target, &pipeline].concat()).await;
    let mut keys: Vec<_> = (0..AT_ONCE * 3).map(|n| n.to_string()).collect();
    keys.push("0".to_owned());
    let steps = json!([
        {"do": "lookup-many", "target": "module", "keys": keys},
        {"do": "accept", "effects": [{"target": "crm", "key": "report"}]},
    ]);
    env.send("src.a", &event("many", &steps)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!(counts.done, 1, "{counts:?}");
    let report = env.entry("crm", "report").await.unwrap();
    let found: Vec<_> = report["results"][0].as_array().unwrap().iter().collect();
    let expected: Vec<_> = keys.iter().map(|key| format!("/{key}")).collect();
    let data: Vec<_> = found
        .iter()
        .map(|entity| entity["data"]["path"].clone())
        .collect();
    assert_eq!(data, expected, "in the order of the keys");
    assert_eq!(meeting.most(), AT_ONCE);
    let counts = runtime.lookups("p", "module");
    assert_eq!((counts.found, counts.repeated), (48, 1));
    check_law(&runtime.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_away_is_counted_and_one_that_is_none_is_not() {
    let env = TestEnv::start().await;
    let target =
        "[targets.gone]\nkind = \"http\"\nurl = \"http://127.0.0.1:9/{key}\"\ncreate = false\n";
    let pipeline = pipeline(&["probe"], "at-least-once");
    let runtime = env.run(&[PARTS, target, &pipeline].concat()).await;
    let steps = json!([
        look_up(("gone", None), "a"),
        look_up(("nowhere", None), "a"),
        {"do": "lookup-many", "target": "crm", "keys": ["a", ""]},
        {"do": "accept", "effects": [{"target": "crm", "key": "report"}]},
    ]);
    env.send("src.a", &event("away", &steps)).await;
    runtime.settled("p", 1).await;
    let report = env.entry("crm", "report").await.unwrap();
    let errors = report["results"].as_array().unwrap();
    for (error, expected) in errors
        .iter()
        .zip(["unavailable", "no target `nowhere`", "empty"])
    {
        let error = error["error"].as_str().unwrap();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(runtime.lookups("p", "gone").failed, 1);
    let summary = runtime.drain().await;
    let targets: Vec<_> = summary.lookups["p"].keys().collect();
    assert_eq!(targets, ["gone"]);
    check_law(&summary);
}
