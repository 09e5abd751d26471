//! Dead letters as the intake finds them.

use crate::dead_letter::{self, DeadLetters};
use crate::event::SubjectPattern;
use crate::intake::{IntakeError, Recall, RecallAnswer, Replays};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

struct FromDeadLetters(DeadLetters);

impl Recall for FromDeadLetters {
    fn recall<'a>(&'a self, request: &'a [u8]) -> BoxFuture<'a, Result<RecallAnswer, String>> {
        async move {
            let recalled = self.0.recall(request).await;
            recalled.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

/// The requests for replays of a pipeline's dead letters.
///
/// # Errors
/// When the pipeline's name cannot stand in a subject; the configuration lets no such name pass.
pub(super) fn of(pipeline: &str, dead_letters: &DeadLetters) -> Result<Replays, IntakeError> {
    let subjects: Result<SubjectPattern, String> = dead_letter::requests_for(pipeline).parse();
    let subjects = subjects.map_err(|fault| IntakeError::Source {
        pipeline: pipeline.to_owned(),
        fault,
    })?;
    Ok(Replays {
        stream: dead_letter::STREAM,
        durable: dead_letter::consumer_of(pipeline),
        subjects,
        recall: Arc::new(FromDeadLetters(dead_letters.clone())),
    })
}
