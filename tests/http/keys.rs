//! Modules of level M2, which know a request again by its key: what is not known is asked for again,
//! and what comes late has come before.

use super::undo::{Lab, cause, put};
use super::{PIPELINE, run, target};
use crate::harness::{Fault, Module, PARTS, Running, TestEnv, check_law};
use serde_json::json;
use std::time::Duration;
use syncline::target::{Answer, Changed, Undone};

/// Nothing is wrong with this one.
const NONE: Fault = Fault::Late(Duration::ZERO);

/// As often as a change is sent before it is given up.
fn each_time(fault: Fault) -> [Fault; 3] {
    [fault.clone(), fault.clone(), fault]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let lab = Lab::start("M2").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    let faults = [
        (Fault::FailAfter, true),
        (Fault::Cut, true),
        (Fault::Garble, true),
        (Fault::Refuse(500, ""), false),
        (Fault::Refuse(409, ""), false),
    ];
    for (n, (fault, has_applied)) in faults.into_iter().enumerate() {
        lab.put(json!({"name": "Ada", "n": n})).await;
        let image = api.image(&planned.effect).await.unwrap();
        let before = lab.module.journal().len();
        lab.module.misbehave([fault.clone()]);
        let cause = cause(&n.to_string());
        let changed = api.change(&planned, &image, &cause).await;
        assert_eq!(changed, Changed::Yes, "{fault:?}");
        let journal = lab.module.journal();
        let [first, second] = &journal[before..] else {
            panic!("{fault:?}: {:#?}", &journal[before..])
        };
        let key = format!("\"{n}:do\"");
        for entry in [first, second] {
            assert_eq!(entry.headers["idempotency-key"], key, "{fault:?}");
            assert_eq!(
                entry.headers["if-match"],
                format!("\"{}\"", lab.version() - 1)
            );
        }
        assert_eq!((first.applied, second.is_known), (has_applied, has_applied));
        assert_ne!(first.applied, second.applied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_was_thought_lost_is_taken_back_before_it_comes() {
    let lab = Lab::start("M2").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    let image = api.image(&planned.effect).await.unwrap();
    lab.module.misbehave(each_time(Fault::Delay));
    let changed = api.change(&planned, &image, &cause("1")).await;
    assert!(matches!(changed, Changed::Maybe(_)), "{changed:?}");
    assert_eq!(lab.held(), None);
    for _ in 0..2 {
        let undone = api.undo(&planned, &image, &cause("1")).await;
        assert_eq!(undone, Undone::Restored);
        lab.module.arrive();
        assert_eq!(lab.held(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_change_it_is_is_told_by_its_version() {
    let lab = Lab::start("M2").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    lab.put(json!({"name": "Ada"})).await;
    let image = api.image(&planned.effect).await.unwrap();
    let changed = api.change(&planned, &image, &cause("1")).await;
    assert_eq!(changed, Changed::Yes);
    // All that we wrote is in what somebody else writes now.
    let theirs = json!({"name": "Bea", "city": "Rome"});
    lab.put(theirs.clone()).await;
    let undone = api.undo(&planned, &image, &cause("1")).await;
    assert!(matches!(undone, Undone::Foreign(_)), "{undone:?}");
    assert_eq!(lab.held().unwrap(), theirs.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_late_does_not_take_back_what_its_successor_has_made_anew() {
    let lab = Lab::start("M2").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    for was in [None, Some(json!({"name": "Ada"}))] {
        if let Some(was) = was {
            lab.put(was).await;
        }
        let attempt = |n: u32| {
            cause(&format!(
                "{n}-{}",
                lab.module.held("/v2/person/a").is_some()
            ))
        };
        let (first, second) = (attempt(1), attempt(2));
        let image = api.image(&planned.effect).await.unwrap();
        // The first attempt was stopped before it sent anything.
        let undone = api.undo(&planned, &image, &first).await;
        assert_eq!(undone, Undone::Restored);
        let anew = api.image(&planned.effect).await.unwrap();
        let changed = api.change(&planned, &anew, &second).await;
        assert_eq!(changed, Changed::Yes);
        let changed = api.change(&planned, &image, &first).await;
        assert_eq!(changed, Changed::Yes, "as it was answered before");
        let undone = api.undo(&planned, &image, &first).await;
        assert!(matches!(undone, Undone::Foreign(_)), "{undone:?}");
        assert_eq!(lab.held().unwrap(), json!({"name": "Bea"}).to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_lost_its_memory_is_taken_back_by_its_versions() {
    for was in [None, Some(json!({"name": "Ada"}))] {
        for fault in [NONE, Fault::FailAfter, Fault::Refuse(503, "")] {
            let lab = Lab::start("M2").await;
            let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
            if let Some(was) = &was {
                lab.put(was.clone()).await;
            }
            let (image, before) = (api.image(&planned.effect).await.unwrap(), lab.held());
            lab.module.misbehave(each_time(fault));
            drop(api.change(&planned, &image, &cause("1")).await);
            lab.module.clear_faults();
            lab.module.forget_keys();
            for _ in 0..2 {
                let undone = api.undo(&planned, &image, &cause("1")).await;
                assert_eq!(undone, Undone::Restored);
                assert_eq!(lab.held(), before);
                lab.module.forget_keys();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_after_no_answer_may_have_been_taken() {
    let lab = Lab::start("M2").await;
    let (api, planned) = (lab.api(), put(json!({"name": "Bea"})));
    lab.put(json!({"name": "Ada"})).await;
    let (image, before) = (api.image(&planned.effect).await.unwrap(), lab.held());
    lab.module.misbehave([Fault::Refuse(422, "")]);
    let changed = api.change(&planned, &image, &cause("1")).await;
    assert!(
        matches!(changed, Changed::No(Answer::Refused(_))),
        "{changed:?}"
    );
    lab.module
        .misbehave([Fault::FailAfter, Fault::Refuse(422, "")]);
    let changed = api.change(&planned, &image, &cause("2")).await;
    assert!(matches!(changed, Changed::Maybe(_)), "{changed:?}");
    // The answer to what takes it back is lost as well.
    lab.module.misbehave([NONE, Fault::FailAfter]);
    let undone = api.undo(&planned, &image, &cause("2")).await;
    assert!(matches!(undone, Undone::Unknown(_)), "{undone:?}");
    let undone = api.undo(&planned, &image, &cause("2")).await;
    assert_eq!(undone, Undone::Restored);
    assert_eq!(lab.held(), before);
    let taken_back = lab.module.journal();
    let taken_back = taken_back.iter().filter(|entry| {
        let key = entry.headers.get("idempotency-key");
        key.is_some_and(|key| key.starts_with("\"2:undo:"))
    });
    assert_eq!(taken_back.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_knows_no_keys_is_found_at_the_start() {
    let (env, module) = (TestEnv::start().await, Module::start().await);
    let config = target(&module, "level = \"M2\"");
    let parsed = env.parse(&[PARTS, &config, PIPELINE].concat());
    let said = match Running::try_start(parsed).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it starts"),
    };
    let expected = "does not know an `Idempotency-Key` again";
    assert!(said.contains(expected) && said.contains("404"), "{said}");
    module.remember_keys();
    // Also when it remembers what it was asked at the last start.
    for _ in 0..2 {
        check_law(&run(&env, &config).await.drain().await);
    }
    assert!(!module.journal().iter().any(|entry| entry.applied));
}
