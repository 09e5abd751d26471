//! Guests that are not Rust: the contract is WIT, not our SDK. `.ci/guests` builds them.

use crate::harness::TestEnv;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use syncline::event::{Envelope, Event, EventId, Next, Operation, Origin, Verdict};
use syncline::plugin::{CallError, Component, Engine, EngineConfig, Solo, World};

#[tokio::test]
async fn a_plugin_in_c_works() {
    does_all("c", "guest-c: asked to crash").await;
}

#[tokio::test]
async fn a_plugin_in_javascript_works() {
    does_all("js", "asked to crash").await;
}

#[tokio::test]
async fn a_plugin_in_python_works() {
    does_all("python", "RuntimeError: asked to crash").await;
}

fn file(language: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let file = target.unwrap_or_else(|| own.to_owned());
    let file = file.join("guests").join(format!("{language}.wasm"));
    assert!(
        file.is_file(),
        "{} is missing: run .ci/guests {language}",
        file.display()
    );
    file
}

/// The same program in each language: its data says what it does.
async fn does_all(language: &str, last_words: &str) {
    let cache_dir = Some(TestEnv::cache().to_path_buf());
    let engine = Engine::new(&EngineConfig { cache_dir }).unwrap();
    let component = Component::load(&engine, &file(language)).await.unwrap();
    assert_eq!(component.manifest().name, format!("guest-{language}"));
    assert_eq!(component.manifest().version, "0.1.0");
    assert_eq!(component.world_version(), "0.1.0");

    let mut world = World::default();
    // Interpreters ask for it. Time is not what this test is about.
    world.limits.memory = bytesize::ByteSize::mib(256);
    world.limits.time = Duration::from_secs(5);
    let plugin = Solo::start(&engine, &component, world).await.unwrap();
    let ask = async |data: &str| plugin.call(&envelope(data), 1).await;

    let asked = || "asked to".to_owned();
    assert_eq!(ask("please drop").await, Ok(Verdict::Drop(asked())));
    assert_eq!(ask("please reject").await, Ok(Verdict::Reject(asked())));
    let retry = Verdict::Retry {
        reason: asked(),
        after: Some(Duration::from_millis(5)),
    };
    assert_eq!(ask("please retry").await, Ok(retry));
    accepts(ask("{\"a\":1}").await);
    match ask("please crash").await {
        Err(CallError::Trap { output, message }) => {
            assert!(output.contains(last_words), "{output:?} {message:?}");
        }
        other => panic!("no trap: {other:?}"),
    }
    accepts(ask("{\"a\":1}").await);
}

/// One upsert of the event's data at its ordering key.
#[track_caller]
fn accepts(answer: Result<Verdict, CallError>) {
    let Ok(Verdict::Accept(acceptance)) = answer else {
        panic!("not accepted: {answer:?}");
    };
    assert_eq!(acceptance.next, Next::Stop);
    let [effect] = acceptance.effects.as_slice() else {
        panic!("not one effect: {acceptance:?}");
    };
    assert_eq!(effect.operation, Operation::Upsert);
    assert_eq!(
        (effect.key.as_str(), &*effect.payload),
        ("order-7", &b"{\"a\":1}"[..])
    );
    assert_eq!(effect.content_type.as_deref(), Some("application/json"));
    assert_eq!(effect.target, None);
}

fn envelope(data: &str) -> Envelope {
    let event = Event {
        id: "1".to_owned(),
        source: "/test".to_owned(),
        kind: "test".to_owned(),
        ..Event::default()
    };
    let origin = Origin {
        id: EventId::of(&event.source, &event.id),
        address: "test".to_owned(),
        stream: "".into(),
        sequence: 1,
        key: "order-7".into(),
        stream_created: 0,
        maybe_seen: false,
        generation: 0,
    };
    Envelope {
        event: Arc::new(event),
        data: Bytes::copy_from_slice(data.as_bytes()),
        origin: Arc::new(origin),
    }
}
