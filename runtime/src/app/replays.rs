//! Dead letters as the intake finds them.

use crate::dead_letter::{self, Asked, DeadLetters};
use crate::event::SubjectPattern;
use crate::intake::{IntakeError, Recall, RecallAnswer, Replays};
use crate::pipeline::{Pipeline, Shift};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long finding a dead letter may take, its payload included.
const RECALL: Duration = Duration::from_secs(30);

/// Finds letters for those who work in one shift.
pub(super) struct FromDeadLetters {
    pub(super) letters: DeadLetters,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) shift: Shift,
}

impl Recall for FromDeadLetters {
    fn recall<'a>(
        &'a self,
        subject: &'a str,
        request: (&'a Bytes, u64),
    ) -> BoxFuture<'a, Result<RecallAnswer, String>> {
        async move {
            let asked = tokio::time::timeout(RECALL, self.letters.recall(subject, request)).await;
            let asked = asked.map_err(|_| format!("no dead letter within {RECALL:?}"))?;
            let (closed, answer) = match asked.map_err(|error| error.to_string())? {
                Asked::Recalled(recalled) => return Ok(Ok(Some(*recalled))),
                Asked::Nothing => return Ok(Ok(None)),
                Asked::Closed(rank, letter) => (Some((rank, letter)), Ok(None)),
                Asked::Lost(held, why) => (held, Err(why)),
            };
            // However long it takes: what it lets go is let go once.
            if let Some((rank, letter)) = closed {
                self.pipeline.pass(&self.shift, &rank, letter).await;
            }
            Ok(answer)
        }
        .boxed()
    }
}

/// The requests for replays of a pipeline's dead letters.
///
/// # Errors
/// When the pipeline's name cannot stand in a subject; the configuration lets no such name pass.
pub(super) fn of(pipeline: &str) -> Result<Replays, IntakeError> {
    let subjects: Result<SubjectPattern, String> = dead_letter::requests_for(pipeline).parse();
    let subjects = subjects.map_err(|fault| IntakeError::Source {
        pipeline: pipeline.to_owned(),
        fault,
    })?;
    Ok(Replays {
        stream: dead_letter::STREAM,
        durable: dead_letter::consumer_of(pipeline),
        subjects,
    })
}
