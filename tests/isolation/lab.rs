//! One plugin at a time in the real host, without NATS.

use crate::harness::{TestEnv, guests};
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use syncline::event::{Envelope, Event, EventId, Origin, Verdict};
use syncline::plugin::{
    CallError, Component, Engine, EngineConfig, Limits, PluginError, Solo, World,
};
use tokio::sync::OnceCell;

/// One engine for all tests, as in a process that runs many plugins.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let cache_dir = Some(TestEnv::cache().to_path_buf());
        Engine::new(&EngineConfig { cache_dir }).unwrap()
    })
}

/// Loads `bytes` as if they were read from `guest.wasm`.
pub(super) async fn load(bytes: Vec<u8>) -> Result<Component, PluginError> {
    Component::from_bytes(engine(), Path::new("guest.wasm"), bytes).await
}

async fn shared(guest: &str, cell: &'static OnceCell<Component>) -> &'static Component {
    cell.get_or_init(|| async { load(guests::bytes(guest)).await.unwrap() })
        .await
}

pub(super) async fn probe() -> &'static Component {
    static PROBE: OnceCell<Component> = OnceCell::const_new();
    shared(super::PROBE, &PROBE).await
}

pub(super) async fn hostile() -> &'static Component {
    static HOSTILE: OnceCell<Component> = OnceCell::const_new();
    shared(super::HOSTILE, &HOSTILE).await
}

/// The hostile guest with a misdeed before its first event, written into its file.
pub(super) fn hostile_at_the_start(misdeed: &str) -> Vec<u8> {
    const MARK: &[u8] = b"HOSTILE-MODE:";
    let mut bytes = guests::bytes(super::HOSTILE);
    let places = bytes.windows(MARK.len()).enumerate();
    let places = places.filter(|(_, window)| *window == MARK);
    let starts: Vec<_> = places.map(|(at, _)| at + MARK.len()).collect();
    // The mark itself may lie there twice; only behind one of them is room.
    let dots = |at: &usize| bytes[*at..].starts_with(b"......");
    let at = starts.into_iter().find(dots).expect("the mark is there");
    bytes[at..at + misdeed.len()].copy_from_slice(misdeed.as_bytes());
    bytes
}

/// A plugin at work.
pub(super) struct Lab {
    solo: Solo,
}

impl Lab {
    /// With time enough on a busy machine, and the other limits as they are by default.
    pub(super) async fn of(component: &Component) -> Self {
        Self::limited(component, |limits| limits.time = Duration::from_secs(20)).await
    }

    pub(super) async fn limited(component: &Component, change: impl FnOnce(&mut Limits)) -> Self {
        let mut world = World::default();
        change(&mut world.limits);
        Self {
            solo: Solo::start(engine(), component, world).await.unwrap(),
        }
    }

    /// What it says about an event with this data.
    pub(super) async fn ask(&self, data: impl ToString) -> Result<Verdict, CallError> {
        self.solo.call(&envelope(data.to_string()), 1).await
    }

    /// The reason it gives for dropping an event with this data.
    #[track_caller]
    pub(super) fn reason(verdict: Result<Verdict, CallError>) -> String {
        match verdict {
            Ok(Verdict::Drop(reason)) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    /// What the probe reports about an event that it is to do `steps` for.
    pub(super) async fn report(&self, mut steps: Vec<serde_json::Value>) -> serde_json::Value {
        steps.push(serde_json::json!({ "do": "accept", "effects": [{}] }));
        match self.ask(serde_json::json!({ "steps": steps })).await {
            Ok(Verdict::Accept(acceptance)) => {
                serde_json::from_slice(&acceptance.effects[0].payload).unwrap()
            }
            other => panic!("no report: {other:?}"),
        }
    }
}

fn envelope(data: String) -> Envelope {
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
        key: "k".into(),
        stream_created: 0,
        maybe_seen: false,
        generation: 0,
    };
    Envelope {
        event: Arc::new(event),
        data: Bytes::from(data),
        origin: Arc::new(origin),
    }
}
