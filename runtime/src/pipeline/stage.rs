//! The stages of one attempt: each plugin in order, on every branch that still stands.

use super::outcome::{Fault, Outcome, of_call_error};
use super::work::Work;
use crate::event::{
    DeadReason, Effect, Envelope, Forwarded, Next, Verdict, header_fault, is_attribute_name,
};
use crate::plugin::{Session, Version};
use std::sync::Arc;

/// How many branches one event may split into over all stages.
const BRANCHES: usize = 10_000;

/// What the stages came to: effects with the path that led to each, and what still stands.
#[derive(Default)]
pub(super) struct Thought {
    pub(super) effects: Vec<Wish>,
    pub(super) standing: Vec<Branch>,
    /// Whether a plugin accepted the event on some branch and let it end there.
    pub(super) stopped: bool,
    /// Why plugins dropped the event or a part of it.
    pub(super) dropped: Vec<String>,
}

/// An effect that a plugin asked for.
pub(super) struct Wish {
    /// What led to it.
    pub(super) path: String,
    /// The stage that its plugin stands in.
    pub(super) stage: usize,
    pub(super) effect: Effect,
}

/// An event on its way, and how it came about.
pub(super) struct Branch {
    pub(super) envelope: Envelope,
    /// Stage and child, over all splits; empty for the event itself.
    pub(super) path: String,
}

/// Runs the stages. A reject on any branch rejects the event; else a retry on any retries it.
pub(super) async fn run(
    versions: &[Arc<Version>],
    work: &Work,
    session: &mut Session,
) -> Result<Thought, Outcome> {
    let whole = Branch {
        envelope: work.envelope.clone(),
        path: String::new(),
    };
    let mut thought = Thought {
        standing: vec![whole],
        ..Thought::default()
    };
    let mut retry = None;
    for (stage, version) in versions.iter().enumerate() {
        for branch in std::mem::take(&mut thought.standing) {
            if !version
                .component()
                .manifest()
                .accepts(&branch.envelope.event.kind)
            {
                thought.standing.push(branch);
                continue;
            }
            match version.call(&branch.envelope, work.attempt, session).await {
                Ok(Verdict::Reject(reason)) => {
                    return Err(Outcome::Dead(
                        Fault::new(DeadReason::Reject, reason).within(version),
                    ));
                }
                Ok(Verdict::Retry { reason, after }) => {
                    let fault = Fault::new(DeadReason::Exhausted, reason).within(version);
                    retry = Some(Outcome::Retry(Fault { after, ..fault }));
                }
                Ok(Verdict::Drop(reason)) => {
                    thought.dropped.push(reason);
                }
                Ok(Verdict::Accept(acceptance)) => thought
                    .accept(stage, branch, acceptance.effects, acceptance.next)
                    .map_err(|fault| Outcome::Dead(fault.within(version)))?,
                Err(error) => match of_call_error(&error, version) {
                    passing @ Outcome::Retry(_) => retry = Some(passing),
                    other => return Err(other),
                },
            }
        }
    }
    retry.map_or(Ok(thought), Err)
}

impl Thought {
    fn accept(
        &mut self,
        stage: usize,
        branch: Branch,
        effects: Vec<Effect>,
        next: Next,
    ) -> Result<(), Fault> {
        for (index, effect) in effects.into_iter().enumerate() {
            check_headers(&effect.headers)?;
            self.effects.push(Wish {
                path: format!("{}{stage}.{index}", branch.path),
                stage,
                effect,
            });
        }
        match next {
            Next::Stop => self.stopped = true,
            Next::Pass => self.standing.push(branch),
            Next::Forward(children) => {
                if self.standing.len() + children.len() > BRANCHES {
                    let error = format!("the event split into more than {BRANCHES}");
                    return Err(Fault::new(DeadReason::BadAnswer, error));
                }
                self.stopped |= children.is_empty();
                for (index, child) in children.into_iter().enumerate() {
                    let path = format!("{}{stage}.c{index}-", branch.path);
                    self.standing.push(Branch {
                        envelope: derive(&branch, child)?,
                        path,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A child keeps its parent's delivery: address, sequence, key.
fn derive(parent: &Branch, child: Forwarded) -> Result<Envelope, Fault> {
    check_headers(&child.event.headers)?;
    if child.event.id.is_empty() || child.event.source.is_empty() || child.event.kind.is_empty() {
        let error = "a forwarded event needs `id`, `source` and `type`".to_owned();
        return Err(Fault::new(DeadReason::BadAnswer, error));
    }
    if let Some((name, _)) = child
        .event
        .attributes
        .iter()
        .find(|(n, _)| !is_attribute_name(n))
    {
        let name = name.escape_debug();
        let error = format!("a forwarded event has the attribute `{name}`: names are a-z and 0-9");
        return Err(Fault::new(DeadReason::BadAnswer, error));
    }
    Ok(Envelope {
        event: Arc::new(child.event),
        data: child.data.unwrap_or_else(|| parent.envelope.data.clone()),
        origin: parent.envelope.origin.clone(),
    })
}

fn check_headers(headers: &crate::event::Headers) -> Result<(), Fault> {
    for (name, value) in headers.iter() {
        if let Some(fault) = header_fault(name, value) {
            let error = format!("header `{}`: {fault}", name.escape_debug());
            return Err(Fault::new(DeadReason::BadAnswer, error));
        }
    }
    Ok(())
}
