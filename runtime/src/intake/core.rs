//! A core NATS subscription. Nothing is sent again: what is lost before it ends is lost.

use super::config::Config;
use super::decode::{Before, Stream, decode, original};
use super::{DeliveryLanes, IntakeError};
use crate::event::{Delivery, Disposition, Receipt, Settle, SubjectPattern};
use crate::shutdown::Shutdown;
use crate::telemetry::PipelineMetrics;
use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(super) struct Core {
    client: Client,
    subscriber: Subscriber,
}

/// Nobody is answered; the place in flight becomes free.
struct InFlight(Semaphore);

impl Settle for InFlight {
    fn settle(&self, _ticket: u64, _disposition: Disposition) {
        self.0.add_permits(1);
    }
}

impl Core {
    pub(super) async fn open(
        client: Client,
        config: &Config,
        subject: &SubjectPattern,
        queue: &Option<String>,
    ) -> Result<Self, IntakeError> {
        let subject = subject.as_str().to_owned();
        let subscribed = match queue {
            Some(queue) => client.queue_subscribe(subject.clone(), queue.clone()).await,
            None => client.subscribe(subject.clone()).await,
        };
        let subscriber = subscribed.map_err(|error| IntakeError::Unreachable {
            pipeline: config.pipeline.clone(),
            attempted: format!("cannot subscribe to `{subject}`"),
            cause: error.to_string(),
        })?;
        Ok(Self { client, subscriber })
    }

    pub(super) async fn run(
        mut self,
        config: &Config,
        lanes: &DeliveryLanes,
        metrics: &Arc<PipelineMetrics>,
        shutdown: &Shutdown,
    ) {
        let in_flight = Arc::new(InFlight(Semaphore::new(config.max_events)));
        let stream = Stream {
            name: "".into(),
            created: 0,
        };
        loop {
            let message = tokio::select! {
                () = shutdown.begun() => break,
                message = self.subscriber.next() => message,
            };
            let Some(mut message) = message else { break };
            match in_flight.0.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
            if message
                .headers
                .as_ref()
                .is_none_or(|headers| headers.get("Nats-Msg-Id").is_none())
            {
                // Two raw messages that are alike are two events: name each.
                let headers = message.headers.get_or_insert_default();
                headers.insert("Nats-Msg-Id", self.client.new_inbox().as_str());
            }
            let before = Before {
                maybe_seen: false,
                generation: 0,
            };
            let original = original(message, &stream, 0);
            let (envelope, fault) = decode(&original, before, config, metrics);
            let key = envelope.origin.key.clone();
            let receipt = Receipt::new(in_flight.clone(), 0);
            lanes.push(
                key,
                Delivery {
                    original,
                    envelope,
                    fault,
                    past: None,
                    receipt,
                },
            );
        }
        drop(self.subscriber.unsubscribe().await);
    }
}
