//! Changes that are asked for where another runtime makes them: they are passed on, over core NATS.

use super::Changed;
use super::asked::{Asked, Edit, Name};
use super::clerk::Clerk;
use crate::event::{Effect, Headers, Operation, Precondition};
use crate::shutdown::{Shutdown, Tasks};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Where whoever makes the changes is asked.
const SUBJECT: &str = "syncline.changes";
/// How long another runtime may take: longer than a change is tried.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long somebody is looked for who makes changes.
const LOOKED: Duration = Duration::from_secs(3);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes changes here where it is this runtime's turn, and has them made elsewhere where not.
pub struct Relay {
    clerk: Arc<Clerk>,
    client: Client,
}

/// What is passed on.
#[derive(Serialize, Deserialize)]
struct Passed {
    name: Name,
    /// None: only whether it was made before is asked.
    change: Option<Change>,
}

#[derive(Serialize, Deserialize)]
struct Change {
    effects: Vec<One>,
    traceparent: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct One {
    target: Arc<str>,
    entity: Option<String>,
    operation: Operation,
    key: String,
    precondition: Option<Precondition>,
    content_type: Option<String>,
    payload: Option<Box<RawValue>>,
    before: Option<Box<RawValue>>,
}

/// What came of asking another runtime.
enum Heard {
    Answer(Option<Changed>),
    /// There is none.
    Nobody,
    /// It may have been asked, and said nothing.
    Nothing(String),
}

impl Relay {
    /// One before `clerk`.
    #[must_use]
    pub fn new(clerk: Arc<Clerk>, client: Client) -> Arc<Self> {
        Arc::new(Self { clerk, client })
    }

    /// What became of a change that was asked for before under the same name; none: there was none.
    pub async fn find(&self, name: &Name) -> Option<Changed> {
        if !name.is_given() {
            return None;
        }
        let passed = Passed {
            name: name.clone(),
            change: None,
        };
        match self.elsewhere(&passed).await {
            None => self.clerk.find(name).await,
            Some(Heard::Answer(found)) => found,
            Some(Heard::Nothing(why)) => Some(Changed::NotNow(why)),
            Some(Heard::Nobody) => Some(nobody()),
        }
    }

    /// Makes a change, all of it or nothing.
    pub async fn make(&self, asked: Asked) -> Changed {
        let passed = match Passed::of(&asked) {
            Ok(passed) => passed,
            Err(error) => return Changed::Refused(format!("its payload is not JSON: {error}")),
        };
        match self.elsewhere(&passed).await {
            None => self.clerk.make(asked).await,
            Some(Heard::Answer(Some(changed))) => changed,
            Some(Heard::Answer(None)) => Changed::Unknown("it was not answered".to_owned()),
            Some(Heard::Nothing(why)) => Changed::Unknown(why),
            Some(Heard::Nobody) => nobody(),
        }
    }

    /// What another runtime says; none: it is this one's turn.
    async fn elsewhere(&self, passed: &Passed) -> Option<Heard> {
        let until = Instant::now() + LOOKED;
        loop {
            if self.clerk.has_turn() {
                return None;
            }
            match self.ask(passed).await {
                Heard::Nobody if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                heard => return Some(heard),
            }
        }
    }

    async fn ask(&self, passed: &Passed) -> Heard {
        let body = match serde_json::to_vec(passed) {
            Ok(body) => body,
            Err(error) => return Heard::Nothing(error.to_string()),
        };
        let request = Request::new().payload(body.into()).timeout(Some(PATIENCE));
        match self.client.send_request(SUBJECT, request).await {
            Ok(message) => match serde_json::from_slice(&message.payload) {
                Ok(changed) => Heard::Answer(changed),
                Err(error) => Heard::Nothing(error.to_string()),
            },
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Heard::Nobody,
            Err(error) => {
                let why = format!("the runtime that makes the changes did not answer: {error}");
                Heard::Nothing(why)
            }
        }
    }

    /// Answers other runtimes while it is this one's turn, until the shutdown.
    pub async fn serve(self: Arc<Self>, tasks: Tasks, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = self.clerk.until_turn(true) => {}
            }
            tokio::select! {
                () = shutdown.begun() => return,
                () = self.clerk.until_turn(false) => {}
                () = self.answer_all(&tasks, &shutdown) => {}
            }
        }
    }

    async fn answer_all(self: &Arc<Self>, tasks: &Tasks, shutdown: &Shutdown) {
        let mut requests = match self.client.subscribe(SUBJECT).await {
            Ok(requests) => requests,
            Err(error) => {
                warn!(%error, "changes that other runtimes are asked for are not heard: trying again");
                shutdown.pause(LOOKED).await;
                return;
            }
        };
        while let Some(message) = requests.next().await {
            let Some(reply) = message.reply else { continue };
            let relay = self.clone();
            tasks.spawn(async move {
                let answer = relay.answer(&message.payload).await;
                let body = serde_json::to_vec(&answer).unwrap_or_default();
                if let Err(error) = relay.client.publish(reply, body.into()).await {
                    debug!(%error, "what became of a change was not told");
                }
            });
        }
    }

    async fn answer(&self, body: &[u8]) -> Option<Changed> {
        let passed: Passed = match serde_json::from_slice(body) {
            Ok(passed) => passed,
            Err(error) => {
                let why =
                    format!("another runtime asks what this one does not understand: {error}");
                return Some(Changed::Refused(why));
            }
        };
        match passed.change {
            None => self.clerk.find(&passed.name).await,
            Some(change) => Some(self.clerk.make(change.asked(passed.name)).await),
        }
    }
}

impl Passed {
    fn of(asked: &Asked) -> Result<Self, serde_json::Error> {
        let one = |edit: &Edit| {
            let effect = &edit.effect;
            let before = edit.before.as_deref().map(serde_json::from_slice);
            let payload = match effect.payload.as_ref() {
                b"" => None,
                payload => Some(serde_json::from_slice(payload)?),
            };
            Ok(One {
                target: edit.target.clone(),
                entity: effect.entity.clone(),
                operation: effect.operation,
                key: effect.key.clone(),
                precondition: effect.precondition.clone(),
                content_type: effect.content_type.clone(),
                payload,
                before: before.transpose()?,
            })
        };
        let effects = asked.effects.iter().map(one);
        Ok(Self {
            name: asked.name.clone(),
            change: Some(Change {
                effects: effects.collect::<Result<_, serde_json::Error>>()?,
                traceparent: asked.traceparent.clone(),
            }),
        })
    }
}

impl Change {
    fn asked(self, name: Name) -> Asked {
        let effects = self.effects.into_iter().map(|one| {
            let payload = one.payload.as_ref().map_or("", |payload| payload.get());
            let effect = Effect {
                target: None,
                entity: one.entity,
                operation: one.operation,
                key: one.key,
                precondition: one.precondition,
                content_type: one.content_type,
                headers: Headers::default(),
                payload: Bytes::copy_from_slice(payload.as_bytes()),
            };
            let before = one.before.as_ref().map(|before| before.get().to_owned());
            Edit {
                target: one.target,
                effect,
                before: before.map(Bytes::from),
            }
        });
        Asked {
            name,
            effects: effects.collect(),
            traceparent: self.traceparent,
        }
    }
}

fn nobody() -> Changed {
    Changed::NotNow(
        "no runtime makes changes now: one will within the time of the lease".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_comes_as_it_was_asked() {
        let effect = |payload: &'static str| Effect {
            target: None,
            entity: Some("customer".to_owned()),
            operation: Operation::Merge,
            key: "a/b".to_owned(),
            precondition: Some(Precondition::Etag("7".to_owned())),
            content_type: Some("application/json".to_owned()),
            headers: Headers::default(),
            payload: Bytes::from_static(payload.as_bytes()),
        };
        let edit = |target: &str, payload, before: Option<&'static str>| Edit {
            target: target.into(),
            effect: effect(payload),
            before: before.map(Bytes::from),
        };
        let asked = Asked {
            name: Name::given("ada", "k", &[b"x"]),
            effects: vec![
                edit(
                    "crm",
                    r#"{"n": 12345678901234567890123,  "a":1}"#,
                    Some("[1]"),
                ),
                edit("erp", "", None),
            ],
            traceparent: Some("t".to_owned()),
        };
        let body = serde_json::to_vec(&Passed::of(&asked).unwrap()).unwrap();
        let passed: Passed = serde_json::from_slice(&body).unwrap();
        let heard = passed.change.unwrap().asked(passed.name);
        assert_eq!(heard.name, asked.name);
        assert_eq!(heard.effects, asked.effects);
        assert_eq!(heard.traceparent, asked.traceparent);
        for changed in [
            None,
            Some(Changed::Done),
            Some(Changed::Conflict("x".to_owned())),
        ] {
            let told = serde_json::to_vec(&changed).unwrap();
            assert_eq!(
                serde_json::from_slice::<Option<Changed>>(&told).unwrap(),
                changed
            );
        }
    }
}
