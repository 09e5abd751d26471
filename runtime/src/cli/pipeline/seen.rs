//! Every pipeline that runtimes run, that consumers were left for, or that somebody paused.

use async_nats::jetstream::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use syncline::control::{self, PipelineState, RuntimeStatus, Wishes};
use syncline::{dead_letter, intake, txn};

/// A pipeline as `pipeline list` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) pipeline: String,
    /// What it does, over all runtimes.
    pub(super) state: &'static str,
    /// The source stream, or the subject of a core NATS source.
    pub(super) source: Option<String>,
    pub(super) consumer: Option<String>,
    /// Events that the server has not sent yet; none: it keeps none.
    pub(super) lag: Option<u64>,
    /// Events that were sent and have not ended.
    pub(super) in_flight: u64,
    pub(super) runtimes: Vec<Holder>,
    #[serde(skip)]
    is_paused: bool,
}

/// A runtime that runs a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Holder {
    pub(super) runtime: String,
    pub(super) name: String,
    pub(super) state: PipelineState,
    pub(super) in_flight: u64,
    /// The partitions that it holds; a pipeline that is not shared out has one, 0. None: it stands by.
    pub(super) partitions: Vec<u32>,
}

/// Looks everywhere.
pub(super) async fn look(context: &Context) -> anyhow::Result<Vec<Seen>> {
    let runtimes = control::ask(&context.client()).await?;
    let consumers = intake::known(context).await?;
    let wishes = match Wishes::find(context).await {
        Some(wishes) => wishes.all().await?,
        None => BTreeMap::new(),
    };
    let mut seen = joined(&runtimes, &consumers, &wishes);
    note_leases(&mut seen, &txn::holders(context, None).await?);
    Ok(seen)
}

/// Who holds what. A lease whose last heartbeat is long past, or that was given up, is nobody's.
fn note_leases(seen: &mut [Seen], leases: &[txn::Holder]) {
    let held = leases
        .iter()
        .filter(|lease| !lease.released && lease.heartbeat.is_some());
    for lease in held {
        let pipeline = seen.iter_mut().find(|seen| seen.pipeline == lease.pipeline);
        let runtimes = pipeline.into_iter().flat_map(|seen| &mut seen.runtimes);
        for runtime in runtimes.filter(|runtime| runtime.runtime == lease.owner) {
            runtime.partitions.push(lease.partition);
        }
    }
}

fn joined(
    runtimes: &[RuntimeStatus],
    consumers: &[intake::Known],
    wishes: &BTreeMap<String, bool>,
) -> Vec<Seen> {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for consumer in consumers {
        let seen = seen.entry(consumer.pipeline.clone()).or_default();
        // That of replays only says that the pipeline is there.
        if consumer.stream != dead_letter::STREAM {
            seen.source = Some(consumer.stream.clone());
            seen.consumer = Some(consumer.consumer.clone());
            seen.lag = Some(seen.lag.unwrap_or_default() + consumer.n_pending);
        }
        seen.in_flight += u64::try_from(consumer.n_ack_pending).unwrap_or(u64::MAX);
    }
    for runtime in runtimes {
        for status in &runtime.pipelines {
            let seen = seen.entry(status.pipeline.clone()).or_default();
            if seen.source.is_none() {
                seen.source = status.stream.clone().or_else(|| status.subject.clone());
            }
            if status.subject.is_some() {
                seen.in_flight += status.in_flight;
            }
            seen.runtimes.push(Holder {
                runtime: runtime.runtime.clone(),
                name: runtime.name.clone(),
                state: status.state,
                in_flight: status.in_flight,
                partitions: Vec::new(),
            });
        }
    }
    for (pipeline, is_paused) in wishes {
        if *is_paused || seen.contains_key(pipeline) {
            seen.entry(pipeline.clone()).or_default().is_paused = *is_paused;
        }
    }
    let named = seen.into_iter().map(|(pipeline, seen)| {
        let state = seen.state();
        Seen {
            pipeline,
            state,
            ..seen
        }
    });
    named.collect()
}

impl Seen {
    fn state(&self) -> &'static str {
        let is = |state| move |holder: &&Holder| holder.state == state;
        let any = |state| self.runtimes.iter().any(|holder| is(state)(&holder));
        if self.runtimes.is_empty() {
            return if self.is_paused {
                "paused"
            } else {
                "not running"
            };
        }
        if self.is_paused {
            let paused = self.runtimes.iter().all(|holder| {
                matches!(holder.state, PipelineState::Paused | PipelineState::Stopped)
            });
            let state = if paused {
                PipelineState::Paused
            } else {
                PipelineState::Pausing
            };
            return state.as_str();
        }
        let first = [
            PipelineState::Running,
            PipelineState::Pausing,
            PipelineState::Paused,
            PipelineState::Draining,
        ];
        let found = first.into_iter().find(|state| any(*state));
        found.unwrap_or(PipelineState::Stopped).as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline::control::PipelineStatus;

    fn runtime(name: &str, state: PipelineState) -> RuntimeStatus {
        RuntimeStatus {
            runtime: name.to_owned(),
            name: "syncline".to_owned(),
            version: "1".to_owned(),
            pipelines: vec![PipelineStatus {
                pipeline: "p".to_owned(),
                state,
                stream: Some("S".to_owned()),
                subject: None,
                in_flight: 2,
            }],
            contracts: Vec::new(),
        }
    }

    #[test]
    fn a_pipeline_is_paused_when_every_runtime_says_so() {
        use PipelineState::{Draining, Paused, Pausing, Running, Stopped};
        let cases: [(&[PipelineState], bool, &str); 9] = [
            (&[], true, "paused"),
            (&[Running], false, "running"),
            (&[Running], true, "pausing"),
            (&[Pausing, Paused], true, "pausing"),
            (&[Paused, Paused], true, "paused"),
            (&[Paused], false, "paused"),
            (&[Stopped], false, "stopped"),
            (&[Stopped, Running], false, "running"),
            (&[Draining], false, "draining"),
        ];
        for (states, is_paused, expected) in cases {
            let named = |(n, state): (usize, &PipelineState)| runtime(&n.to_string(), *state);
            let runtimes: Vec<_> = states.iter().enumerate().map(named).collect();
            let seen = joined(&runtimes, &[], &[("p".to_owned(), is_paused)].into());
            assert_eq!(seen[0].state, expected, "{states:?}");
        }
        let resumed = joined(&[], &[], &[("p".to_owned(), false)].into());
        assert_eq!(resumed, [], "nothing is left of it");
    }

    #[test]
    fn a_runtime_is_shown_with_the_partitions_that_it_holds() {
        let lease = |partition, owner: &str, heartbeat, released| txn::Holder {
            pipeline: "p".to_owned(),
            partition,
            owner: owner.to_owned(),
            epoch: 1,
            heartbeat,
            released,
        };
        let now = Some(std::time::Duration::ZERO);
        let leases = [
            lease(0, "a", now, false),
            lease(1, "b", now, false),
            lease(2, "a", now, false),
            lease(3, "b", None, false),
            lease(4, "b", now, true),
        ];
        let runtimes = ["a", "b", "c"].map(|name| runtime(name, PipelineState::Running));
        let mut seen = joined(&runtimes, &[], &BTreeMap::new());
        note_leases(&mut seen, &leases);
        let held: Vec<_> = seen[0]
            .runtimes
            .iter()
            .map(|r| r.partitions.clone())
            .collect();
        assert_eq!(held, [vec![0, 2], vec![1], vec![]]);
    }

    #[test]
    fn a_pipeline_that_nobody_runs_is_known_by_its_consumers() {
        let known = |stream: &str, n_pending, n_ack_pending| intake::Known {
            pipeline: "p".to_owned(),
            stream: stream.to_owned(),
            consumer: "c".to_owned(),
            n_pending,
            n_ack_pending,
        };
        let consumers = [known("S", 5, 2), known(dead_letter::STREAM, 7, 1)];
        let seen = joined(&[], &consumers, &BTreeMap::new());
        assert_eq!((seen[0].state, seen[0].lag), ("not running", Some(5)));
        assert_eq!(
            (seen[0].in_flight, seen[0].source.as_deref()),
            (3, Some("S"))
        );
    }
}
