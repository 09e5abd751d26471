//! Effects that are taken back: what was there is there again, and what others wrote stays.

use super::target;
use crate::harness::{Fault, Module, TestEnv};
use bytes::Bytes;
use serde_json::{Value, json};
use syncline::event::{Effect, EventId, Headers, Operation, OrderingKey, PlannedEffect};
use syncline::target::{Answer, Cause, Changed, Target, Targets, Undone};
use syncline::telemetry::Metrics;

/// The target `api` at a module, and nobody but us.
pub(super) struct Lab {
    pub(super) module: Module,
    targets: Targets,
    _env: TestEnv,
}

impl Lab {
    pub(super) async fn start(level: &str) -> Self {
        let (env, module) = (TestEnv::start().await, Module::start_at(level).await);
        let lines = format!("level = \"{level}\"\ntimeout = \"1s\"");
        let config = env.parse(&target(&module, &lines));
        let opened = Targets::open(&env.js, &config.targets, &Metrics::new()).await;
        Self {
            module,
            targets: opened.unwrap(),
            _env: env,
        }
    }

    pub(super) fn api(&self) -> &Target {
        self.targets.get("api").unwrap()
    }

    pub(super) fn held(&self) -> Option<String> {
        self.module.held("/v2/person/a")
    }

    /// Its version.
    pub(super) fn version(&self) -> u64 {
        self.module.version("/v2/person/a").unwrap()
    }

    /// Writes the entity as somebody else would.
    pub(super) async fn put(&self, payload: Value) {
        let event = format!("other-{}", self.module.journal().len());
        let answer = self.api().apply(&put(payload), &cause(&event)).await;
        assert_eq!(answer, Answer::Applied);
    }
}

pub(super) fn put(payload: impl Into<Value>) -> PlannedEffect {
    PlannedEffect {
        target: "api".into(),
        effect: Effect {
            target: None,
            entity: Some("person".to_owned()),
            operation: Operation::Upsert,
            key: "a".to_owned(),
            precondition: None,
            content_type: None,
            headers: Headers::default(),
            payload: Bytes::from(payload.into().to_string()),
        },
        id: "0".to_owned(),
    }
}

pub(super) fn delete() -> PlannedEffect {
    let mut planned = put(Value::Null);
    planned.effect.operation = Operation::Delete;
    planned
}

pub(super) fn cause(event: &str) -> Cause {
    Cause {
        event_id: EventId::of("/test", event),
        stream: "SRC".into(),
        stream_created: 1,
        sequence: 1,
        generation: 0,
        key: OrderingKey::from("a"),
        maybe_seen: false,
        traceparent: None,
        message_id: event.into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_is_there_again_at_each_level() {
    for level in ["M0", "M1", "M2"] {
        let lab = Lab::start(level).await;
        let api = lab.api();
        let before = json!({"name": "Ada", "n": 1});
        for was in [None, Some(before.to_string())] {
            if was.is_some() {
                lab.put(before.clone()).await;
            }
            for planned in [put(json!({"name": "Bea"})), delete()] {
                let cause = cause(&format!("{}-{}", planned.effect.operation, was.is_some()));
                let image = api.image(&planned.effect).await.unwrap();
                assert_eq!(api.change(&planned, &image, &cause).await, Changed::Yes);
                let is_delete = planned.effect.operation == Operation::Delete;
                let made = (!is_delete).then(|| json!({"name": "Bea"}).to_string());
                assert_eq!(lab.held(), made, "{level}");
                for _ in 0..2 {
                    assert_eq!(
                        api.undo(&planned, &image, &cause).await,
                        Undone::Restored,
                        "{level}"
                    );
                    assert_eq!(lab.held(), was, "{level}");
                }
            }
        }
        let mut append = put(1);
        append.effect.operation = Operation::Append;
        assert!(api.image(&append.effect).await.is_err(), "{level}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_found_out_by_acting_again_and_taken_back_whatever_it_was() {
    let lab = Lab::start("M1").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    let faults = [
        Fault::FailAfter,
        Fault::Cut,
        Fault::Garble,
        Fault::Refuse(500, ""),
    ];
    for fault in faults {
        lab.put(json!({"name": "Ada"})).await;
        let before = lab.held();
        for finds_out in [true, false] {
            let image = api.image(&planned.effect).await.unwrap();
            lab.module.misbehave([fault.clone()]);
            let acted = api.change(&planned, &image, &cause("1")).await;
            assert!(matches!(acted, Changed::Maybe(_)), "{fault:?}: {acted:?}");
            if finds_out {
                let again = api.change(&planned, &image, &cause("1")).await;
                assert_eq!(again, Changed::Yes, "{fault:?}");
                assert_eq!(lab.held().unwrap(), json!({"name": "Bea"}).to_string());
            }
            assert_eq!(
                api.undo(&planned, &image, &cause("1")).await,
                Undone::Restored,
                "{fault:?}"
            );
            assert_eq!(lab.held(), before, "{fault:?}");
            // What was thought lost and arrives now meets another version.
            let late = api.change(&planned, &image, &cause("1")).await;
            assert!(
                matches!(late, Changed::No(Answer::Conflict(_))),
                "{fault:?}: {late:?}"
            );
            assert_eq!(lab.held(), before, "{fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_wrote_meanwhile_is_left_alone() {
    let lab = Lab::start("M1").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    lab.put(json!({"name": "Ada"})).await;
    let image = api.image(&planned.effect).await.unwrap();
    lab.put(json!({"name": "Cleo"})).await;
    let acted = api.change(&planned, &image, &cause("1")).await;
    assert!(
        matches!(acted, Changed::No(Answer::Conflict(_))),
        "{acted:?}"
    );
    let image = api.image(&planned.effect).await.unwrap();
    assert_eq!(
        api.change(&planned, &image, &cause("1")).await,
        Changed::Yes
    );
    lab.put(json!({"name": "Dora"})).await;
    let undone = api.undo(&planned, &image, &cause("1")).await;
    assert!(matches!(undone, Undone::Foreign(_)), "{undone:?}");
    assert_eq!(lab.held().unwrap(), json!({"name": "Dora"}).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_back_ends_where_versions_are_hashes_of_the_content() {
    for level in ["M1", "M2"] {
        let lab = Lab::start(level).await;
        lab.module.hash_content();
        lab.put(json!({"name": "Ada"})).await;
        let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
        let before = (lab.held(), lab.version());
        let faults = [None, Some(Fault::FailAfter), Some(Fault::Refuse(422, ""))];
        for (n, fault) in faults.into_iter().enumerate() {
            let cause = cause(&n.to_string());
            let image = api.image(&planned.effect).await.unwrap();
            lab.module.misbehave(fault.clone());
            // Whatever came of it.
            let _changed = api.change(&planned, &image, &cause).await;
            for _ in 0..2 {
                let undone = api.undo(&planned, &image, &cause).await;
                assert_eq!(undone, Undone::Restored, "{level}, {fault:?}");
                assert_eq!((lab.held(), lab.version()), before, "{level}, {fault:?}");
            }
        }
        let image = api.image(&planned.effect).await.unwrap();
        lab.put(json!({"name": "Cleo"})).await;
        let undone = api.undo(&planned, &image, &cause("late")).await;
        assert!(matches!(undone, Undone::Foreign(_)), "{level}: {undone:?}");
    }
}
