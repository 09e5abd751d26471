//! Which runtimes are at work: each answers for itself, so that one that was killed is not shown.

use super::{ControlError, failed};
use crate::shutdown::Shutdown;
use async_nats::{Client, StatusCode};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tracing::warn;

/// Where every runtime can be asked.
const SUBJECT: &str = "syncline.runtime.status";
/// How long the first answer may take.
const FIRST: Duration = Duration::from_secs(1);
/// How long the next one may take.
const NEXT: Duration = Duration::from_millis(300);

/// A runtime at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// What no other has.
    pub runtime: String,
    /// The name of its connection.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its pipelines.
    pub pipelines: Vec<PipelineStatus>,
    /// Who uses which version of which contract.
    #[serde(default)]
    pub contracts: Vec<ContractUse>,
}

/// Somebody who uses a version of a target's contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractUse {
    /// The target.
    pub target: String,
    /// The major version.
    pub version: u32,
    /// Who: a plugin in a pipeline, or a token.
    pub by: String,
    /// How many requests there were since the runtime started; none: that is not counted.
    pub n_requests: Option<u64>,
    /// When the last one came, RFC 3339.
    pub last: Option<String>,
}

/// A pipeline in one runtime at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// Its name.
    pub pipeline: String,
    /// What it does.
    pub state: PipelineState,
    /// The source stream; none: it is core NATS.
    pub stream: Option<String>,
    /// The subject of a core NATS source.
    pub subject: Option<String>,
    /// Events that were taken and have not ended.
    pub in_flight: u64,
}

/// What a pipeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelineState {
    /// It takes events.
    Running,
    /// It takes no new ones; those at work end.
    Pausing,
    /// It takes none and has none.
    Paused,
    /// It stopped at an event that failed.
    Stopped,
    /// Its runtime ends.
    Draining,
}

impl PipelineState {
    /// As users read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Draining => "draining",
        }
    }
}

/// Answers whoever asks with what `status` says, until the `end`.
pub async fn report(client: Client, status: impl Fn() -> RuntimeStatus, end: Shutdown) {
    let mut requests = match client.subscribe(SUBJECT).await {
        Ok(requests) => requests,
        Err(error) => {
            warn!(%error, subject = SUBJECT, "nobody can ask what this runtime does");
            return;
        }
    };
    loop {
        let request = tokio::select! {
            () = end.begun() => return,
            request = requests.next() => request,
        };
        let Some(request) = request else { return };
        let Some(reply) = request.reply else { continue };
        let Ok(answer) = serde_json::to_vec(&status()) else {
            continue;
        };
        if let Err(error) = client.publish(reply, answer.into()).await {
            warn!(%error, "an answer to who is at work could not be sent");
        }
    }
}

/// Asks every runtime what it does.
///
/// # Errors
/// When the question cannot be asked.
pub async fn ask(client: &Client) -> Result<Vec<RuntimeStatus>, ControlError> {
    let attempted = "cannot ask which runtimes are at work";
    let inbox = client.new_inbox();
    let answers = client.subscribe(inbox.clone()).await;
    let mut answers = answers.map_err(|error| failed(attempted, &error))?;
    let asked = client.publish_with_reply(SUBJECT, inbox, "".into()).await;
    asked.map_err(|error| failed(attempted, &error))?;
    let (mut runtimes, mut patience) = (Vec::<RuntimeStatus>::new(), FIRST);
    while let Ok(Some(answer)) = tokio::time::timeout(patience, answers.next()).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        patience = NEXT;
        // Of another version, or somebody else's: nothing that can be shown.
        if let Ok(runtime) = serde_json::from_slice(&answer.payload) {
            runtimes.push(runtime);
        }
    }
    runtimes.sort_by(|a, b| a.runtime.cmp(&b.runtime));
    Ok(runtimes)
}
