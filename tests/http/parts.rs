//! Modules of level M3, which reserve what an event needs, unseen, and make it or give it up: with the
//! other targets or not at all.

use super::{PIPELINE as PLAIN, run, target};
use crate::atomic::{die_at, launch};
use crate::harness::{Ce, Fault, Module, PARTS, Process, Running, TestEnv, check_law, eventually};
use serde_json::{Value, json};
use std::time::Duration;
use syncline::event::DeadReason;

/// A pipeline to these targets.
const PIPELINE: &str = r#"
[pipelines.p]
source = { stream = "SRC", subjects = ["src.>"], create = true, ack_wait = "1s" }
key = "json:/key"
stages = ["probe"]
to = [TO]
guarantee = "atomic"
lease = "1s"
retry = { attempts = 4, backoff = "10ms..50ms" }
"#;

/// A module that reserves, one that is changed, an entry and a message.
const TO: &str = r#"{ target = "crm", operation = "merge" }, { target = "old", entity = "person" },
    { target = "api", entity = "person" }, { target = "search", entity = "person" }"#;

/// A module of level M3 and one of level M2.
struct World {
    env: TestEnv,
    api: Module,
    old: Module,
}

/// A pipeline to nothing but a module that reserves.
pub(super) fn alone(module: &Module) -> String {
    [
        &PARTS.replace(", state = true", ""),
        &*reserving(module).replace("500ms", "20s"),
        &*PIPELINE.replace("TO", r#"{ target = "api", entity = "person" }"#),
    ]
    .concat()
}

/// The number in the module that reserves, in the other one and in the entry, and how many messages.
type Held = (Option<i64>, Option<i64>, Option<i64>, u64);

const NOTHING: Held = (None, None, None, 0);

impl World {
    async fn start() -> Self {
        Self {
            env: TestEnv::start().await,
            api: Module::start().await,
            old: Module::start_at("M2").await,
        }
    }

    fn config(&self, to: &str) -> String {
        let old = target(&self.old, "level = \"M2\"");
        [
            &PARTS.replace(", state = true", ""),
            &*reserving(&self.api),
            &*old.replace("targets.api", "targets.old"),
            &*PIPELINE.replace("TO", to),
        ]
        .concat()
    }

    async fn held(&self) -> Held {
        let number = |value: Value| value["n"].as_i64();
        let entry = self.env.entry("crm", "k").await.and_then(number);
        let n_messages = self.env.n_messages("SEARCH").await;
        let entities = [&self.api, &self.old].map(|module| {
            let entity = module.held("/v2/person/k");
            entity.and_then(|text| number(serde_json::from_str(&text).unwrap()))
        });
        (entities[0], entities[1], entry, n_messages)
    }

    async fn until(&self, what: &str, expected: Held) {
        let mut held = NOTHING;
        eventually(what, async || {
            held = self.held().await;
            held == expected && self.api.reserved().is_empty()
        })
        .await;
    }

    /// Makes the next run rest on nothing but what was written down.
    async fn forget_the_event(&self) {
        let source = self.env.js.get_stream("SRC").await.unwrap();
        source.purge().await.unwrap();
    }
}

/// The target `api` at a module that reserves.
fn reserving(module: &Module) -> String {
    let parts = module.url("/transactions/{transaction}");
    let lines = format!("level = \"M3\"\ntransactions = \"{parts}\"\ntimeout = \"500ms\"");
    target(module, &lines)
}

fn event(n: u32) -> Ce {
    Ce::new(n).data(json!({"key": "k", "n": n}))
}

fn all(n: u32) -> Held {
    let number = Some(i64::from(n));
    (number, number, number, n.into())
}

/// What the module was asked about parts, without what a start asks.
fn asked(module: &Module) -> Vec<(String, u16)> {
    let journal = module.journal();
    let parts = journal
        .iter()
        .filter(|entry| entry.path.starts_with("/transactions/") && !entry.path.contains("probe"));
    parts
        .map(|entry| (entry.method.clone(), entry.status))
        .collect()
}

fn steps(expected: &[(&str, u16)]) -> Vec<(String, u16)> {
    let owned = |(method, status): &(&str, u16)| ((*method).to_owned(), *status);
    expected.iter().map(owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_tried_unseen_and_made_with_the_other_targets() {
    let world = World::start().await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    for n in [1, 2, 1] {
        env.send("src.a", &event(n)).await;
    }
    let counts = runtime.settled("p", 3).await;
    assert_eq!((counts.done, counts.duplicate, counts.effects), (2, 1, 8));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, all(2));
    // Of the second copy it is found out when it is to be decided.
    let done = [("POST", 200), ("PUT", 200)];
    let expected = steps(&[done, done, [("POST", 200), ("DELETE", 200)]].concat());
    assert_eq!(asked(&world.api), expected);
    let journal = world.api.journal();
    let tried = journal
        .iter()
        .find(|entry| entry.method == "POST" && entry.status == 200);
    let tried = tried.unwrap();
    let name = tried
        .path
        .strip_prefix("/transactions/syncline%3A")
        .unwrap();
    assert!(name.ends_with("%3A0") && name.contains("%3Ap%3A"), "{name}");
    assert_eq!(
        serde_json::from_str::<Value>(&tried.body).unwrap(),
        json!({"effects": [{"operation": "upsert", "entity": "person", "key": "k",
            "content_type": "application/json", "payload": {"key": "k", "n": 1}}]})
    );
    let header = |name: &str| tried.headers.get(name).map(String::as_str);
    assert_eq!(header("syncline-source-sequence"), Some("1"));
    assert_eq!(header("idempotency-key"), None);
    // Nothing was written but by confirming.
    assert!(
        journal
            .iter()
            .all(|entry| !entry.applied || entry.method == "PUT")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_an_event_changes_in_a_module_is_one_part() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let pipeline = PIPELINE.replace("to = [TO]", "");
    let parts = PARTS.replace(", state = true", "");
    let config = [&parts, &*reserving(&module), &pipeline].concat();
    let runtime = env.run(&config).await;
    let effect = |key: &str, operation: &str, precondition: &str| {
        json!({"target": "api", "entity": "person", "key": key, "operation": operation,
            "payload": 1, "precondition": precondition})
    };
    let send = async |id: u32, effects: Value| {
        let data = json!({"key": "k", "do": "accept", "effects": effects});
        env.send("src.a", &Ce::new(id).data(data)).await;
    };
    let mut append = effect("log", "append", "absent");
    append.as_object_mut().unwrap().remove("precondition");
    send(1, json!([effect("a", "upsert", "absent"), append])).await;
    runtime.settled("p", 1).await;
    // One of them does not hold.
    send(
        2,
        json!([
            effect("b", "upsert", "absent"),
            effect("a", "upsert", "absent")
        ]),
    )
    .await;
    let counts = runtime.settled("p", 2).await;
    assert_eq!((counts.done, counts.dead), (1, 1));
    check_law(&runtime.drain().await);
    assert_eq!(env.letters().await[0].reason, DeadReason::Conflict);
    let held = |key: &str| module.held(&format!("/v2/person/{key}"));
    assert_eq!((held("a").as_deref(), held("b")), (Some("1"), None));
    assert_eq!(held("log#2").as_deref(), Some("1"));
    assert_eq!(module.reserved(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_refuses_the_others_are_as_they_were() {
    for refuses_old in [true, false] {
        let world = World::start().await;
        let (env, config) = (&world.env, world.config(TO));
        let runtime = env.run(&config).await;
        env.send("src.a", &event(1)).await;
        runtime.settled("p", 1).await;
        let refusing = if refuses_old { &world.old } else { &world.api };
        refusing.misbehave([Fault::Refuse(422, "")]);
        let before = world.old.journal().len();
        env.send("src.a", &event(2)).await;
        let counts = runtime.settled("p", 2).await;
        assert_eq!((counts.done, counts.dead), (1, 1));
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, all(1), "{refuses_old}");
        assert_eq!(world.api.reserved(), Vec::<String>::new());
        assert_eq!(env.letters().await[0].reason, DeadReason::Refused);
        // What is not seen is asked first: where it refuses, nobody has seen anything.
        let journal = world.old.journal();
        let n_writes = journal[before..]
            .iter()
            .filter(|entry| entry.method != "GET");
        assert_eq!(n_writes.count(), usize::from(refuses_old));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_to_be_tried_is_cancelled_and_tried_anew() {
    let faults = [
        Fault::FailAfter,
        Fault::Cut,
        Fault::Garble,
        Fault::Late(Duration::from_secs(1)),
        Fault::Refuse(423, ""),
        Fault::Refuse(503, ""),
    ];
    for fault in faults {
        let world = World::start().await;
        let (env, config) = (&world.env, world.config(TO));
        let runtime = env.run(&config).await;
        world.api.misbehave([fault.clone()]);
        env.send("src.a", &event(1)).await;
        assert_eq!(runtime.settled("p", 1).await.done, 1, "{fault:?}");
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, all(1), "{fault:?}");
        assert_eq!(world.api.reserved(), Vec::<String>::new());
        let methods: Vec<_> = asked(&world.api)
            .into_iter()
            .map(|(method, _)| method)
            .collect();
        assert_eq!(methods, ["POST", "DELETE", "POST", "PUT"], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_comes_after_it_was_cancelled_is_not_tried() {
    let world = World::start().await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    world.api.misbehave([Fault::Delay]);
    // It cannot be tried a second time.
    world.old.misbehave([Fault::Refuse(422, "")]);
    env.send("src.a", &event(1)).await;
    assert_eq!(runtime.settled("p", 1).await.dead, 1);
    check_law(&runtime.drain().await);
    world.api.arrive();
    assert_eq!(world.api.reserved(), Vec::<String>::new());
    assert_eq!(world.held().await, NOTHING);
    let expected = [
        ("POST", 504),
        ("DELETE", 200),
        ("POST", 200),
        ("DELETE", 200),
        ("POST", 410),
    ];
    assert_eq!(asked(&world.api), steps(&expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_confirmed_however_long_it_takes() {
    let world = World::start().await;
    let (env, config) = (&world.env, world.config(TO));
    let runtime = env.run(&config).await;
    let never = Fault::Late(Duration::ZERO);
    let faults = [
        never,
        Fault::Refuse(503, ""),
        // By somebody in front of it.
        Fault::Refuse(404, ""),
        Fault::Refuse(403, ""),
        Fault::Cut,
    ];
    world.api.misbehave(faults);
    env.send("src.a", &event(1)).await;
    let counts = runtime.settled("p", 1).await;
    assert_eq!((counts.done, counts.retries), (1, 0));
    check_law(&runtime.drain().await);
    assert_eq!(world.held().await, all(1));
    let expected = [
        ("POST", 200),
        ("PUT", 503),
        ("PUT", 404),
        ("PUT", 403),
        ("PUT", 200),
        ("PUT", 200),
    ];
    assert_eq!(asked(&world.api), steps(&expected));
    let confirmed = world.api.journal();
    let n_made = confirmed.iter().filter(|entry| entry.applied).count();
    assert_eq!(n_made, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_and_not_decided_is_cancelled_without_the_event() {
    for point in ["begun", "between-effects", "prepared"] {
        let world = World::start().await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event(1)).await;
        die_at(env, &config, point).await;
        assert_eq!(world.api.reserved().is_empty(), point == "begun");
        world.forget_the_event().await;
        // Whoever takes over is killed as well while it takes back.
        die_at(env, &config, "undoing").await;
        let runtime = env.run(&config).await;
        world.until("what was begun is taken back", NOTHING).await;
        env.send("src.a", &event(1)).await;
        assert_eq!(runtime.settled("p", 1).await.done, 1, "died at {point}");
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, all(1), "died at {point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_is_confirmed_without_the_event() {
    // Of the hits between effects the first two are before the decision.
    for fault in ["decided:1", "between-effects:3", "applied:1"] {
        let world = World::start().await;
        let (env, config) = (&world.env, world.config(TO));
        env.stream("SRC", &["src.>"]).await;
        env.send("src.a", &event(1)).await;
        let mut dying = launch(env, &config, &format!("die={fault}"));
        eventually("the program dies", async || dying.has_ended()).await;
        assert_eq!(world.api.reserved().is_empty(), fault != "decided:1");
        world.forget_the_event().await;
        let runtime = env.run(&config).await;
        world.until("what was decided is done", all(1)).await;
        env.send("src.a", &event(1)).await;
        assert_eq!(runtime.settled("p", 1).await.duplicate, 1, "{fault}");
        check_law(&runtime.drain().await);
        assert_eq!(world.held().await, all(1), "died at {fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_runtime_takes_over_from_one_that_stands_still_after_a_try() {
    let world = World::start().await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    env.send("src.a", &event(1)).await;
    let mut stopped = launch(env, &config, "die=prepared:1:60000");
    eventually("everything is prepared", async || {
        !world.api.reserved().is_empty() && world.held().await.2.is_some()
    })
    .await;
    stopped.pause();
    let runtime = env.run(&config).await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    stopped.resume();
    env.send("src.a", &event(2)).await;
    runtime.settled("p", 2).await;
    assert!(!stopped.has_ended());
    check_law(&runtime.drain().await);
    Process::kill(stopped);
    assert_eq!(world.held().await, all(2));
    assert_eq!(world.api.reserved(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_alone_is_tried_and_confirmed_too() {
    let world = World::start().await;
    let (env, config) = (
        &world.env,
        world.config(r#"{ target = "api", entity = "person" }"#),
    );
    let runtime = env.run(&config).await;
    env.send("src.a", &event(1)).await;
    runtime.settled("p", 1).await;
    check_law(&runtime.drain().await);
    assert_eq!(asked(&world.api), steps(&[("POST", 200), ("PUT", 200)]));
    assert!(world.api.held("/v2/person/k").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_effect_after_the_other_needs_no_reservation() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let to = "to = [{ target = \"api\", entity = \"person\" }]\nguarantee";
    let pipeline = PLAIN.replace("guarantee", to);
    let runtime = env
        .run(&[PARTS, &*reserving(&module), &pipeline].concat())
        .await;
    env.send("src.a", &event(1)).await;
    assert_eq!(runtime.settled("p", 1).await.done, 1);
    check_law(&runtime.drain().await);
    assert_eq!(asked(&module), steps(&[]));
    assert!(module.held("/v2/person/k").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_tries_what_was_cancelled_is_found_at_the_start() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let config = reserving(&module);
    let said = async |config: &str| {
        let parsed = env.parse(&[PARTS, config, PLAIN].concat());
        match Running::try_start(parsed).await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it starts"),
        }
    };
    module.forget_cancelled();
    let forgetful = said(&config).await;
    assert!(
        forgetful.contains("trying what was cancelled") && forgetful.contains("410"),
        "{forgetful}"
    );
    let nowhere = config.replace("/transactions/{", "/v2/nowhere/{");
    let nowhere = said(&nowhere).await;
    assert!(nowhere.contains("was never tried"), "{nowhere}");
    assert_eq!(module.reserved(), Vec::<String>::new());
    // A second start asks the same.
    let module = Module::start().await;
    for _ in 0..2 {
        check_law(&run(&env, &reserving(&module)).await.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_takes_what_is_not_known_for_a_failure_is_found_out() {
    let world = World::start().await;
    let (env, config) = (&world.env, world.config(TO));
    env.stream("SRC", &["src.>"]).await;
    let mut broken = launch(env, &config, "break=settle");
    assert!(broken.is_ready().await);
    world.api.misbehave([Fault::FailAfter]);
    env.send("src.a", &event(1)).await;
    eventually("the event has ended", async || {
        env.unacked("SRC", "syncline-p").await == (0, 0) && !env.letters().await.is_empty()
    })
    .await;
    drop(broken.drain().await);
    assert_eq!(world.api.reserved().len(), 1, "reserved for ever");
}
