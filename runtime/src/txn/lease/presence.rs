//! Whether a runtime is there: each answers on a subject of its own, as long as it is connected.

use super::LeaseError;
use crate::shutdown::{Shutdown, Tasks};
use async_nats::Client;
use async_nats::client::{Request, RequestErrorKind};
use async_nats::connection::State;
use futures::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A runtime's name for others, and its answers to them. Gone when dropped.
pub struct Presence {
    id: Arc<str>,
    client: Client,
    ended: Shutdown,
}

/// What asking an owner came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It lives.
    Alive,
    /// Nobody answers: it may hang, or be out of reach.
    Nothing,
    /// Nobody listens.
    Nobody,
}

impl Presence {
    /// Answers from now on.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn announce(client: Client, tasks: &Tasks) -> Result<Arc<Self>, LeaseError> {
        let unique = client.new_inbox();
        let id: Arc<str> = unique.rsplit('.').next().unwrap_or_default().into();
        let subject = subject(&id);
        let attempted = || format!("cannot listen on {subject}");
        let mut questions = client
            .subscribe(subject.clone())
            .await
            .map_err(|error| LeaseError::new(attempted(), &error))?;
        // Heard by the server before anybody can read this name.
        client
            .flush()
            .await
            .map_err(|error| LeaseError::new(attempted(), &error))?;
        let ended = Shutdown::new();
        let (answers, until) = (client.clone(), ended.clone());
        tasks.spawn(async move {
            loop {
                let question = tokio::select! {
                    () = until.begun() => return,
                    question = questions.next() => question,
                };
                let Some(question) = question else { return };
                if let Some(reply) = question.reply {
                    // Whoever asked asks again.
                    drop(answers.publish(reply, bytes::Bytes::new()).await);
                }
            }
        });
        Ok(Arc::new(Self { id, client, ended }))
    }

    /// The connection that it is known by.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The server that this runtime is connected to.
    pub(super) fn server(&self) -> String {
        self.client.server_info().server_id
    }

    /// Which connection this is; none while there is none.
    pub(super) fn connection(&self) -> Option<u64> {
        let is_connected = self.client.connection_state() == State::Connected;
        let n_connections = self.client.statistics().connects.load(Ordering::Acquire);
        is_connected.then_some(n_connections)
    }

    pub(super) async fn ask(&self, owner: &str, patience: Duration) -> Heard {
        let question = Request::new().timeout(Some(patience));
        match self.client.send_request(subject(owner), question).await {
            Ok(_) => Heard::Alive,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Heard::Nobody,
            Err(_) => Heard::Nothing,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.ended.begin();
    }
}

fn subject(id: &str) -> String {
    format!("syncline.owner.{id}")
}
