//! Guests that end without an answer: the error says how, and the next event meets a clean instance.

use super::lab::{Lab, hostile, probe};
use serde_json::json;
use std::time::Duration;
use syncline::event::{Acceptance, Next, Verdict};
use syncline::plugin::CallError;
use tokio::time::Instant;

/// The message and the captured output of a trap.
#[track_caller]
fn trap(answer: Result<Verdict, CallError>) -> (String, String) {
    match answer {
        Err(CallError::Trap { message, output }) => (message, output),
        other => panic!("no trap: {other:?}"),
    }
}

#[tokio::test]
async fn a_panic_traps_and_its_text_is_kept() {
    let lab = Lab::of(probe().await).await;
    let answer = lab
        .ask(json!({ "do": "trap", "message": "the cat is out" }))
        .await;
    let (message, output) = trap(answer);
    assert!(output.contains("the cat is out"), "{output}");
    assert!(message.contains("wasm trap"), "{message}");
}

#[tokio::test]
async fn unreachable_code_and_an_exit_are_traps() {
    let lab = Lab::of(probe().await).await;
    let (message, _) = trap(lab.ask(json!({ "do": "unreachable" })).await);
    assert!(message.contains("unreachable"), "{message}");
    let (message, _) = trap(lab.ask(json!({ "do": "exit" })).await);
    assert!(message.to_lowercase().contains("exit"), "{message}");
}

/// A guest has two stacks: one in its memory, and the engine's.
#[tokio::test]
async fn a_stack_without_end_is_a_trap() {
    let lab = Lab::of(probe().await).await;
    let (message, _) = trap(lab.ask(json!({ "do": "recurse" })).await);
    assert!(message.contains("out of bounds"), "{message}");
    let lab = Lab::of(hostile().await).await;
    let (message, _) = trap(lab.ask("deep").await);
    assert!(message.contains("call stack exhausted"), "{message}");
}

#[tokio::test]
async fn hunger_for_memory_ends_at_the_limit_and_the_trap_names_it() {
    let hungry = |limits: &mut syncline::plugin::Limits| {
        limits.memory = bytesize::ByteSize::mib(16);
        limits.time = Duration::from_secs(5);
    };
    let lab = Lab::limited(probe().await, hungry).await;
    let (message, _) = trap(lab.ask(json!({ "do": "alloc" })).await);
    assert!(message.contains("memory limit of 16"), "{message}");
}

/// On one thread: the loop itself lets the others run.
#[tokio::test]
async fn an_endless_loop_times_out_and_others_go_on_meanwhile() {
    let short = |limits: &mut syncline::plugin::Limits| limits.time = Duration::from_millis(500);
    let looping = Lab::limited(probe().await, short).await;
    let busy = Lab::of(probe().await).await;
    let started = Instant::now();
    let the_loop = async {
        let answer = looping.ask(json!({ "do": "loop" })).await;
        (answer, started.elapsed())
    };
    let the_others = async {
        for _ in 0..10 {
            busy.ask("{}").await.expect("the other plugin works");
        }
        started.elapsed()
    };
    let ((answer, looped), worked) = tokio::join!(the_loop, the_others);
    match answer {
        Err(CallError::Timeout { what, limit, .. }) => {
            assert_eq!((what, limit), ("guest time", Duration::from_millis(500)));
        }
        other => panic!("no timeout: {other:?}"),
    }
    assert!(
        worked < looped,
        "{worked:?} of work took as long as the loop"
    );
    assert!(
        looped < Duration::from_secs(5),
        "the limit held after {looped:?} only"
    );
}

#[tokio::test]
async fn an_instance_that_failed_is_never_used_again() {
    let short = |limits: &mut syncline::plugin::Limits| limits.time = Duration::from_millis(500);
    let lab = Lab::limited(probe().await, short).await;
    let n_seen = async || lab.report(vec![]).await["calls"].clone();
    assert_eq!(
        (n_seen().await, n_seen().await),
        (json!(1), json!(2)),
        "warm instances are kept"
    );
    for end in ["trap", "unreachable", "recurse", "loop"] {
        lab.ask(json!({ "do": end })).await.expect_err(end);
        assert_eq!(n_seen().await, 1, "after {end}");
    }
}

#[tokio::test]
async fn an_instance_whose_answer_broke_a_limit_is_never_used_again() {
    let lab = Lab::of(probe().await).await;
    lab.report(vec![]).await;
    let answer = lab.ask(json!({ "do": "flood", "effects": 5_000 })).await;
    assert!(matches!(answer, Err(CallError::Answer(_))), "{answer:?}");
    assert_eq!(lab.report(vec![]).await["calls"], 1);
}

/// Such an instance has seen state that was never written.
#[tokio::test]
async fn an_instance_that_used_state_in_vain_is_never_used_again() {
    let lab = Lab::of(hostile().await).await;
    let reason = async |data: &str| Lab::reason(lab.ask(data).await);
    assert_eq!(reason("wear-out").await, "fresh");
    // Worn: traps, and the second try on a fresh instance succeeds.
    assert_eq!(reason("wear-out").await, "fresh");
    let rejected = lab.ask("reject-after-state").await;
    assert!(matches!(rejected, Ok(Verdict::Reject(_))), "{rejected:?}");
    assert_eq!(reason("is-worn").await, "fresh");
}

#[tokio::test]
async fn a_trap_is_tried_once_more_on_a_fresh_instance() {
    let lab = Lab::of(hostile().await).await;
    for _ in 0..3 {
        assert_eq!(Lab::reason(lab.ask("wear-out").await), "fresh");
    }
}

#[tokio::test]
async fn after_every_end_the_plugin_still_works() {
    let lab = Lab::of(probe().await).await;
    for end in ["trap", "unreachable", "exit", "recurse", "alloc"] {
        trap(lab.ask(json!({ "do": end })).await);
        let pass = Acceptance {
            effects: vec![],
            next: Next::Pass,
        };
        assert_eq!(lab.ask("{}").await, Ok(Verdict::Accept(pass)));
    }
}
