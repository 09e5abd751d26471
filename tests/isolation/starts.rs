//! Guests that misbehave before their first event: they do not start, and it is said why.

use super::lab::{engine, hostile_at_the_start, load, probe};
use serde_json::json;
use std::time::Duration;
use syncline::plugin::{CallError, Component, PluginError, Solo, World};

/// Longer than any start may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn load_hostile(misdeed: &str) -> Result<Component, PluginError> {
    let load = load(hostile_at_the_start(misdeed));
    let loaded = tokio::time::timeout(PATIENCE, load).await;
    loaded.unwrap_or_else(|_| panic!("{misdeed}: the host waits for ever"))
}

async fn start_hostile(misdeed: &str) -> Option<PluginError> {
    let component = load_hostile(misdeed).await.expect("it loads");
    let start = Solo::start(engine(), &component, World::default());
    let started = tokio::time::timeout(PATIENCE, start).await;
    started
        .unwrap_or_else(|_| panic!("{misdeed}: the host waits for ever"))
        .err()
}

/// Which function failed, and how.
#[track_caller]
fn failure(error: Option<PluginError>) -> (&'static str, CallError) {
    match error {
        Some(PluginError::Start {
            function, cause, ..
        }) => (function, cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn describe_may_not_trap() {
    let (function, cause) = failure(load_hostile("describe-traps").await.err());
    assert_eq!(function, "describe");
    let CallError::Trap { output, .. } = cause else {
        panic!("{cause:?}");
    };
    assert!(output.contains("told to trap at the start"), "{output}");
}

#[tokio::test]
async fn describe_may_not_take_for_ever() {
    for misdeed in ["describe-loops", "describe-sleeps"] {
        let (function, cause) = failure(load_hostile(misdeed).await.err());
        assert_eq!(function, "describe");
        assert!(
            matches!(cause, CallError::Timeout { .. }),
            "{misdeed}: {cause:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_may_not_be_larger_than_an_answer() {
    let error = load_hostile("describe-giant").await.err();
    let (function, cause) = failure(error);
    assert_eq!(function, "describe");
    assert!(
        matches!(cause, CallError::Trap { .. } | CallError::Answer(_)),
        "{cause:?}"
    );
}

#[tokio::test]
async fn a_schema_that_is_none_is_refused() {
    match start_hostile("describe-bad-schema").await {
        Some(PluginError::Settings { fault, .. }) => assert!(fault.contains("schema"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn init_may_not_trap() {
    let (function, cause) = failure(start_hostile("init-traps").await);
    assert_eq!(function, "init");
    assert!(matches!(cause, CallError::Trap { .. }), "{cause:?}");
}

#[tokio::test]
async fn init_may_not_take_for_ever() {
    for misdeed in ["init-loops", "init-sleeps"] {
        let (function, cause) = failure(start_hostile(misdeed).await);
        assert_eq!(function, "init");
        assert!(
            matches!(cause, CallError::Timeout { .. }),
            "{misdeed}: {cause:?}"
        );
    }
}

#[tokio::test]
async fn an_error_of_init_is_the_plugins_own_word_on_its_config() {
    let mut world = World::default();
    world.settings.insert("start".to_owned(), json!("fail"));
    match Solo::start(engine(), probe().await, world).await.err() {
        Some(PluginError::Settings { fault, .. }) => assert_eq!(fault, "told to fail"),
        other => panic!("{other:?}"),
    }
}
